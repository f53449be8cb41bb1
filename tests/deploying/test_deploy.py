"""A run that was really trained is deployed, by the command and from Python; and a file without its run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import maquette
from maquette.cli.app import maquette as command
from maquette.deploying.nodes import check_workflow
from maquette.deploying.run import PartlyInstalled
from maquette.drawing.draw import draw
from maquette.drawing.request import DrawRequest
from maquette.errors import ConfigError, LoraError, OutputError
from maquette.evaluating.run import facts_of_run
from maquette.lora.adapter import LoraAdapter
from maquette.lora.files import inspect_lora, read_lora, save_lora
from maquette.runs.deliveries import read_deliveries
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record

from .conftest import KEY
from .test_verify import Server

STEP_2 = "zkw-001-step00000002"


def deployed(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["deploy", *map(str, arguments)])


def picture_of(path: Path) -> tuple[np.ndarray[Any, Any], dict[str, str], dict[str, Any]]:
    """Return a picture's pixels, its text chunks, and the inputs of its workflow's nodes by their kind."""
    with Image.open(path) as picture:
        told = {key: text for key, text in picture.info.items() if isinstance(text, str)}
        pixels = np.asarray(picture.convert("RGB"))
    workflow = json.loads(told["prompt"])
    assert check_workflow(workflow) == ()
    return pixels, told, {node["class_type"]: node["inputs"] for node in workflow.values()}


def drawn_with(run: RunFolder, lora: Path, nodes: dict[str, Any], prompt: str) -> np.ndarray[Any, Any]:
    """Return what our own sampler draws from a workflow's values and the deployed file."""
    from maquette import families

    model = families.load(str(run.path.parent.parent / "base.safetensors"), dtype=torch.float32)
    adapter = LoraAdapter.attach(model, [read_lora(lora, model.lora_targets()).state])
    adapter.set_multiplier(nodes["LoraLoader"]["strength_model"])
    sampler = nodes["KSampler"]
    assert (sampler["sampler_name"], sampler["scheduler"]) == ("euler", "sgm_uniform")
    request = DrawRequest(
        prompt=prompt,
        seed=sampler["seed"],
        steps=sampler["steps"],
        guidance=sampler["cfg"],
        sampler="euler",
        width_px=nodes["EmptyLatentImage"]["width"],
        height_px=nodes["EmptyLatentImage"]["height"],
    )
    [picture] = draw(model, [request], adapter=adapter)
    return np.asarray(picture)


@pytest.mark.parametrize(("checkpoint", "strength"), [(None, 1.0), (STEP_2, 1.0), (None, 0.5)])
def test_the_previews_workflow_draws_the_preview(
    run: RunFolder, comfy: Path, checkpoint: str | None, strength: float
) -> None:
    """Prompt, seed, size, sampler and strength, and the LoRA by the name under which it was deployed."""
    [entry] = maquette.deploy(
        run.path, comfyui=comfy, name="me/zkw", checkpoint=checkpoint, strength=strength
    )
    assert entry.preview is not None and entry.workflow is not None
    pixels, told, nodes = picture_of(entry.preview)
    assert nodes["LoraLoader"]["lora_name"] == entry.lora_name
    assert (comfy / "models/loras" / entry.lora_name).is_file()
    assert nodes["CLIPTextEncode"]["text"] == "", "the last one is the negative prompt"
    assert told["parameters"].startswith(f"zkw, waving <lora:zkw:{strength:g}>\nNegative prompt: \n")
    again = drawn_with(run, entry.lora, nodes, "zkw, waving")
    assert int(np.abs(pixels.astype(int) - again.astype(int)).max()) <= 1


def test_the_strength_changes_the_preview(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    [full] = maquette.deploy(run.path, comfyui=comfy)
    [none] = maquette.deploy(run.path, comfyui=comfy, name="none", strength=0)
    sample = run.samples / "zkw-001-step00000004-00.png"
    assert full.preview is not None and none.preview is not None
    with Image.open(sample) as picture:
        assert np.array_equal(picture_of(full.preview)[0], np.asarray(picture.convert("RGB")))
    nodes = picture_of(none.preview)[2]
    assert (nodes["LoraLoader"]["strength_model"], nodes["LoraLoader"]["strength_clip"]) == (0, 0)


def test_without_the_base_no_preview_promises_another_strength(
    run: RunFolder, comfy: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    record = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    record["settings"]["model"]["base"] = str(tmp_path / "gone.safetensors")
    (copy / "run.json").write_text(json.dumps(record), encoding="utf-8")
    told: list[str] = []
    [entry] = maquette.deploy(
        copy, comfyui=comfy, strength=0.5, on_event=lambda event: told.append(str(event))
    )
    assert entry.preview is None and not (comfy / "models/loras/zkw-001.png").exists()
    assert any("No preview" in text for text in told)


def test_a_run_remembers_where_its_loras_went(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    """Of each file the last installation; the report of these weights lists those that are still there."""
    run.deliveries.unlink(missing_ok=True)
    (tmp_path / "webui/models/Lora").mkdir(parents=True)
    maquette.deploy(run.path, comfyui=comfy, checkpoint=STEP_2, name="early")
    maquette.deploy(run.path, comfyui=comfy, webui=tmp_path / "webui")
    first, *_ = maquette.deploy(run.path, comfyui=comfy, webui=tmp_path / "webui", strength=0.5)
    with run.deliveries.open("a", encoding="utf-8") as file:
        file.write('{"lora": 3}\n{"lora": "x", "colour": "red"}\nnonsense\n')
    told = read_deliveries(run)
    assert [(each.program, each.lora_name, each.strength) for each in told] == [
        ("ComfyUI", "early.safetensors", "1"),
        ("ComfyUI", "zkw-001.safetensors", "0.5"),
        ("AUTOMATIC1111 / Forge", "zkw-001.safetensors", "0.5"),
    ]
    assert told[1].weights == "step 4 (zkw-001) of run zkw-001"
    record = read_record(run.path)
    listed = facts_of_run(run, record, record.settings, look=None).deliveries
    assert [each.lora for each in listed] == [told[1].lora, told[2].lora]
    first.lora.unlink()
    listed = facts_of_run(run, record, record.settings, look=None).deliveries
    assert [each.lora for each in listed] == [told[2].lora]


def test_a_file_of_a_run_is_deployed_as_the_runs(run: RunFolder, comfy: Path) -> None:
    [entry] = maquette.deploy(run.checkpoints / f"{STEP_2}.safetensors", comfyui=comfy)
    assert (entry.lora_name, entry.weights) == (
        "zkw-001.safetensors",
        f"step 2 ({STEP_2}) of run zkw-001",
    )
    assert entry.preview is not None


def test_a_bare_file_is_deployed_by_what_it_says(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    bare = tmp_path / "found.safetensors"
    shutil.copy(run.checkpoints / f"{STEP_2}.safetensors", bare)
    [entry] = maquette.deploy(bare, comfyui=comfy, strength=0.7)
    assert entry.lora == comfy / "models/loras/found.safetensors" and entry.preview is None
    assert entry.weights == "step 2 (found) of run zkw-001"
    workflow = json.loads(Path(str(entry.workflow)).read_text(encoding="utf-8"))
    nodes = {node["class_type"]: node["inputs"] for node in reversed(workflow.values())}
    assert nodes["CLIPTextEncode"]["text"] == "zkw"
    assert nodes["CheckpointLoaderSimple"]["ckpt_name"] == "base.safetensors"
    assert nodes["EmptyLatentImage"] == {"width": 64, "height": 64, "batch_size": 1}
    assert json.loads(entry.sidecar.read_text(encoding="utf-8"))["activation text"] == "zkw"


@pytest.mark.parametrize(
    ("metadata", "size", "stop_at", "prediction"),
    [
        ({}, 512, 1, None),
        ({"ss_resolution": "(768, 512)", "ss_clip_skip": "2"}, 768, 2, None),
        ({"modelspec.resolution": "640x640", "modelspec.prediction_type": "v"}, 640, 1, "v_prediction"),
        ({"ss_base_model_version": "sd_v2"}, 512, 2, None),
        ({"ss_base_model_version": "sd_v2_v", "modelspec.prediction_type": "v"}, 768, 2, "v_prediction"),
        ({"ss_resolution": "(9" + "9" * 5000 + ", 1)", "ss_clip_skip": "1e999"}, 512, 1, None),
        ({"ss_resolution": "None", "ss_clip_skip": "nan", "ss_steps": "9" * 5000}, 512, 1, None),
    ],
)
def test_a_strangers_metadata_are_only_read(
    comfy: Path, tmp_path: Path, metadata: dict[str, str], size: int, stop_at: int, prediction: str | None
) -> None:
    state = {
        f"{KEY}.alpha": torch.tensor(2.0),
        f"{KEY}.lora_down.weight": torch.randn(2, 8, 1, 1),
        f"{KEY}.lora_up.weight": torch.randn(8, 2, 1, 1),
    }
    bare = tmp_path / "found.safetensors"
    save_lora(bare, state, {"ss_base_model_version": "sd_v1", **metadata}, dtype="fp16")
    with pytest.raises(ConfigError, match="--base-name"):
        maquette.deploy(bare, comfyui=comfy)
    [entry] = maquette.deploy(bare, comfyui=comfy, base_name="base.safetensors", trigger="ink (v2)")
    workflow = json.loads(Path(str(entry.workflow)).read_text(encoding="utf-8"))
    nodes = {node["class_type"]: node["inputs"] for node in reversed(workflow.values())}
    assert nodes["EmptyLatentImage"]["width"] == size
    assert nodes["CLIPSetLastLayer"]["stop_at_clip_layer"] == -stop_at
    assert nodes.get("ModelSamplingDiscrete", {}).get("sampling") == prediction
    assert nodes["CLIPTextEncode"]["text"] == r"ink \(v2\)"


def test_what_is_neither_run_nor_lora_is_said(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    for source, error, said in (
        (tmp_path / "a.txt", ConfigError, "no run's folder and no LoRA file"),
        (tmp_path / "gone", ConfigError, "does not exist"),
        (tmp_path / "gone.safetensors", LoraError, "does not exist"),
        (run.path.parent.parent / "base.safetensors", LoraError, "base"),
        (comfy, OutputError, "run.json"),
    ):
        with pytest.raises(error, match=said):
            maquette.deploy(source, comfyui=comfy)
    with pytest.raises(ConfigError, match="--checkpoint"):
        maquette.deploy(run.checkpoints / f"{STEP_2}.safetensors", comfyui=comfy, checkpoint="x")


def test_two_places_are_told_apart(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    """The one that took the LoRA is told with its files, the other with what is wrong; the exit code says that not all went."""
    result = deployed(run.path, "--comfyui", comfy, "--webui", tmp_path / "nowhere")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert lines[0] == f"ComfyUI: {comfy / 'models/loras/zkw-001.safetensors'}"
    [error] = [line for line in lines if line.startswith("error: ")]
    assert str(tmp_path / "nowhere") in error and "does not exist" in error
    answer = json.loads(
        deployed(run.path, "--comfyui", comfy, "--webui", tmp_path / "nowhere", "--json").stdout.splitlines()[
            -1
        ]
    )
    assert len(answer["installed"]) == 1 and answer["error"][0]["where"] == str(tmp_path / "nowhere")
    with pytest.raises(PartlyInstalled) as caught:
        maquette.deploy(run.path, comfyui=comfy, webui=tmp_path / "nowhere")
    assert caught.value.installed[0].program == "ComfyUI"
    with pytest.raises(OutputError) as both:
        maquette.deploy(run.path, comfyui=tmp_path / "no", webui=tmp_path / "nowhere")
    assert len(both.value.problems) == 2 and not isinstance(both.value, PartlyInstalled)


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999", "http://[::1", "http://127.0.0.1:9"])
def test_what_was_installed_is_said_before_what_was_not_verified(
    run: RunFolder, comfy: Path, address: str
) -> None:
    result = deployed(run.path, "--comfyui", comfy, "--verify", address)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ComfyUI: ") and (comfy / "models/loras/zkw-001.safetensors").is_file()
    assert lines[-1].startswith("not verified: ") and "Traceback" not in result.output
    assert sum(line.startswith("not verified") for line in lines) == 1


def test_verify_says_yes_to_these_very_weights_alone(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    (tmp_path / "webui/models/Lora").mkdir(parents=True)
    digest = inspect_lora(run.checkpoints / "zkw-001.safetensors").metadata["sshs_model_hash"]
    places = ("--comfyui", comfy, "--webui", tmp_path / "webui")
    server, other = Server(), Server()
    try:
        server.comfyui({"zkw-001.safetensors": digest}, ["base.safetensors"])
        other.webui({"zkw-001": digest})
        both = deployed(run.path, *places, "--verify", server.url, "--verify", other.url)
        assert both.exit_code == 0, both.output
        assert sum("with these very weights" in line for line in both.stdout.splitlines()) == 2
        one = deployed(run.path, *places, "--verify", server.url)
        assert one.exit_code == 1 and "AUTOMATIC1111 / Forge" in one.stdout.splitlines()[-1]
        server.comfyui({"zkw-001.safetensors": "0" * 64}, ["base.safetensors"])
        wrong = deployed(run.path, "--comfyui", comfy, "--verify", server.url)
        assert wrong.exit_code == 1 and "has other weights" in wrong.stdout
        assert "with these very weights" not in wrong.stdout
    finally:
        server.stop()
        other.stop()
