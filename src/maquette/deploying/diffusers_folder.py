"""A folder that diffusers loads a LoRA from, and that can be pushed to the Hub as it is.

DIR/NAME/NAME.safetensors   pipe.load_lora_weights("DIR/NAME")
DIR/NAME/README.md          the model card
DIR/NAME/NAME.png           a picture drawn with it
DIR/NAME/NAME.prompts.txt   prompts to begin with
"""

from __future__ import annotations

from pathlib import Path

from maquette.deploying.card import CardFacts, Judged, model_card
from maquette.deploying.folders import ModelFolders
from maquette.deploying.ledger import Ledger
from maquette.deploying.program import Installed, check_release, files_of
from maquette.deploying.recipe import Recipe, prompt_template
from maquette.deploying.release import Placed, place_in_own_folder
from maquette.deploying.sidecars import Preview, write_preview
from maquette.errors import LoraError, Problem
from maquette.files import require_writable_folder
from maquette.lora.metadata import MODEL_HASH
from maquette.lora.programs import diffusers_draws

TITLE = "diffusers"


def install(
    lora: Path,
    folder: Path,
    *,
    name: str,
    recipe: Recipe,
    preview: Preview | None = None,
    judged: Judged | None = None,
    dry: bool = False,
) -> Installed:
    """Write the LoRA into a folder of its own below `folder`, with its card; no other file there is changed.

    `dry` returns what would be written, and writes nothing. Raises LoraError for what diffusers would not draw as it was trained.
    """
    facts = check_release(lora, name=name, recipe=recipe)
    if not diffusers_draws(facts):
        given = f"is {facts.titles}{' with tensors that are no part of it' if facts.stray else ''}"
        remedy = "Draw with ComfyUI, or train plain LoRA."
        raise LoraError(
            Problem(str(lora), given, "plain LoRA, which alone diffusers draws as trained", remedy)
        )
    root = Path(folder).expanduser().absolute()
    if not dry:
        require_writable_folder(root)
    placed: Placed = place_in_own_folder(lora, ModelFolders(paths=(root,)), name, dry=dry)
    ledger = Ledger(root, dry=dry)
    scene = recipe.scene_of(placed.path.name, facts.metadata.get(MODEL_HASH, ""))
    picture = write_preview(ledger, placed, preview, scene) if preview else None
    text = prompt_template(recipe, placed.path.name)
    prompts = ledger.put(placed.path.with_suffix(".prompts.txt"), text)
    told = CardFacts(
        name=placed.path.stem,
        file=placed.path.name,
        lora=facts,
        recipe=recipe,
        judged=judged,
        picture=picture.name if picture else None,
    )
    card = ledger.put(placed.path.parent / "README.md", model_card(told))
    notes = (
        [f"Kept as they are, because they were changed: {', '.join(map(str, ledger.kept))}."]
        if ledger.kept
        else []
    )
    return Installed(
        program=TITLE,
        lora=placed.path,
        lora_name=placed.name,
        sha256=placed.sha256,
        model_hash=facts.metadata.get(MODEL_HASH, ""),
        already_installed=placed.already_installed,
        weights=recipe.origin,
        strength=recipe.scene.strength,
        sidecar=None,
        preview=picture,
        workflow=None,
        editor_workflow=None,
        metadata=None,
        prompts=prompts,
        card=card,
        root=root,
        files=files_of(placed, ledger),
        taken=placed.taken,
        is_dry=dry,
        notes=(f'pipe.load_lora_weights("{placed.path.parent}")', *notes),
    )
