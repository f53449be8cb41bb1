"""A phone's picture is looked at upright, whoever looks: every consumer, every orientation."""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from maquette.captioning.sources.looking import data_uri, load_rgb
from maquette.curating.sheets import _thumbnail
from maquette.dataset.measures import Measures
from maquette.dataset.measuring import measure_picture
from maquette.dataset.preprocess import load_pixels
from maquette.deploying.ledger import Ledger
from maquette.deploying.release import Placed
from maquette.deploying.sidecars import Preview, write_preview
from maquette.drawing.request import DrawRequest
from maquette.drawing.scene import Scene
from maquette.encoders.embeddings import EmbeddingStore, embed
from maquette.encoders.faces import _pixels
from maquette.evaluating.comparison import _reduced
from maquette.evaluating.page import embedded
from maquette.families import FAMILIES
from maquette.regularizing.run import write_sheet
from maquette.rules.caption_texts import _colours_of
from maquette.rules.picture_repairs import in_srgb, on_white, upright

ORIENTATION = 0x0112
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How the sensor's picture lies, for each note of how to turn it."""


def shown() -> Image.Image:
    """Return a picture that is unlike itself in every turn, taller than wide."""
    image = Image.new("RGB", (96, 128), (200, 200, 200))
    image.paste((220, 30, 30), (0, 0, 60, 40))
    image.paste((30, 30, 220), (70, 90, 96, 128))
    image.paste((20, 160, 40), (10, 60, 30, 110))
    return image


@pytest.fixture(params=sorted(TURNED_BACK))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """(upright picture, the same as a phone stores it in this orientation)"""
    straight, phone = tmp_path / "straight.png", tmp_path / "phone.png"
    shown().save(straight)
    exif = Image.Exif()
    exif[ORIENTATION] = request.param
    shown().transpose(TURNED_BACK[request.param]).save(phone, exif=exif)
    with Image.open(phone) as image:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), np.asarray(shown()))
    return straight, phone


class Plain:
    """An encoder whose numbers are the pixels it is shown."""

    name = fingerprint = "plain"
    dims, batch, threshold = 12, 4, 0.5

    def prepare(self, image: Image.Image) -> Any:
        return np.asarray(image.resize((2, 2), Image.Resampling.BOX), np.float32).ravel()

    def encode(self, rows: list[Any]) -> Any:
        return np.stack(rows)


def _embedded(path: Path) -> Any:
    store = EmbeddingStore(path.parent / f"store-{path.stem}", Plain())  # type: ignore[arg-type]
    assert list(embed(store, Plain(), [("00" * 32, path)], workers=1)) == [(1, [])]  # type: ignore[arg-type]
    return store.rows(["00" * 32])


def _sheet(path: Path) -> Any:
    return np.asarray(Image.open(write_sheet([path], path.parent / f"sheet-{path.stem}.png")))


SCENE = Scene(
    request=DrawRequest(prompt="zkw", width_px=64, height_px=64),
    family=next(iter(FAMILIES.values())).spec,
    base="",
)


def _preview(path: Path) -> Any:
    folder = path.parent / f"program-{path.stem}"
    file = folder / "zkw.safetensors"
    placed = Placed(path=file, folder=folder, sha256="", already_installed=False, content=file)
    written = write_preview(
        Ledger(folder), placed, Preview(path=path, prompt="zkw", seed=1, told=False), SCENE
    )
    return np.asarray(Image.open(written))


def _page(path: Path) -> Any:
    found = embedded(path)
    assert found is not None
    return np.asarray(Image.open(io.BytesIO(b64decode(found.uri.partition(",")[2]))).convert("RGB"))


def _asked(path: Path) -> Any:
    image = load_rgb(path, 64)
    assert isinstance(image, Image.Image)
    return np.asarray(Image.open(io.BytesIO(b64decode(data_uri(image).partition(",")[2]))).convert("RGB"))


CONSUMERS: dict[str, Callable[[Path], Any]] = {
    "contact sheets of curation": lambda path: np.asarray(_thumbnail(path)),
    "encoders": _embedded,
    "faces": _pixels,
    "captioners": _asked,
    "the sheet of class pictures": _sheet,
    "the report's pages": _page,
    "the report's comparison": lambda path: np.frombuffer(_reduced(path) or b"", np.uint8),
    "previews": _preview,
    "colours that captions name": lambda path: np.array(_colours_of(path)),
}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_whoever_looks_sees_it_upright(consumer: str, pair: tuple[Path, Path]) -> None:
    straight, phone = (CONSUMERS[consumer](path) for path in pair)
    assert straight.size and np.array_equal(straight, phone)


def test_measures_are_of_what_a_viewer_shows_and_sizes_of_what_is_trained(pair: tuple[Path, Path]) -> None:
    straight, phone = (measure_picture(path).measures for path in pair)
    assert isinstance(phone, Measures) and phone.is_rotated and not straight.is_rotated
    height, width = load_pixels(pair[1]).shape[:2]
    assert phone.size_wh == (width, height), "training takes pixels as stored"
    same = {"sha256": "", "is_rotated": False, "width_px": 0, "height_px": 0}
    assert replace(straight, **same) == replace(phone, **same)


@pytest.mark.parametrize("repair", [upright, in_srgb, on_white])
def test_a_repaired_picture_needs_no_note_any_more(
    repair: Callable[[Path], bytes], pair: tuple[Path, Path]
) -> None:
    with Image.open(io.BytesIO(repair(pair[1]))) as image:
        assert image.getexif().get(ORIENTATION, 1) == 1
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(shown()))
