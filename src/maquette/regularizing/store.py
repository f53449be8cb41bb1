"""The folder of one set of regularization pictures, with its manifest.

OUT/1_class_word/class_word_0001.png (.txt)   the kohya folder form: every trainer takes OUT as it is
OUT/regularization.json                       which prompt, seed, base and settings made each picture
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from maquette.errors import ModelError, OutputError, Problem
from maquette.files import (
    remove_stale_partials,
    require_writable_folder,
    sha256_file,
    write_atomic,
    write_json,
)
from maquette.project.validation import checked
from maquette.reading import FileKind, read_table

if TYPE_CHECKING:
    from PIL import Image

MANIFEST_NAME = "regularization.json"
MANIFEST_VERSION = 1
BEGUN = "begun"
"""In the manifest while pictures are being made, or since that was cut off: how many are this set's, made or not."""
FILE = FileKind(
    f"a list of version {MANIFEST_VERSION}",
    "Choose another --out.",
    OutputError,
    damaged="Choose another --out.",
)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How every picture is drawn. Two sets that differ in one of these do not share a folder."""

    size_px: int
    steps: int
    guidance: float
    sampler: str
    negative: str
    clip_skip: int | None


@dataclass(frozen=True, kw_only=True)
class Regularized:
    """A folder of regularization pictures."""

    folder: Path
    """What a trainer is given: --reg_data_dir, or `regularization` in maquette.toml."""
    pictures_folder: Path
    class_word: str
    pictures: int
    drawn: int
    """Of them, how many this call made or copied."""
    manifest: Path
    sheet: Path
    seconds: float
    needed: int | None = None
    """Training items (pictures × repeats) that they balance, where a dataset was named."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Pictures of a given folder that were not taken, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        paths = ("folder", "pictures_folder", "manifest", "sheet")
        return {**asdict(self), **{name: str(getattr(self, name)) for name in paths}}


@dataclass(frozen=True)
class _Made:
    """What the manifest says of a picture: drawn from a prompt and a seed, or taken from a source."""

    sha256: str
    prompt: str = ""
    seed: int | None = None
    source: str = ""


@dataclass(frozen=True)
class _Pictures:
    pictures: Mapping[str, _Made]
    begun: Annotated[int, Field(ge=0)] = 0


class Store:
    """The folder of one set and its manifest."""

    def __init__(self, folder: Path, class_word: str) -> None:
        self.folder = folder
        self.class_word = class_word
        self.slug = re.sub(r"\W+", "_", class_word.lower()).strip("_") or "class"
        self.pictures = folder / f"1_{self.slug}"
        self.manifest = folder / MANIFEST_NAME
        self.sheet = folder.with_name(f"{folder.name}-sheet.png")
        self.table: dict[str, Any] = {"pictures": {}}

    def name(self, index: int) -> str:
        """Return the file name of the picture at `index`, from 1."""
        return f"{self.slug}_{index:04d}.png"

    def claim(self, made_by: Mapping[str, Any], coming: int) -> None:
        """Take the folder for `coming` pictures made in this way; OutputError when it holds another set or foreign files."""
        require_writable_folder(self.pictures)
        remove_stale_partials(self.sheet.parent, below=False)
        if self.manifest.is_file():
            self.table = self._read()
            differing = [name for name, value in made_by.items() if self.table.get(name) != value]
            if not any(self.folder.glob("1_*/*.*")):
                self.table = {"pictures": {}}  # whoever began here came to nothing
            elif differing:
                raise OutputError(
                    Problem(
                        str(self.folder),
                        f"holds pictures made with another {' and '.join(differing)}",
                        "one base and one way of drawing in a folder",
                        "Choose another --out, or give the settings of that set.",
                    )
                )
        begun = self.table.get(BEGUN, 0)
        ours = self.pictures.glob(f"{self.slug}_????.*")
        foreign = [
            path.name
            for path in ours
            if path.suffix != ".txt" and path.name not in self._known and self._index(path) > begun
        ]
        if foreign:
            raise OutputError(
                Problem(
                    str(self.pictures),
                    f"holds {foreign[0]} and {len(foreign) - 1} more that are not in {MANIFEST_NAME}",
                    "a new folder, or one that this command made",
                    "Choose another --out; nothing is overwritten.",
                )
            )
        self.table = {
            "version": MANIFEST_VERSION,
            "maquette": _version(),
            **made_by,
            BEGUN: max(coming, begun),
            "pictures": self.table["pictures"],
        }
        self.write()

    def _index(self, path: Path) -> int:
        """Return the number in a picture's name."""
        digits = path.stem.removeprefix(f"{self.slug}_")
        return int(digits) if digits.isdecimal() else sys.maxsize

    @property
    def _known(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.table["pictures"]
        return found

    def _read(self) -> dict[str, Any]:
        table = read_table(self.manifest, FILE)
        if table.get("version") != MANIFEST_VERSION:
            given = f"version {table.get('version')!r}"
            raise OutputError(Problem(str(self.manifest), given, FILE.required, FILE.remedy))
        told = {"pictures": table.get("pictures"), BEGUN: table.get(BEGUN, 0)}
        checked(_Pictures, told, str(self.manifest), FILE)
        return table

    def holds(self, name: str, prompt: str, seed: int) -> bool:
        """Tell whether the picture was drawn already, from this very prompt and seed, and lies there unchanged."""
        entry = self._known.get(name)
        path = self.pictures / name
        if entry is None or (entry.get("prompt"), entry.get("seed")) != (prompt, seed):
            return False
        return (
            path.is_file() and path.with_suffix(".txt").is_file() and sha256_file(path) == entry.get("sha256")
        )

    def save(
        self,
        part: Sequence[tuple[str, str, int]],
        drawn: Sequence[Image.Image],
        chunks: Sequence[Mapping[str, str]],
    ) -> None:
        """Write pictures with their text chunks and captions, then the manifest. ModelError when they are of one colour."""
        from maquette.drawing.pictures import save_picture

        if all(low == high for picture in drawn for low, high in picture.getextrema()):  # type: ignore[misc]
            raise ModelError(
                Problem(
                    "base model",
                    "draws pictures of a single colour",
                    "pictures",
                    "Its VAE overflows in half precision: draw with --precision no.",
                )
            )
        for (name, prompt, seed), picture, told in zip(part, drawn, chunks, strict=True):
            path = self.pictures / name
            save_picture(path, picture, told)
            write_atomic(path.with_suffix(".txt"), prompt + "\n")
            self._known[name] = {"prompt": prompt, "seed": seed, "sha256": sha256_file(path)}
        self.write()

    def end(self) -> None:
        """Write down that all that was coming is there."""
        self.table.pop(BEGUN, None)
        self.write()

    def write(self) -> None:
        """Write the manifest."""
        write_json(self.manifest, self.table)

    def result(
        self,
        pictures: int,
        drawn: int,
        seconds: float,
        needed: int | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> Regularized:
        """Return the record of this set."""
        return Regularized(
            folder=self.folder,
            pictures_folder=self.pictures,
            class_word=self.class_word,
            pictures=pictures,
            drawn=drawn,
            manifest=self.manifest,
            sheet=self.sheet,
            seconds=seconds,
            needed=needed,
            left_out=left_out or {},
        )


def _version() -> str:
    from maquette import __version__

    return __version__
