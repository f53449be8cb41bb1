"""Install a LoRA into a ComfyUI folder, with sidecars, an API workflow and a prompt template.

COMFYUI/
  models/loras/NAME.safetensors  NAME.json  NAME.png
  maquette/NAME.workflow.json    open or drop it in ComfyUI, or POST {"prompt": …} to /prompt
  maquette/NAME.prompts.txt
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maquette.deploying.nodes import check_workflow
from maquette.deploying.program import Program, placed_notes
from maquette.deploying.release import Placed, write_beside, write_sidecars
from maquette.deploying.workflow import Recipe, build_workflow, prompt_template
from maquette.errors import nearest

LORAS = Path("models/loras")
CHECKPOINTS = Path("models/checkpoints")
COMFYUI = Program(
    title="ComfyUI",
    loras=LORAS,
    marks=(LORAS,),
    inner="ComfyUI",
    made=(LORAS, CHECKPOINTS),
    home="the folder that holds ComfyUI's main.py and models/",
)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an installation left behind, and what its user still has to do."""

    program: str
    """The drawing program: "ComfyUI" or "AUTOMATIC1111 / Forge"."""
    lora: Path
    lora_name: str
    """The name under which the program lists the LoRA."""
    sha256: str
    already_installed: bool
    """True when a file with this content was there under this name before."""
    sidecar: Path
    preview: Path | None
    workflow: Path | None
    prompts: Path
    notes: tuple[str, ...] = ()
    """What the user still has to know or do."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}


def install(
    lora: Path,
    comfy_dir: Path,
    *,
    name: str,
    recipe: Recipe,
    preview: Path | None = None,
    create: bool = False,
) -> Installed:
    """Install the LoRA file into the ComfyUI at `comfy_dir` as a release of its own; nothing there is
    overwritten.

    `name` becomes NAME.safetensors, or NAME-v2… when another LoRA holds it. `preview` is a picture drawn with
    the LoRA. `create` makes the folders where no ComfyUI is. Raises OutputError when `comfy_dir` is no
    ComfyUI or cannot be written, LoraError for an unusable LoRA, ConfigError for an unusable recipe or name;
    then nothing was installed.
    """
    root, placed = COMFYUI.release(lora, comfy_dir, name=name, recipe=recipe, create=create)
    lora_name = str(placed.path.relative_to(root / LORAS))
    stem = Path(lora_name).with_suffix("").as_posix()
    workflow = build_workflow(recipe, lora_name, prefix=stem.replace("/", "-"))
    sound = check_workflow(workflow)
    assert not sound, sound
    texts = {
        ".workflow.json": json.dumps(workflow, indent=2, ensure_ascii=False) + "\n",
        ".prompts.txt": prompt_template(recipe, lora_name),
    }
    workflow_path, prompts_path = write_beside(root / "maquette", stem, texts)
    sidecars = write_sidecars(placed, recipe, preview, {"prompt": json.dumps(workflow)})
    return Installed(
        program=COMFYUI.title,
        lora=placed.path,
        lora_name=lora_name,
        sha256=placed.sha256,
        already_installed=placed.already_installed,
        sidecar=sidecars["sidecar"],
        preview=sidecars.get("preview"),
        workflow=workflow_path,
        prompts=prompts_path,
        notes=tuple(_notes(root, recipe, placed)),
    )


def _notes(root: Path, recipe: Recipe, placed: Placed) -> list[str]:
    notes = []
    checkpoints = _files(root / CHECKPOINTS)
    if recipe.base_checkpoint.replace("\\", "/") not in checkpoints:
        guess = nearest(recipe.base_checkpoint, checkpoints)
        hint = f" (there is {guess})" if guess else ""
        notes.append(
            f"The base model {recipe.base_checkpoint} is not in {CHECKPOINTS}{hint}: put it there, "
            "or choose it in the workflow's first node."
        )
    return notes + placed_notes(placed)


def _files(folder: Path) -> Sequence[str]:
    if not folder.is_dir():
        return ()
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
