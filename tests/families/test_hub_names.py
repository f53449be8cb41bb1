"""Well-known hub names: known for what they are without a network, and judged as a local file would be."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PIL import Image

from maquette import families
from maquette.checking.options import CheckOptions
from maquette.checking.run import CheckResult, check_events
from maquette.errors import ModelError
from maquette.events import run_stage
from maquette.project.machine import Gpu, Machine

CARD_16_GB = Machine(
    system="Linux",
    gpus=(Gpu(kind="cuda", name="RTX 4080", total_bytes=16 * 2**30, compute_capability=(8, 9)),),
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))


def pixel_art(folder: Path) -> Path:
    """Return the parent of ten pictures of few colours with captions."""
    pictures = folder / "data" / "10_zkw_fox"
    pictures.mkdir(parents=True)
    for index in range(10):
        small = Image.effect_noise((32, 32), 60 + index).quantize(6).convert("RGB")
        small.resize((1024, 1024), Image.Resampling.NEAREST).save(pictures / f"{index}.png")
        (pictures / f"{index}.txt").write_text(f"zkw_fox, pose {index}", encoding="utf-8")
    return folder / "data"


def checked(folder: Path, script: str, base: str, *more: str) -> CheckResult:
    options = [f"--pretrained_model_name_or_path={base}", f"--train_data_dir={pixel_art(folder)}",
               "--caption_extension=.txt", "--network_dim=32", "--network_alpha=16", *more]  # fmt: skip
    file = folder / "train.sh"
    file.write_text(f"accelerate launch {script} {shlex.join(options)}\n", encoding="utf-8")
    return run_stage(check_events([file], CheckOptions(), machine=CARD_16_GB))


def codes(result: CheckResult) -> set[str]:
    return {finding.code for finding in result.findings}


def test_the_tables_hold_each_name_once_and_for_what_it_is() -> None:
    names = [
        name.lower()
        for family in families.FAMILIES.values()
        for name in (*family.spec.hub_names, *family.spec.hub_names_of_v)
    ]
    assert len(names) == len(set(names)) > 30
    plain = families.known_by_name("runwayml/Stable-Diffusion-v1-5")
    large = families.known_by_name("stabilityai/stable-diffusion-xl-base-1.0")
    v_model = families.known_by_name("Laxhar/noobai-XL-Vpred-1.0")
    assert plain is not None and (plain.family, plain.resolution, plain.prediction) == ("sd1", 512, "epsilon")
    assert large is not None and (large.family, large.resolution, large.text_encoders) == ("sdxl", 1024, 2)
    assert v_model is not None and v_model.prediction == "v" and v_model.zero_terminal_snr
    assert families.known_by_name("someone/stable-diffusion-v1-5-mine") is None


def test_what_trains_still_needs_the_model_itself() -> None:
    name = "runwayml/stable-diffusion-v1-5"
    assert families.inspect_or_known(name).family == "sd1"
    with pytest.raises(ModelError):
        families.inspect(name)
    with pytest.raises(ModelError):
        families.inspect_or_known("someone/unknown")


def test_a_photographic_base_by_name_is_warned_of_pixel_art(tmp_path: Path) -> None:
    result = checked(tmp_path, "train_network.py", "runwayml/stable-diffusion-v1-5", "--resolution=512,512")
    assert "MOD008" in codes(result)
    assert any("known by its name" in note for note in result.notes)


def test_sdxl_by_name_is_measured_against_the_card(tmp_path: Path) -> None:
    base = "stabilityai/stable-diffusion-xl-base-1.0"
    result = checked(
        tmp_path, "sdxl_train_network.py", base, "--resolution=1024,1024", "--train_batch_size=4"
    )
    assert {"ENV012"} <= codes(result) and not {"MOD001", "MOD003", "MOD004"} & codes(result)


@pytest.mark.parametrize(
    ("script", "base", "code"),
    [
        ("train_network.py", "stabilityai/stable-diffusion-xl-base-1.0", "MOD001"),
        ("sdxl_train_network.py", "Laxhar/noobai-XL-Vpred-1.0", "MOD006"),
        ("sdxl_train_network.py", "cagliostrolab/animagine-xl-3.1", "MOD003"),
    ],
)
def test_script_prediction_and_size_are_judged_by_name(
    script: str, base: str, code: str, tmp_path: Path
) -> None:
    result = checked(tmp_path, script, base, "--resolution=512,512")
    assert code in codes(result)
    said = next(finding.message for finding in result.findings if finding.code == code)
    assert "tensors" not in said, "nobody has looked at them"


def test_any_other_hub_name_is_only_noted(tmp_path: Path) -> None:
    result = checked(tmp_path, "train_network.py", "someone/some-model", "--resolution=512,512")
    assert not {code for code in codes(result) if code.startswith("MOD")}
    assert any("was not looked at" in note for note in result.notes)
