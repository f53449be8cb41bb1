"""Install a LoRA into an AUTOMATIC1111 or Forge folder, with its sidecars and a prompt template."""

from __future__ import annotations

from pathlib import Path

from maquette.deploying.comfyui import Installed
from maquette.deploying.program import Program, placed_notes
from maquette.deploying.release import write_beside, write_sidecars
from maquette.deploying.workflow import Recipe, prompt_template

LORAS = Path("models/Lora")
WEBUI = Program(
    title="AUTOMATIC1111 / Forge",
    loras=LORAS,
    marks=(LORAS, Path("models/Stable-diffusion")),
    inner="webui",
    made=(LORAS,),
    home="the folder that holds webui.py and models/",
)


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
    root, placed = WEBUI.release(lora, webui_dir, name=name, recipe=recipe, create=create)
    lora_name = str(placed.path.relative_to(root / LORAS))
    [prompts] = write_beside(
        placed.path.parent, placed.path.stem, {".prompts.txt": prompt_template(recipe, lora_name)}
    )
    sidecars = write_sidecars(placed, recipe, preview, {})
    return Installed(
        program=WEBUI.title,
        lora=placed.path,
        lora_name=lora_name,
        sha256=placed.sha256,
        already_installed=placed.already_installed,
        sidecar=sidecars["sidecar"],
        preview=sidecars.get("preview"),
        workflow=None,
        prompts=prompts,
        notes=(
            "Press Refresh on the Lora tab; the trigger and the weight come from the sidecar.",
            *placed_notes(placed),
        ),
    )
