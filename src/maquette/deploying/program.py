"""What drawing programs have in common: a folder that holds them, and a folder in it where LoRAs lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.deploying.release import Placed, place_lora, release_stem, require_lora
from maquette.deploying.workflow import Recipe, check_recipe
from maquette.errors import OutputError, Problem
from maquette.files import require_writable_folder


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

    def root(self, folder: Path, *, create: bool) -> Path:
        """Return the program's root: `folder`, or the one inside a portable build. Raises OutputError for any other."""
        folder = Path(folder).expanduser().absolute()
        for root in (folder, folder / self.inner):
            if any((root / mark).is_dir() for mark in self.marks):
                return root
        if create:
            for part in self.made:
                require_writable_folder(folder / part)
            return folder
        given = (
            f"is no {self.title} folder (it has no {self.loras.as_posix()})"
            if folder.is_dir()
            else "does not exist"
        )
        remedy = "Give that folder, or make the folders here with --create."
        raise OutputError(Problem(str(folder), given, self.home, remedy))

    def release(
        self, lora: Path, folder: Path, *, name: str, recipe: Recipe, create: bool
    ) -> tuple[Path, Placed]:
        """Check everything, then copy the LoRA under a name of its own; return the root and the placed file."""
        check_recipe(recipe)
        release_stem(name)
        require_lora(lora)
        root = self.root(folder, create=create)
        return root, place_lora(lora, root / self.loras, name)


def placed_notes(placed: Placed) -> list[str]:
    """Return what a person should know of how the file was placed."""
    if not placed.already_installed:
        return []
    return [f"{placed.path.name} was already installed with this very content; nothing was copied."]
