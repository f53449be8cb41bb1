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

from maquette.deploy.nodes import check_workflow
from maquette.deploy.release import (
    Placed,
    place_lora,
    release_stem,
    require_lora,
    write_beside,
    write_sidecars,
)
from maquette.deploy.workflow import Recipe, build_workflow, check_recipe, prompt_template
from maquette.errors import OutputError, Problem, nearest

LORAS = Path("models/loras")
CHECKPOINTS = Path("models/checkpoints")


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
    check_recipe(recipe)
    release_stem(name)
    require_lora(lora)
    root = comfy_root(comfy_dir, create=create)
    placed = place_lora(lora, root / LORAS, name)
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
        program="ComfyUI",
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


def comfy_root(folder: Path, *, create: bool = False) -> Path:
    """Return the folder that holds models/loras: `folder`, or the ComfyUI inside a portable build."""
    folder = Path(folder).expanduser().absolute()
    for root in (folder, folder / "ComfyUI"):
        if (root / LORAS).is_dir():
            return root
    if create:
        for part in (LORAS, CHECKPOINTS):
            try:
                (folder / part).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    Problem(
                        str(folder / part),
                        f"cannot be made ({error.strerror or error})",
                        "a writable folder",
                        "Choose another place.",
                    )
                ) from error
        return folder
    raise OutputError(
        Problem(
            str(folder),
            "is no ComfyUI folder (it has no models/loras)" if folder.is_dir() else "does not exist",
            "the folder that holds ComfyUI's main.py and models/",
            "Give that folder, or make the folders here with --create.",
        )
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
    if placed.already_installed:
        notes.append(f"{placed.path.name} was already installed with this very content; nothing was copied.")
    return notes


def _files(folder: Path) -> Sequence[str]:
    if not folder.is_dir():
        return ()
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
