"""What drawing programs have in common: a folder that holds them, a folder in it where LoRAs lie, and what is left there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.deploying.folders import ModelFolders
from maquette.deploying.ledger import Ledger, Put
from maquette.deploying.recipe import Recipe, check_recipe
from maquette.deploying.release import Placed, place_lora, release_stem, require_lora
from maquette.errors import LoraError, OutputError, Problem
from maquette.files import require_writable_folder

if TYPE_CHECKING:
    from maquette.lora.facts import LoraFacts


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an installation left behind, and what its user still has to do."""

    program: str
    """The drawing program: "ComfyUI" or "AUTOMATIC1111 / Forge"."""
    lora: Path
    lora_name: str
    """The name under which the program lists the LoRA."""
    sha256: str
    model_hash: str
    """SHA-256 of its tensors, as the file itself says it (`sshs_model_hash`); empty where it says none."""
    already_installed: bool
    """True when a file with this content was there under this name before."""
    weights: str
    """Which weights of which run they are, in words."""
    strength: float
    why: str = ""
    """Why these weights of the run; empty for a bare file."""
    sidecar: Path | None
    preview: Path | None
    workflow: Path | None
    """In the API format."""
    editor_workflow: Path | None
    """In the format of ComfyUI's editor, where its Workflows sidebar lists it."""
    metadata: Path | None
    """The sidecar of LoRA Manager."""
    prompts: Path
    root: Path
    """The program's folder."""
    card: Path | None = None
    """The model card."""
    template: Path | None = None
    """The workflow with its slots open."""
    pose_workflow: Path | None = None
    """In the API format, the pose that a picture shows taken over by a ControlNet; where one was named."""
    pose_editor_workflow: Path | None = None
    has_pose: bool = False
    """Whether a picture of a pose was given: then that is the workflow to draw."""
    notes: tuple[str, ...] = ()
    """What the user still has to know or do."""
    files: tuple[Put, ...] = field(default=(), compare=False)
    """Every file that was looked at to be written, the LoRA first, and what became of it."""
    taken: Path | None = None
    """Another LoRA that holds the name which was asked for: this one has the next free one."""
    is_dry: bool = False
    """Whether this is what would be written: nothing was."""

    @property
    def to_draw(self) -> Path | None:
        """The workflow that shows what the LoRA draws."""
        return self.pose_workflow if self.has_pose else self.workflow

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        table = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
        return {**table, "files": [{"path": str(put.path), "how": put.how} for put in self.files]}


@dataclass(frozen=True, kw_only=True)
class Program:
    """A drawing program on disk. Paths are relative to its root."""

    title: str
    loras: Path
    marks: tuple[Path, ...]
    """Folders any of which shows that a folder is the program's root."""
    inner: str
    """Name of the root inside a portable build."""
    made: tuple[Path, ...]
    """Folders that `create` makes."""
    home: str
    """Where a person finds the root, in words."""

    def is_at(self, folder: Path) -> bool:
        """Whether `folder` holds the program."""
        return self._found(Path(folder).expanduser().absolute()) is not None

    def _found(self, folder: Path) -> Path | None:
        roots = (folder, folder / self.inner)
        return next((root for root in roots if any((root / mark).is_dir() for mark in self.marks)), None)

    def root(self, folder: Path, *, create: bool, dry: bool = False) -> Path:
        """Return the program's root: `folder`, or the one inside a portable build. Raises OutputError for any other.

        With `create` its folders are made where it is none, unless nothing may be written (`dry`).
        """
        folder = Path(folder).expanduser().absolute()
        if (root := self._found(folder)) is not None:
            return root
        if create:
            for part in () if dry else self.made:
                require_writable_folder(folder / part)
            return folder
        given = (
            f"is no {self.title} folder (it has no {self.loras.as_posix()})"
            if folder.is_dir()
            else "does not exist"
        )
        remedy = "Give that folder, or make the folders here with --create."
        raise OutputError(Problem(str(folder), given, self.home, remedy))


@dataclass(frozen=True, kw_only=True)
class Release:
    """A LoRA in its place, and what the files beside it must tell."""

    placed: Placed
    recipe: Recipe
    facts: LoraFacts

    @property
    def model_hash(self) -> str:
        """SHA-256 of its tensors, as the file says it; empty where it says none."""
        from maquette.lora.metadata import MODEL_HASH

        return self.facts.metadata.get(MODEL_HASH, "")


_CONVERT = "maquette lora convert FILE writes the same weights under names that all of them read."


def check_release(lora: Path, *, name: str, recipe: Recipe) -> LoraFacts:
    """Return what the LoRA is. Raises what keeps it from being released: its own faults, its recipe's, its name's."""
    check_recipe(recipe)
    release_stem(name)
    facts = require_lora(lora)
    if facts.unfound and len(facts.unfound) == len(facts.modules):
        given = f"drawing programs find none of its {len(facts.modules)} modules under their names"
        raise LoraError(Problem(str(lora), given, "kohya's names, which all of them read", _CONVERT))
    return facts


def release(lora: Path, folders: ModelFolders, *, name: str, recipe: Recipe, dry: bool = False) -> Release:
    """Check everything, then copy the LoRA under a name of its own."""
    facts = check_release(lora, name=name, recipe=recipe)
    return Release(placed=place_lora(lora, folders, name, dry=dry), recipe=recipe, facts=facts)


def files_of(placed: Placed, ledger: Ledger) -> tuple[Put, ...]:
    """Return every file of an installation, the LoRA first."""
    return (Put(path=placed.path, how="same" if placed.already_installed else "new"), *ledger.files)


def common_notes(released: Release, ledger: Ledger, own: Path, folders: ModelFolders) -> list[str]:
    """Return what a person should know of how things were placed; `own` is the program's usual folder."""
    placed, recipe = released.placed, released.recipe
    notes = [folders.note] if folders.note else []
    if placed.already_installed:
        notes.append(f"{placed.path.name} was already installed with this very content; nothing was copied.")
    if placed.folder != own:
        notes.append(f"{placed.folder} is the folder for LoRAs that this program is told to read.")
    if not recipe.trigger:
        notes.append("No trigger is known, and the sidecars name none: --trigger WORD says one.")
    if unfound := released.facts.unfound:
        notes.append(
            f"{len(unfound)} of {len(released.facts.modules)} modules have names that drawing programs skip: {_CONVERT}"
        )
    if ledger.kept:
        names = ", ".join(str(path) for path in ledger.kept)
        notes.append(f"Kept as they are, because they were changed or made by someone else: {names}.")
    return notes
