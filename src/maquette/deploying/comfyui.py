"""Install a LoRA into a ComfyUI folder, with sidecars, workflows in both formats and a prompt template.

COMFYUI/
  models/loras/NAME.safetensors  NAME.json  NAME.metadata.json  NAME.png
  user/default/workflows/NAME.json     where ComfyUI's Workflows sidebar lists it
  maquette/NAME.workflow.json          the API format: POST {"prompt": …} to /prompt
  maquette/NAME.template.json          the same with its slots open (workflows.py)
  maquette/NAME.prompts.txt
  maquette/NAME.card.md                the model card
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maquette.deploying.card import Judged, write_card
from maquette.deploying.folders import ModelFolders, comfyui_folders
from maquette.deploying.ledger import Ledger
from maquette.deploying.program import Installed, Program, Release, common_notes, files_of, release
from maquette.deploying.recipe import Recipe, check_recipe, prompt_template
from maquette.deploying.sidecars import (
    Preview,
    write_manager_sidecar,
    write_preview,
    write_webui_sidecar,
)
from maquette.deploying.workflows import OURS, Drawings, check_drawings, write_workflows
from maquette.errors import nearest

LORAS = Path("models/loras")
CHECKPOINTS = Path("models/checkpoints")
COMFYUI = Program(
    title="ComfyUI",
    loras=LORAS,
    marks=(LORAS, Path("comfy/ldm")),
    inner="ComfyUI",
    made=(LORAS, CHECKPOINTS),
    home="the folder that holds ComfyUI's main.py and models/",
)

_OURS_ALONE = Drawings()


def install(
    lora: Path,
    comfy_dir: Path,
    *,
    name: str,
    recipe: Recipe,
    preview: Preview | None = None,
    judged: Judged | None = None,
    drawings: Drawings = _OURS_ALONE,
    create: bool = False,
    dry: bool = False,
) -> Installed:
    """Install the LoRA file into the ComfyUI at `comfy_dir` as a release of its own; nothing there that a person made or
    changed is overwritten.

    `name` becomes NAME.safetensors, or NAME-v2… when another LoRA holds it in any folder that ComfyUI reads. `create`
    makes the folders where no ComfyUI is; `dry` returns what would be written, and writes nothing. Raises OutputError when
    `comfy_dir` is no ComfyUI or cannot be written, LoraError for an unusable LoRA, ConfigError for an unusable recipe or name;
    then nothing was installed.
    """
    root = COMFYUI.root(comfy_dir, create=create, dry=dry)
    folders = comfyui_folders(root, "loras", LORAS)
    check_recipe(recipe)
    check_drawings(recipe.scene_of(f"{name}.safetensors"), drawings)
    released = release(lora, folders, name=name, recipe=recipe, dry=dry)
    placed = released.placed
    ledger = Ledger(root, dry=dry)
    scene = recipe.scene_of(placed.name, released.model_hash)
    written = write_workflows(ledger, root, placed.stem, scene, drawings)
    ours = root / OURS
    text = prompt_template(recipe, placed.name)
    prompts = ledger.put_under_free_name(ours, placed.stem, ".prompts.txt", text)
    picture = write_preview(ledger, placed, preview, scene) if preview else None
    card = write_card(ledger, released, ours, placed.stem, judged=judged, picture=picture)
    sidecar = write_webui_sidecar(ledger, placed, recipe)
    metadata = write_manager_sidecar(ledger, placed, recipe, picture)
    return Installed(
        program=COMFYUI.title,
        lora=placed.path,
        lora_name=placed.name,
        sha256=placed.sha256,
        model_hash=released.model_hash,
        already_installed=placed.already_installed,
        weights=recipe.origin,
        strength=recipe.scene.strength,
        sidecar=sidecar,
        preview=picture,
        workflow=written.api,
        editor_workflow=written.editor,
        template=written.template,
        pose_workflow=written.pose_api,
        pose_editor_workflow=written.pose_editor,
        has_pose=drawings.pose is not None and drawings.pose.picture is not None,
        metadata=metadata,
        prompts=prompts,
        root=root,
        files=files_of(placed, ledger),
        taken=placed.taken,
        is_dry=dry,
        card=card,
        notes=(*written.notes, *_notes(root, released, ledger, folders)),
    )


def _notes(root: Path, released: Release, ledger: Ledger, folders: ModelFolders) -> list[str]:
    notes = []
    scene = released.recipe.scene
    known = comfyui_folders(root, "checkpoints", CHECKPOINTS)
    names = known.names()
    if scene.base.replace("\\", "/") not in names:
        guess = nearest(scene.base, names)
        hint = f" (there is {guess})" if guess else ""
        notes.append(
            f"The base model {scene.base} is not in {known.install}{hint}: put it there, "
            "or choose it in the workflow's first node."
        )
    if scene.elsewhere is not None and scene.elsewhere.fresh_noise:
        notes.append(
            f"{scene.sampler} adds noise while it draws, which ComfyUI makes on its own device: on a GPU its pictures "
            "differ from those drawn here. euler and dpmpp_2m draw the same everywhere."
        )
    return notes + common_notes(
        released, ledger, root / LORAS, replace(folders, note=known.note or folders.note)
    )
