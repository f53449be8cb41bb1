"""Laws of installing: nothing is ever overwritten, everything is whole, and errors leave the folder as it
was.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from maquette.deploying import comfyui, release, webui
from maquette.deploying.nodes import check_workflow
from maquette.deploying.workflow import Recipe
from maquette.errors import ConfigError, LoraError, OutputError
from maquette.files import sha256_file

from .conftest import write_lora


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_installs_lora_sidecar_workflow_and_prompts(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    assert installed.lora == comfy / "models/loras/zkw.safetensors"
    assert installed.lora.read_bytes() == lora.read_bytes()
    assert installed.sha256 == sha256_file(lora)
    assert (installed.lora_name, installed.already_installed, installed.notes) == (
        "zkw.safetensors",
        False,
        (),
    )
    sidecar = json.loads(installed.sidecar.read_text(encoding="utf-8"))
    assert sidecar["activation text"] == "zkw"
    assert (sidecar["preferred weight"], sidecar["sd version"]) == (1.0, "SD1")
    assert installed.workflow is not None
    workflow = json.loads(installed.workflow.read_text(encoding="utf-8"))
    assert check_workflow(workflow) == ()
    assert "zkw, jumping" in installed.prompts.read_text(encoding="utf-8")
    assert json.loads(json.dumps(installed.to_json()))["lora"] == str(installed.lora)


def test_another_lora_of_that_name_becomes_a_new_release(
    lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path
) -> None:
    first = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    before = tree(comfy)
    second = comfyui.install(write_lora(tmp_path / "b.safetensors", seed=1), comfy, name="zkw", recipe=recipe)
    third = comfyui.install(write_lora(tmp_path / "c.safetensors", seed=2), comfy, name="zkw", recipe=recipe)
    after = tree(comfy)
    assert [entry.lora_name for entry in (first, second, third)] == [
        "zkw.safetensors",
        "zkw-v2.safetensors",
        "zkw-v3.safetensors",
    ]
    assert {name: after[name] for name in before} == before
    assert third.workflow is not None and "zkw-v3.safetensors" in third.workflow.read_text(encoding="utf-8")


def test_the_same_lora_is_not_installed_twice(
    lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path
) -> None:
    comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    comfyui.install(write_lora(tmp_path / "b.safetensors", seed=1), comfy, name="zkw", recipe=recipe)
    marks = {path: path.stat().st_mtime_ns for path in (comfy / "models/loras").iterdir()}
    again = comfyui.install(tmp_path / "b.safetensors", comfy, name="zkw", recipe=recipe)
    assert again.already_installed
    assert again.lora_name == "zkw-v2.safetensors"
    assert any("already installed" in note for note in again.notes)
    assert {path: path.stat().st_mtime_ns for path in (comfy / "models/loras").iterdir()} == marks


def test_a_name_that_is_taken_meanwhile_is_never_replaced(
    lora: Path, comfy: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may write the same name between the look and the rename."""
    target = comfy / "models/loras/zkw.safetensors"
    take_name = release._take_name

    def intruder(part: Path, wanted: Path) -> bool:
        if wanted == target and not target.exists():
            target.write_bytes(b"someone else's")
        return take_name(part, wanted)

    monkeypatch.setattr(release, "_take_name", intruder)
    installed = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    assert target.read_bytes() == b"someone else's"
    assert installed.lora_name == "zkw-v2.safetensors"


def test_file_systems_without_hard_links_are_served_too(
    lora: Path, comfy: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refused)
    installed = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    assert installed.lora.read_bytes() == lora.read_bytes()


def test_a_failing_disk_leaves_nothing_half_written(
    lora: Path, comfy: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = tree(comfy)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    assert tree(comfy) == before


def test_a_persons_sidecar_is_kept(lora: Path, comfy: Path, recipe: Recipe) -> None:
    own = comfy / "models/loras/zkw.json"
    own.write_text('{"activation text": "mine"}', encoding="utf-8")
    comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    assert own.read_text(encoding="utf-8") == '{"activation text": "mine"}'


def test_the_preview_carries_the_workflow(lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Dropping the preview on ComfyUI's canvas opens the workflow; its A1111 parameters stay readable."""
    from maquette.drawing.pictures import save_picture

    preview = save_picture(tmp_path / "preview.png", Image.new("RGB", (64, 64), "red"), "zkw\nSteps: 25")
    installed = comfyui.install(
        lora, comfy, name="zkw", recipe=replace(recipe, negative="schön"), preview=preview
    )
    assert installed.preview is not None and installed.workflow is not None
    with Image.open(installed.preview) as picture:
        assert json.loads(picture.info["prompt"]) == json.loads(
            installed.workflow.read_text(encoding="utf-8")
        )
        assert picture.info["parameters"] == "zkw\nSteps: 25"


def test_subfolders_keep_releases_in_order(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(lora, comfy, name="people/zkw.safetensors", recipe=recipe)
    assert installed.lora == comfy / "models/loras/people/zkw.safetensors"
    assert installed.lora_name == os.path.join("people", "zkw.safetensors")  # noqa: PTH118
    assert installed.workflow == comfy / "maquette/people/zkw.workflow.json"


def test_a_portable_builds_folder_is_recognised(lora: Path, comfy: Path, recipe: Recipe) -> None:
    assert (
        comfyui.install(lora, comfy.parent, name="zkw", recipe=recipe).lora.parent == comfy / "models/loras"
    )


def test_a_folder_that_is_no_comfyui_is_refused_unless_asked(
    lora: Path, recipe: Recipe, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "pictures"
    elsewhere.mkdir()
    with pytest.raises(OutputError, match="--create"):
        comfyui.install(lora, elsewhere, name="zkw", recipe=recipe)
    with pytest.raises(OutputError, match="does not exist"):
        comfyui.install(lora, tmp_path / "nowhere", name="zkw", recipe=recipe)
    assert tree(elsewhere) == {}
    made = comfyui.install(lora, tmp_path / "nowhere", name="zkw", recipe=recipe, create=True)
    assert made.lora == tmp_path / "nowhere/models/loras/zkw.safetensors"


def test_a_missing_base_is_said_with_the_nearest_name(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(
        lora, comfy, name="zkw", recipe=replace(recipe, base_checkpoint="bse.safetensors")
    )
    assert any("there is base.safetensors" in note for note in installed.notes)


@pytest.mark.parametrize(
    "name", ["", " ", "../zkw", "/zkw", "a/../b", ".hidden", 'a"b', "a<b", "a:b", "a,b", "dot."]
)
def test_names_that_some_program_chokes_on_are_refused(
    lora: Path, comfy: Path, recipe: Recipe, name: str
) -> None:
    before = tree(comfy)
    with pytest.raises(ConfigError, match="cannot be used as a file name"):
        comfyui.install(lora, comfy, name=name, recipe=recipe)
    assert tree(comfy) == before


def test_what_is_no_whole_lora_is_not_installed(
    lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(lora.read_bytes()[:-20])
    before = tree(comfy)
    for source in (truncated, tmp_path / "absent.safetensors", comfy / "models/checkpoints/base.safetensors"):
        with pytest.raises(LoraError, match=source.name):
            comfyui.install(source, comfy, name="zkw", recipe=recipe)
    assert tree(comfy) == before


def test_installs_for_automatic1111(lora: Path, recipe: Recipe, tmp_path: Path) -> None:
    root = tmp_path / "webui"
    (root / "models" / "Stable-diffusion").mkdir(parents=True)
    installed = webui.install(lora, root, name="zkw", recipe=recipe)
    assert installed.lora == root / "models/Lora/zkw.safetensors"
    assert json.loads(installed.sidecar.read_text(encoding="utf-8"))["activation text"] == "zkw"
    assert "<lora:zkw:1>" in installed.prompts.read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="--create"):
        webui.install(lora, tmp_path / "run", name="zkw", recipe=recipe)
