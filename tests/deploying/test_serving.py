"""A server that speaks ComfyUI's protocol draws what was installed; whatever goes wrong there is said in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from maquette.cli.app import maquette as command
from maquette.deploying import queueing
from maquette.deploying.nodes import NODES, check_workflow
from maquette.lora.files import inspect_lora
from maquette.runs.folder import RunFolder

from .speaking import PROMPT_ID, REAL_NODES, Behaviour, ComfyUI

NAME = "zkw-001.safetensors"


@pytest.fixture
def server(run: RunFolder) -> Iterator[ComfyUI]:
    digest = inspect_lora(run.checkpoints / NAME).metadata["sshs_model_hash"]
    picture = (run.samples / "zkw-001-step00000004-00.png").read_bytes()
    running = ComfyUI(Behaviour(loras={NAME: digest}, checkpoints=["base.safetensors"], picture=picture))
    yield running
    running.stop()


def deployed(run: RunFolder, comfy: Path, url: str, *more: str) -> Result:
    arguments = ["deploy", str(run.path), "--comfyui", str(comfy), "--server", url, *more, "--json"]
    return CliRunner().invoke(command, arguments)


def told(result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def test_our_table_of_nodes_is_comfyuis_own() -> None:
    """Every node that workflows use has the same inputs in the same order, kinds, bounds and outputs there."""
    for name, node in NODES.items():
        real = REAL_NODES[name]
        assert node["output"] == real["output"] and node["output_node"] == real["output_node"]
        for part in ("required", "optional"):
            ours, theirs = node["input"].get(part, {}), real["input"].get(part, {})
            assert list(ours) == list(theirs) if part == "required" else set(ours) <= set(theirs)
            for key, declared in ours.items():
                other = theirs[key]
                if isinstance(declared[0], list):
                    assert set(declared[0]) <= set(other[0])
                elif declared[0] == "COMBO":
                    assert isinstance(other[0], list)
                else:
                    assert declared[0] == other[0]
                    limits = declared[1] if len(declared) > 1 else {}
                    assert all(
                        other[1].get(bound) == limits[bound] for bound in ("min", "max") if bound in limits
                    )


def test_a_server_draws_what_was_installed(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    """The contract of `deploy RUN --comfyui DIR --server URL --json`, and a picture that is our own."""
    result = deployed(run, comfy, server.url)
    assert result.exit_code == 0, result.output
    answer = told(result)
    assert Path(answer["lora"]) == comfy / "models/loras" / NAME
    workflow = json.loads(Path(answer["workflow_api"]).read_text(encoding="utf-8"))
    assert check_workflow(workflow, server.nodes()) == () and server.workflow == workflow
    assert json.loads(Path(answer["workflow_ui"]).read_text(encoding="utf-8"))["nodes"]
    assert len(answer["sha256"]) == 64 and answer["unmatched_keys"] == [] and answer["problems"] == []
    image = Path(answer["image"])
    assert image.read_bytes() == server.does.picture
    assert json.loads(image.with_suffix(".json").read_text(encoding="utf-8")) == workflow
    assert answer["comparison"]["difference"] <= 1.0, "the picture is our own sample of the same scene"
    with Image.open(answer["comparison"]["own"]) as own:
        assert own.size == (64, 64)


def test_the_line_is_open_before_anything_is_queued(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    result = deployed(run, comfy, server.url, "--no-compare")
    assert result.exit_code == 0 and told(result)["comparison"] is None
    assert server.asked.index("/ws") < server.asked.index("/prompt") and server.heard_by_client
    assert server.asked.index("/models/loras") < server.asked.index("/prompt")


@pytest.mark.parametrize("broken", [{"hangs_up": True}, {"has_websocket": False}])
def test_a_line_that_breaks_loses_no_picture(
    run: RunFolder, comfy: Path, server: ComfyUI, broken: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "SILENCE_S", 0.05)
    for name, value in broken.items():
        setattr(server.does, name, value)
    result = deployed(run, comfy, server.url, "--no-compare")
    assert result.exit_code == 0, result.output
    assert Path(told(result)["image"]).is_file() and f"/history/{PROMPT_ID}" in server.asked


def test_a_server_that_tells_little_draws_all_the_same(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    server.does.lacks = ("/models/loras", "/view_metadata/loras", "/internal/logs/raw")
    result = deployed(run, comfy, server.url, "--no-compare")
    assert result.exit_code == 0 and "weights were not compared" in result.stderr
    server.does.lacks += ("/object_info", "/system_stats")
    result = deployed(run, comfy, server.url, "--no-compare")
    assert result.exit_code == 1 and "not as ComfyUI does" in told(result)["problems"][0]
    server.does.lacks = tuple(page for page in server.does.lacks if page != "/system_stats")
    result = deployed(run, comfy, server.url, "--no-compare")
    assert result.exit_code == 0 and "tells no list of its LoRAs" in result.stderr


def test_tensors_that_the_server_skips_are_named(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    server.does.skips = ("lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight")
    result = deployed(run, comfy, server.url, "--no-compare")
    assert told(result)["unmatched_keys"] == list(server.does.skips)


def test_what_the_server_refuses_is_said_by_node(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    server.does.checkpoints = ["another.safetensors"]
    result = deployed(run, comfy, server.url)
    answer = told(result)
    assert result.exit_code == 1 and answer["image"] is None and Path(answer["lora"]).is_file()
    [problem] = answer["problems"]
    assert (
        "node 1 (CheckpointLoaderSimple, Base model) input 'ckpt_name'" in problem
        and "--base-name" in problem
    )


def test_a_drawing_that_fails_is_said_by_node(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    server.does.fails_at = "KSampler"
    result = deployed(run, comfy, server.url)
    [problem] = told(result)["problems"]
    assert result.exit_code == 1 and "KSampler, Draw" in problem
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in problem


def test_another_lora_of_that_name_is_not_drawn(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    server.does.loras = {NAME: "0" * 64}
    result = deployed(run, comfy, server.url)
    assert result.exit_code == 1 and "has other weights" in told(result)["problems"][0]
    server.does.loras = {"zkv.safetensors": ""}
    result = deployed(run, comfy, server.url)
    assert result.exit_code == 1 and "is not listed" in told(result)["problems"][0]
    assert "/prompt" not in server.asked


def test_a_picture_of_the_base_alone_is_found_out() -> None:
    """A server that ignores the LoRA draws what we draw without it."""
    from maquette.deploying.comparing import Comparison

    ignored = Comparison(own=Path("x.png"), difference=20.0, without=0.5, effect=20.0)
    assert ignored.is_drawn_with_it is False and "as if there were no LoRA" in str(ignored)
    drawn = Comparison(own=Path("x.png"), difference=0.5, without=20.0, effect=20.0)
    assert drawn.is_drawn_with_it is True and "the same picture" in str(drawn)
    assert Comparison(own=Path("x.png"), difference=0.1, without=0.2, effect=0.2).is_drawn_with_it is None


def test_a_server_that_is_down_is_one_line_after_what_was_installed(
    run: RunFolder, comfy: Path, server: ComfyUI
) -> None:
    server.stop()
    result = deployed(run, comfy, server.url)
    answer = told(result)
    assert result.exit_code == 1 and Path(answer["lora"]).is_file() and len(answer["problems"]) == 1


def test_a_server_needs_a_place_and_an_address(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    nowhere = CliRunner().invoke(command, ["deploy", str(run.path), "--server", "http://127.0.0.1:1"])
    assert nowhere.exit_code == 2 and "Add --comfyui DIR" in nowhere.output
    result = deployed(run, comfy, "ftp://somewhere")
    assert result.exit_code == 2 and not (comfy / "models/loras" / NAME).exists()


def test_an_answer_that_is_no_picture_is_not_kept(run: RunFolder, comfy: Path, server: ComfyUI) -> None:
    server.does.picture = b"<html>"
    result = deployed(run, comfy, server.url)
    assert result.exit_code == 1 and "cannot be read as a picture" in told(result)["problems"][0]
    assert not list((comfy / "maquette").glob("*.drawn.*"))
