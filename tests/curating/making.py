"""Small heaps of pictures for the tests of this room: the small world's, with planted faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from maquette.curating.options import CurateOptions
from maquette.curating.records import CurateResult
from maquette.curating.run import curate_events
from maquette.events import run_stage
from maquette.world.attributes import SCENE_VALUES, Character, Scene, random_character
from maquette.world.cast import TOVAKI
from maquette.world.renderer import render

SIZE_PX = 128


def curate(folder: Path, **options: Any) -> CurateResult:
    """Run curation to its end without sheets (unless asked) and without the user's cache."""
    wanted = CurateOptions(**{"sheet_pages": 0, "workers": 1, **options})
    return run_stage(curate_events(folder, wanted, cache=None))


def scenes(count: int, seed: int = 1) -> list[Scene]:
    """Return so many scenes, no two of the same view, pose and background."""
    every = list(product(SCENE_VALUES["view"], SCENE_VALUES["pose"], SCENE_VALUES["background"]))
    random.Random(seed).shuffle(every)
    return [Scene(view=view, pose=pose, background=background) for view, pose, background in every[:count]]


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def draw(
    folder: Path,
    character: Character,
    some: Sequence[Scene],
    *,
    prefix: str = "p",
    size_px: int = SIZE_PX,
) -> list[Path]:
    """Write one picture of `character` a scene; return the paths."""
    return [
        save(render(character, scene, size_px), folder / f"{prefix}{number:03d}.png")
        for number, scene in enumerate(some)
    ]


def stranger(seed: int = 5) -> Character:
    return random_character(random.Random(seed))


@dataclass
class Heap:
    """A folder with pictures of TOVAKI and of others, and every planted fault by its kind."""

    folder: Path
    references: Path
    kinds: dict[str, list[str]] = field(default_factory=dict)

    def names(self, *kinds: str) -> set[str]:
        return {name for kind in kinds for name in self.kinds[kind]}


def heap(root: Path, *, own: int = 12, others: int = 8) -> Heap:
    """Return a heap: `own` of TOVAKI, `others` of two strangers, and copies, blurs, blanks, mirror images of them."""
    made = Heap(root / "heap", root / "references")
    draw(made.references, TOVAKI, scenes(6, seed=9), prefix="ref", size_px=96)
    mine = draw(made.folder, TOVAKI, scenes(own), prefix="own")
    theirs = [
        path
        for number in range(2)
        for path in draw(
            made.folder, stranger(number), scenes(others // 2, seed=20 + number), prefix=f"other{number}_"
        )
    ]
    made.kinds = {
        "own": [path.name for path in mine],
        "other": [path.name for path in theirs],
        "copy": [
            save(Image.open(path).resize((100, 100)), made.folder / f"{path.stem}_copy.jpg", quality=80).name
            for path in mine[:2]
        ],
        "blur": [
            save(
                Image.open(path).filter(ImageFilter.GaussianBlur(4)), made.folder / f"{path.stem}_soft.png"
            ).name
            for path in mine[2:4]
        ],
        "blank": [save(Image.new("RGB", (128, 128), (2, 2, 3)), made.folder / "zz_black.png").name],
        "broken": ["zz_broken.png"],
    }
    (made.folder / "zz_broken.png").write_bytes(mine[0].read_bytes()[:400])
    for path in mine:
        path.with_suffix(".txt").write_text(f"tovaki, {path.stem}\n")
    return made


def names_of(paths: Any) -> set[str]:
    return {Path(path).name for path in paths}


def contents(folder: Path, *, hidden: bool = False) -> dict[str, bytes]:
    """Return every file below `folder` with its bytes; what starts with a dot only where asked for."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and (hidden or not any(part.startswith(".") for part in path.relative_to(folder).parts))
    }
