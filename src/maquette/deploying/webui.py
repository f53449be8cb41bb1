"""Install a LoRA into an AUTOMATIC1111 or Forge folder, with its sidecar, its preview and a prompt template.

WEBUI/models/Lora/NAME.safetensors  NAME.json  NAME.png  NAME.prompts.txt  NAME.card.md
"""

from __future__ import annotations

from pathlib import Path

from maquette.deploying.card import Judged, write_card
from maquette.deploying.folders import webui_folders
from maquette.deploying.ledger import Ledger
from maquette.deploying.program import Installed, Program, common_notes, files_of, release
from maquette.deploying.recipe import Recipe, prompt_template
from maquette.deploying.sidecars import Preview, write_preview, write_webui_sidecar
from maquette.drawing.scene import stem_of

LORAS = Path("models/Lora")
WEBUI = Program(
    title="AUTOMATIC1111 / Forge",
    loras=LORAS,
    marks=(LORAS, Path("models/Stable-diffusion")),
    inner="webui",
    made=(LORAS,),
    home="the folder that holds webui.py and models/",
)


def _prediction_notes(recipe: Recipe) -> tuple[str, ...]:
    """Return what the web UI must be told of a base that predicts v, which its file may not tell it."""
    scene = recipe.scene
    if scene.prediction != "v":
        return ()
    zero = (
        ' Set "Noise schedule for sampling" to "Zero Terminal SNR" (Settings, Sampler parameters).'
        if scene.zero_terminal_snr
        else ""
    )
    return (
        f"{scene.base} predicts v: if pictures are noise there, the file does not say so. Put {stem_of(scene.base)}.yaml with "
        f'parameterization: "v" beside it.{zero}',
    )


def install(
    lora: Path,
    webui_dir: Path,
    *,
    name: str,
    recipe: Recipe,
    preview: Preview | None = None,
    judged: Judged | None = None,
    create: bool = False,
    dry: bool = False,
) -> Installed:
    """Install the LoRA file into the web UI at `webui_dir` as a release of its own; nothing there that a person made or
    changed is overwritten.

    The laws and errors are those of `comfyui.install`; there is no workflow, the sidecar and the prompt do
    its work.
    """
    root = WEBUI.root(webui_dir, create=create, dry=dry)
    folders = webui_folders(root, LORAS)
    released = release(lora, folders, name=name, recipe=recipe, dry=dry)
    placed = released.placed
    ledger = Ledger(root, dry=dry)
    text = prompt_template(recipe, placed.name)
    prompts = ledger.put_under_free_name(placed.path.parent, placed.path.stem, ".prompts.txt", text)
    scene = recipe.scene_of(placed.name, released.model_hash)
    picture = write_preview(ledger, placed, preview, scene) if preview else None
    card = write_card(ledger, released, placed.path.parent, placed.path.stem, judged=judged, picture=picture)
    sidecar = write_webui_sidecar(ledger, placed, recipe)
    return Installed(
        program=WEBUI.title,
        lora=placed.path,
        lora_name=placed.name,
        sha256=placed.sha256,
        model_hash=released.model_hash,
        already_installed=placed.already_installed,
        weights=recipe.origin,
        strength=recipe.scene.strength,
        sidecar=sidecar,
        preview=picture,
        workflow=None,
        editor_workflow=None,
        metadata=None,
        prompts=prompts,
        root=root,
        files=files_of(placed, ledger),
        taken=placed.taken,
        is_dry=dry,
        card=card,
        notes=(
            "Press Refresh on the Lora tab; the trigger and the weight come from the sidecar.",
            *_prediction_notes(recipe),
            *common_notes(released, ledger, root / LORAS, folders),
        ),
    )
