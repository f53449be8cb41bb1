"""`maquette lora …` at the terminal: what scripts rely on, and what bad files get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file

from maquette.cli.app import maquette
from tests.toolbox.conftest import MakeLora

TOOLS = (
    "inspect", "convert", "merge", "resize --rank 2", "extract --base {base}", "compare {lora}", "strip-metadata",
    "prune-blocks --block MID",
)  # fmt: skip
DESCRIBED = {
    "ss_base_model_version": "sd_v1",
    "ss_network_dim": "4",
    "ss_steps": "120",
    "ss_sd_model_name": "model.safetensors",
    "ss_tag_frequency": json.dumps({"10_fox": {"zkw": 4, "red fur": 3}}),
    "ss_dataset_dirs": json.dumps({"10_fox": {"n_repeats": 10, "img_count": 4}}),
    "modelspec.architecture": "stable-diffusion-v1/lora",
    "modelspec.trigger_phrase": "zkw",
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(maquette, [str(each) for each in arguments])


def answer(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def described(make_lora: MakeLora, place: Path, **changes: torch.Tensor) -> Path:
    tensors = {name: value.half() for name, value in load_file(make_lora()).items()}
    save_file({**tensors, **changes}, place, DESCRIBED)
    return place


def test_inspect_answers_with_the_contract_s_keys(make_lora: MakeLora, tmp_path: Path) -> None:
    found = answer("lora", "inspect", described(make_lora, tmp_path / "fox.safetensors"))
    assert {"family", "modules", "rank", "alpha", "dtype", "metadata", "problems"} <= found.keys()
    assert (found["family"], found["rank"], found["alpha"], found["dtype"]) == ("sd1", 4, 2.0, "F16")
    assert found["modules"] == sum(found["parts"].values()) == 82
    assert found["metadata"] == DESCRIBED and found["problems"] == []
    assert found["summary"]["trigger"] == "zkw" and found["summary"]["tags"] == ["zkw", "red fur"]
    assert found["summary"]["steps"] == 120 and found["summary"]["folders"] == {"10_fox": "4 × 10"}
    assert sum(block["share"] for block in found["blocks"].values()) == pytest.approx(1.0)


KEY = "lora_unet_mid_block_resnets_0_conv1"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("LOR014", {}),
        ("LOR008", {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(64, 4)}),
    ],
    ids=["NaN", "half a pair"],
)  # fmt: skip
def test_inspect_names_what_is_wrong(
    code: str, changes: dict[str, torch.Tensor], make_lora: MakeLora, tmp_path: Path
) -> None:
    if code == "LOR014":
        shape = load_file(make_lora())[f"{KEY}.lora_up.weight"].shape
        changes = {f"{KEY}.lora_up.weight": torch.full(shape, float("nan"))}
    path = described(make_lora, tmp_path / "fox.safetensors", **changes)
    assert code in {each["code"] for each in answer("lora", "inspect", path)["problems"]}


def test_modules_of_no_known_layer_stay_and_strays_only_convert_leaves_out(
    make_lora: MakeLora, tmp_path: Path
) -> None:
    """A model may have layers of its own; a tensor that is part of no adapter is read by nobody."""
    strange = {f"lora_unet_mystery.lora_{each}.weight": torch.ones(4, 4) for each in ("up", "down")}
    path = described(make_lora, tmp_path / "fox.safetensors", **strange)
    assert answer("lora", "inspect", path)["unknown_modules"] == 1
    kept = answer("lora", "resize", path, "--rank", 2, "--output", tmp_path / "r.safetensors")
    assert "lora_unet_mystery" in kept["errors"]
    stray = described(make_lora, tmp_path / "stray.safetensors", notes=torch.ones(2))
    refused = run("lora", "resize", stray, "--rank", 2)
    assert refused.exit_code == 2 and "notes" in refused.stderr and "lora convert" in refused.stderr
    assert answer("lora", "convert", stray)["left_out"] == ["notes"]


def test_what_learned_nothing_or_lacks_what_programs_need_has_problems(
    make_lora: MakeLora, tmp_path: Path
) -> None:
    tensors = load_file(make_lora())
    idle = {name: torch.zeros_like(value) if "lora_up" in name else value for name, value in tensors.items()}
    save_file(idle, tmp_path / "idle.safetensors", DESCRIBED)
    bare = {name: value for name, value in tensors.items() if not name.endswith(".alpha")}
    save_file(bare, tmp_path / "bare.safetensors")
    found = answer("lora", "inspect", tmp_path / "idle.safetensors")
    assert [each["code"] for each in found["problems"]] == ["LOR015"] and found["norm"] == 0.0
    codes = {each["code"] for each in answer("lora", "inspect", tmp_path / "bare.safetensors")["problems"]}
    assert codes == {"LOR009", "LOR012"}, "no alphas, no metadata"


def test_quick_reads_the_header_alone_and_a_chart_is_a_picture(make_lora: MakeLora, tmp_path: Path) -> None:
    lora = described(make_lora, tmp_path / "fox.safetensors")
    quick = answer("lora", "inspect", lora, "--quick")
    assert quick["blocks"] == {} and quick["norm"] is None and quick["modules"] == 82
    charted = answer("lora", "inspect", lora, "--chart", tmp_path / "c.png")
    with Image.open(charted["chart"]) as picture:
        assert picture.width == 900
    assert run("lora", "inspect", lora, "--chart", tmp_path / "c.png").exit_code == 2


@pytest.mark.parametrize("tool", TOOLS)
def test_bad_files_get_one_line_and_nothing_is_written(
    tool: str, bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    lora = make_lora()
    bad = {
        "torn.safetensors": lora.read_bytes()[:-100],
        "pickled.safetensors": b"\x80\x02}q\x00.",
        "zipped.pt": b"PK\x03\x04" + b"\0" * 200,
        "empty.safetensors": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    name, *flags = tool.format(base=bases["sd1"], lora=lora).split()
    for file in (*bad, "missing.safetensors"):
        more = [lora] if name == "merge" else []
        result = run("lora", name, tmp_path / file, *more, *flags)
        lines = result.stderr.strip().splitlines()
        assert result.exit_code == 2, (file, result.output)
        assert len(lines) == 1 and lines[0].startswith("error: ") and file in lines[0]
    assert {path.name for path in tmp_path.iterdir()} == set(bad)


def test_the_tools_answer_in_json(bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path) -> None:
    one, other = make_lora(), make_lora(seed=2)
    merged = answer(
        "lora",
        "merge",
        one,
        other,
        "--strength",
        1,
        "--strength",
        0.5,
        "--output",
        tmp_path / "m.safetensors",
    )
    assert merged["ranks"] == [8] and merged["error"] < 1e-6 and Path(merged["path"]).is_file()
    baked = answer("lora", "merge", one, "--base", bases["sd1"], "--output", tmp_path / "b.safetensors")
    assert baked["layers"] == 82 and baked["family"] == "sd1"
    taken = answer(
        "lora",
        "extract",
        baked["path"],
        "--base",
        bases["sd1"],
        "--rank",
        4,
        "--output",
        tmp_path / "e.safetensors",
    )
    assert taken["outside"]["tensors"] == 0 and 0 < taken["kept"] < 1
    assert all("resnets" in key or "samplers" in key for key in taken["left_out"]), (
        "3×3 convolutions, unasked"
    )
    alike = answer("lora", "compare", one, taken["path"])
    assert alike["cosine"] == pytest.approx(taken["kept"] ** 0.5, abs=1e-3)
    resized = answer("lora", "resize", one, "--energy", 0.9, "--output", tmp_path / "r.safetensors")
    assert resized["kept"] >= 0.9 and set(resized["errors"]) == {
        key for key in resized["errors"] if key.startswith("lora_")
    }
    pruned = answer(
        "lora", "prune-blocks", one, "--block", "text_encoder", "--output", tmp_path / "p.safetensors"
    )
    assert list(pruned["blocks"]) == ["text_encoder"] and 0 < pruned["share"] < 1
    stripped = answer("lora", "strip-metadata", resized["path"])
    assert "ss_training_comment" in stripped["removed"] and stripped["kept"] == []
