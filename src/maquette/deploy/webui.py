"""Install a LoRA into an AUTOMATIC1111 or Forge folder, with its sidecars and a prompt template."""

from __future__ import annotations

from pathlib import Path

from maquette.deploy.comfyui import Installed
from maquette.deploy.release import place_lora, release_stem, require_lora, write_beside, write_sidecars
from maquette.deploy.workflow import Recipe, check_recipe, prompt_template
from maquette.errors import OutputError, Problem

LORAS = Path("models/Lora")


def install(
    lora: Path,
    webui_dir: Path,
    *,
    name: str,
    recipe: Recipe,
    preview: Path | None = None,
    create: bool = False,
) -> Installed:
    """Install the LoRA file into the web UI at `webui_dir` as a release of its own; nothing there is
    overwritten.

    The laws and errors are those of `comfyui.install`; there is no workflow, the sidecar and the prompt do
    its work.
    """
    check_recipe(recipe)
    release_stem(name)
    require_lora(lora)
    root = webui_root(webui_dir, create=create)
    placed = place_lora(lora, root / LORAS, name)
    lora_name = str(placed.path.relative_to(root / LORAS))
    [prompts] = write_beside(
        placed.path.parent, placed.path.stem, {".prompts.txt": prompt_template(recipe, lora_name)}
    )
    sidecars = write_sidecars(placed, recipe, preview, {})
    return Installed(
        program="AUTOMATIC1111 / Forge",
        lora=placed.path,
        lora_name=lora_name,
        sha256=placed.sha256,
        already_installed=placed.already_installed,
        sidecar=sidecars["sidecar"],
        preview=sidecars.get("preview"),
        workflow=None,
        prompts=prompts,
        notes=("Press Refresh on the Lora tab; the trigger and the weight come from the sidecar.",),
    )


def webui_root(folder: Path, *, create: bool = False) -> Path:
    """Return the folder that holds models/Lora: `folder`, or the webui inside a packaged build."""
    folder = Path(folder).expanduser().absolute()
    for root in (folder, folder / "webui"):
        if (root / LORAS).is_dir() or (root / "models/Stable-diffusion").is_dir():
            return root
    if create:
        return folder
    raise OutputError(
        Problem(
            str(folder),
            "is no AUTOMATIC1111 or Forge folder (it has no models/Lora)",
            "the folder that holds webui.py and models/",
            "Give that folder, or make the folders here with --create.",
        )
    )
