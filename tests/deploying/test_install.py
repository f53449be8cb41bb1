"""Laws of installing: nothing is ever overwritten, everything is whole, and errors leave the folder as it
was.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from maquette.deploying import comfyui, release, webui
from maquette.deploying.nodes import check_workflow
from maquette.deploying.options import DeployOptions
from maquette.deploying.recipe import Recipe
from maquette.deploying.run import deploy_events
from maquette.deploying.sidecars import Preview
from maquette.errors import ConfigError, LoraError, OutputError
from maquette.events import Event, Message, run_stage
from maquette.files import sha256_file
from maquette.lora.files import inspect_lora, save_lora

from .conftest import with_scene, write_lora


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_web_ui_is_told_what_a_base_predicts_that_its_file_may_not_say(
    lora: Path, tmp_path: Path, recipe: Recipe
) -> None:
    told = with_scene(recipe, prediction="v", zero_terminal_snr=True)
    notes = " ".join(webui.install(lora, tmp_path / "webui", name="zkw", recipe=told, create=True).notes)
    assert "base.yaml" in notes and 'parameterization: "v"' in notes and "Zero Terminal SNR" in notes
    plain = webui.install(lora, tmp_path / "other", name="zkw", recipe=recipe, create=True).notes
    assert "predicts v" not in " ".join(plain)


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
    del before["maquette/written.json"]  # the list of what was written grows
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


def chunks(path: Path | None) -> dict[str, str]:
    assert path is not None
    with Image.open(path) as picture:
        return dict(picture.info)


def inputs_of(workflow: Path | str | None, class_type: str) -> dict[str, Any]:
    text = workflow if isinstance(workflow, str) else Path(str(workflow)).read_text(encoding="utf-8")
    nodes = json.loads(text).values()
    return next(node["inputs"] for node in nodes if node["class_type"] == class_type)


def test_the_preview_carries_what_drew_it(lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Its own prompt, seed and size, the LoRA by its name here, everything else as the workflow's."""
    write_lora(comfy / "models/loras/zkw.safetensors", seed=5)
    path = tmp_path / "preview.png"
    Image.new("RGB", (64, 96), "red").save(path)
    drawn = Preview(path=path, prompt="zkw (v2), wäre schön", seed=77)
    installed = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, steps=9), preview=drawn)
    assert installed.lora_name == "zkw-v2.safetensors"
    told = chunks(installed.preview)
    assert inputs_of(told["prompt"], "LoraLoader")["lora_name"] == "zkw-v2.safetensors"
    assert inputs_of(told["prompt"], "CLIPTextEncode")["text"] == r"zkw \(v2\), wäre schön"
    size = inputs_of(told["prompt"], "EmptyLatentImage")
    assert (size["width"], size["height"]) == (64, 96)
    sampler = inputs_of(told["prompt"], "KSampler")
    planned = inputs_of(installed.workflow, "KSampler")
    assert sampler["seed"] == 77
    assert {**sampler, "seed": 1} == planned
    lines = told["parameters"].splitlines()
    assert lines[0] == r"zkw \(v2\), wäre schön <lora:zkw-v2:1>"
    model_hash = inspect_lora(installed.lora).metadata["sshs_model_hash"]
    for fact in ("Steps: 9", "Seed: 77", "Size: 64x96", "Model: base,", f'"zkw-v2: {model_hash[:12]}"'):
        assert fact in lines[2]


def test_a_picture_of_an_earlier_release_promises_nothing(
    lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "preview.png"
    Image.new("RGB", (64, 64), "red").save(path)
    drawn = Preview(path=path, prompt="zkw", seed=7, told=False)
    installed = comfyui.install(lora, comfy, name="zkw", recipe=recipe, preview=drawn)
    assert chunks(installed.preview) == {}


def test_one_strength_everywhere(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, strength=0.8))
    loader = inputs_of(installed.workflow, "LoraLoader")
    assert (loader["strength_model"], loader["strength_clip"]) == (0.8, 0.8)
    edited = json.loads(Path(str(installed.editor_workflow)).read_text(encoding="utf-8"))
    [node] = [node for node in edited["nodes"] if node["type"] == "LoraLoader"]
    assert node["widgets_values"] == ["zkw.safetensors", 0.8, 0.8]
    assert json.loads(installed.sidecar.read_text(encoding="utf-8"))["preferred weight"] == 0.8
    manager = json.loads(Path(str(installed.metadata)).read_text(encoding="utf-8"))
    assert json.loads(manager["usage_tips"]) == {"strength": 0.8}
    prompts = installed.prompts.read_text(encoding="utf-8")
    assert "Strength   0.8" in prompts and "<lora:zkw:0.8>" in prompts
    assert installed.to_json()["strength"] == 0.8


def test_lora_manager_reads_its_own_sidecar(lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    Image.new("RGB", (64, 64), "red").save(path)
    told = replace(recipe, trigger="asuka_(eva)")
    drawn = Preview(path=path, prompt="zkw", seed=7)
    installed = comfyui.install(lora, comfy, name="people/zkw", recipe=told, preview=drawn)
    assert installed.metadata == comfy / "models/loras/people/zkw.metadata.json"
    table = json.loads(installed.metadata.read_text(encoding="utf-8"))
    notes = table.pop("notes")
    assert table == {
        "file_name": "zkw",
        "model_name": "zkw",
        "file_path": installed.lora.as_posix(),
        "size": lora.stat().st_size,
        "modified": installed.lora.stat().st_mtime,
        "sha256": sha256_file(lora),
        "base_model": "SD 1.5",
        "preview_url": (comfy / "models/loras/people/zkw.png").as_posix(),
        "from_civitai": False,
        "usage_tips": '{"strength": 1.0}',
        "civitai": {"trainedWords": [r"asuka_\(eva\)"]},
    }
    assert "step 200 (zkw-step00000200) of run zkw-001" in notes


def test_sidecars_name_the_released_weights(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    for path in (installed.sidecar, installed.metadata, installed.prompts):
        assert "step 200 (zkw-step00000200) of run zkw-001" in Path(str(path)).read_text(encoding="utf-8")
    assert installed.weights == "step 200 (zkw-step00000200) of run zkw-001"


def test_brackets_are_escaped_in_sidecars(lora: Path, comfy: Path, recipe: Recipe) -> None:
    told = with_scene(
        replace(recipe, trigger="asuka_(eva)", prompts=("asuka_(eva), boots (red)",)), negative="(bad)"
    )
    sidecar = json.loads(comfyui.install(lora, comfy, name="zkw", recipe=told).sidecar.read_text("utf-8"))
    assert sidecar["activation text"] == r"asuka_\(eva\)"
    assert sidecar["negative text"] == r"\(bad\)"
    assert r"asuka_\(eva\), boots \(red\)" in sidecar["notes"]


def test_what_a_person_changed_is_never_overwritten(lora: Path, comfy: Path, recipe: Recipe) -> None:
    first = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    mine = {}
    for path in (first.workflow, first.editor_workflow, first.prompts, first.sidecar, first.metadata):
        assert path is not None
        mine[path] = path.read_text(encoding="utf-8") + " "
        path.write_text(mine[path], encoding="utf-8")
    second = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, strength=0.5))
    assert {path: path.read_text(encoding="utf-8") for path in mine} == mine
    assert second.workflow == comfy / "maquette/zkw-2.workflow.json"
    assert second.editor_workflow == comfy / "user/default/workflows/zkw-2.json"
    assert second.prompts == comfy / "maquette/zkw-2.prompts.txt"
    assert inputs_of(second.workflow, "LoraLoader")["strength_model"] == 0.5
    kept = next(note for note in second.notes if note.startswith("Kept"))
    assert all(str(path) in kept for path in mine)


def test_what_nobody_changed_is_renewed_under_its_name(lora: Path, comfy: Path, recipe: Recipe) -> None:
    first = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    second = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, strength=0.5))
    assert replace(second, strength=1.0, already_installed=False, notes=()) == replace(first, notes=())
    assert inputs_of(second.workflow, "LoraLoader")["strength_model"] == 0.5
    assert json.loads(second.sidecar.read_text(encoding="utf-8"))["preferred weight"] == 0.5
    assert not any(note.startswith("Kept") for note in second.notes)


def test_without_its_list_every_file_counts_as_a_persons(lora: Path, comfy: Path, recipe: Recipe) -> None:
    comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    before = tree(comfy)
    (comfy / "maquette/written.json").write_text("{", encoding="utf-8")
    again = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, strength=0.5))
    assert again.workflow == comfy / "maquette/zkw-2.workflow.json"
    after = tree(comfy)
    assert all(after[name] == data for name, data in before.items() if name != "maquette/written.json")


def test_subfolders_keep_releases_in_order(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(lora, comfy, name="people/zkw.safetensors", recipe=recipe)
    assert installed.lora == comfy / "models/loras/people/zkw.safetensors"
    assert installed.lora_name == os.path.join("people", "zkw.safetensors")  # noqa: PTH118
    assert installed.workflow == comfy / "maquette/people/zkw.workflow.json"
    assert installed.editor_workflow == comfy / "user/default/workflows/people/zkw.json"


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


@pytest.mark.parametrize(("kohya", "refused"), [(0, True), (1, False)])
def test_names_that_drawing_programs_skip_are_said(
    comfy: Path, recipe: Recipe, tmp_path: Path, kohya: int, refused: bool
) -> None:
    """A file of which nothing would be drawn is refused, one of which a part would is told."""
    names = [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k",
    ]
    tensors: dict[str, torch.Tensor] = {}
    for index, name in enumerate(names):
        stem = f"lora_unet_{name.replace('.', '_')}" if index < kohya else f"base_model.model.unet.{name}"
        down, up = ("lora_down", "lora_up") if index < kohya else ("lora_A", "lora_B")
        tensors |= {f"{stem}.{down}.weight": torch.ones(2, 320), f"{stem}.{up}.weight": torch.ones(320, 2)}
    file = tmp_path / "theirs.safetensors"
    save_file(tensors, file)
    before = tree(comfy)
    if refused:
        with pytest.raises(LoraError, match="maquette lora convert"):
            comfyui.install(file, comfy, name="zkw", recipe=recipe)
        assert tree(comfy) == before
    else:
        notes = comfyui.install(file, comfy, name="zkw", recipe=recipe).notes
        assert any(note.startswith("1 of 2 modules") for note in notes)


def test_a_missing_base_is_said_with_the_nearest_name(lora: Path, comfy: Path, recipe: Recipe) -> None:
    installed = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, base="bse.safetensors"))
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


EXTRA = """
comfyui:
    base_path: {shared}
    {default}
    checkpoints: checkpoints
    loras: |
        loras
        more/loras
nothing:
other:
    loras: relative/loras
"""


def with_extra_paths(comfy: Path, default: str = "") -> Path:
    shared = comfy.parent / "shared"
    for name in ("loras", "more/loras", "checkpoints"):
        (shared / name).mkdir(parents=True)
    text = EXTRA.format(shared=shared, default=default)
    (comfy / "extra_model_paths.yaml").write_text(text, encoding="utf-8")
    return shared


def test_a_name_in_a_shared_folder_is_taken(lora: Path, comfy: Path, recipe: Recipe, tmp_path: Path) -> None:
    """ComfyUI takes the first file of a name: another LoRA of this name elsewhere would be drawn with, or hidden."""
    shared = with_extra_paths(comfy)
    other = write_lora(shared / "more/loras/zkw.safetensors", seed=4)
    (shared / "checkpoints/base2.safetensors").write_bytes(b"")
    installed = comfyui.install(lora, comfy, name="zkw", recipe=with_scene(recipe, base="base2.safetensors"))
    assert installed.lora == comfy / "models/loras/zkw-v2.safetensors"
    assert not any("base2" in note for note in installed.notes), "the base lies in a shared folder"
    same = comfyui.install(other, comfy, name="zkw", recipe=recipe)
    assert (same.lora, same.already_installed) == (other, True)


def test_the_default_folder_of_the_shared_ones_takes_the_lora(
    lora: Path, comfy: Path, recipe: Recipe
) -> None:
    shared = with_extra_paths(comfy, default="is_default: true")
    installed = comfyui.install(lora, comfy, name="zkw", recipe=recipe)
    assert installed.lora == shared / "more/loras/zkw.safetensors", "of a default section the last line leads"
    assert installed.sidecar == shared / "more/loras/zkw.json"
    assert installed.workflow == comfy / "maquette/zkw.workflow.json"
    assert any(str(installed.lora.parent) in note for note in installed.notes)


def test_shared_folders_are_found_without_an_own_one(lora: Path, recipe: Recipe, tmp_path: Path) -> None:
    comfy = tmp_path / "ComfyUI"
    (comfy / "comfy/ldm").mkdir(parents=True)
    shared = with_extra_paths(comfy)
    assert comfyui.install(lora, comfy, name="zkw", recipe=recipe).lora == shared / "loras/zkw.safetensors"


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "comfyui: 3\nb: {loras: [1, 2]}", "a: &a [1]\nb: *a", "x" * (1 << 21), "a:\n  loras: 7"],
)
def test_a_list_of_folders_that_is_none_hinders_nothing(
    lora: Path, comfy: Path, recipe: Recipe, text: str
) -> None:
    (comfy / "extra_model_paths.yaml").write_text(text, encoding="utf-8")
    assert comfyui.install(lora, comfy, name="zkw", recipe=recipe).lora.parent == comfy / "models/loras"


@pytest.mark.parametrize(
    ("name", "line", "folder"),
    [
        ("webui-user.sh", 'export COMMANDLINE_ARGS="--xformers --lora-dir {there}"', ""),
        ("webui-user.bat", 'set COMMANDLINE_ARGS=--api --lora-dir="{there}"', ""),
        ("webui-user.sh", "export COMMANDLINE_ARGS='--forge-ref-a1111-home {there}'", "models/Lora"),
    ],
)
def test_web_uis_read_the_folder_they_are_started_with(
    lora: Path, recipe: Recipe, tmp_path: Path, name: str, line: str, folder: str
) -> None:
    root, there = tmp_path / "webui", tmp_path / "shared"
    (root / "models/Lora").mkdir(parents=True)
    (there / folder).mkdir(parents=True)
    (root / name).write_text(f"# --lora-dir /elsewhere\n{line.format(there=there)}\n", encoding="utf-8")
    installed = webui.install(lora, root, name="zkw", recipe=recipe)
    assert installed.lora == there / folder / "zkw.safetensors"
    assert installed.prompts.parent == installed.sidecar.parent == there / folder


@pytest.mark.parametrize(("lengths", "warned"), [((8, 1, 1, 1), True), ((1, 8, 1, 1), False)])
def test_dora_that_comfyui_draws_otherwise_is_told_from_one_that_it_draws_as_trained(
    comfy: Path, tmp_path: Path, lengths: tuple[int, ...], warned: bool
) -> None:
    key = "lora_unet_down_blocks_0_attentions_0_proj_in"
    state = {
        f"{key}.alpha": torch.tensor(2.0),
        f"{key}.lora_down.weight": torch.ones(2, 8, 1, 1),
        f"{key}.lora_up.weight": torch.ones(8, 2, 1, 1),
        f"{key}.dora_scale": torch.ones(*lengths),
    }
    path = save_lora(tmp_path / "dora.safetensors", state, {"ss_base_model_version": "sd_v1"}).path
    events: list[Event] = []
    run_stage(deploy_events(path, DeployOptions(comfyui=comfy, base_name="base.safetensors")), events.append)
    said = [event.text for event in events if isinstance(event, Message)]
    assert any("ComfyUI draws it differently" in text for text in said) == warned
