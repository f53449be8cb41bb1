"""Pictures that are not read: named for what they are, their captions left alone, made readable and taken back."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
from PIL import Image

from maquette.api import check
from maquette.checking.options import CheckOptions
from maquette.dataset.unread import unread_in
from maquette.project.undoing import undo
from tests.dataset.making import captioned, facts_of, picture, problems_of, said_of

HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAAHQAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAH"
    "xtZGF0AAAAcCgBrwngOSMkv//40n//9/QeQ/YKWcF//fjmff4EF//+q+dRXZU53HWHUzNZ13oW/EqR3FnQSaCykWAEYciZQLPifz/mhiKEl5gz"
    "X6eauZ2M+0LXrx4xVOQPyjvt3iI7zMIPSA1/VovCjpmafvOxNcA="
)
"""64×48 pixels, the left half red, the right half blue."""


def phone(path: Path) -> Path:
    path.write_bytes(HEIC)
    path.with_suffix(".txt").write_text("sks dog, on the grass")
    return path


def web(path: Path) -> Path:
    Image.new("RGB", (40, 30), "green").save(path)
    path.with_suffix(".txt").write_text("sks dog, on the web")
    return path


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "a.avif", "b.gif", "c.tiff", "d.TIF"])
def test_a_picture_of_another_kind_is_named_and_its_caption_is_no_orphan(name: str, tmp_path: Path) -> None:
    captioned(tmp_path, 5)
    (phone if name.endswith("HEIC") else web)(tmp_path / name)
    said = said_of(tmp_path)
    assert name in said["STP014"] and f"`maquette check {tmp_path} --fix` writes a PNG" in said["STP014"]
    assert "CAP003" not in said and not [each for each in facts_of(tmp_path).captions if each.picture is None]


def test_where_nothing_else_lies_there_training_says_the_same(tmp_path: Path) -> None:
    phone(tmp_path / "IMG_1.HEIC")
    (line,) = problems_of(tmp_path)
    assert "IMG_1.HEIC is a HEIC picture (a phone's), and not read" in line and "--fix` writes a PNG" in line


def test_without_the_extra_the_command_that_installs_it_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maquette.dataset.unread.find_spec", lambda name: None)
    (group,) = unread_in(tmp_path, [phone(tmp_path / "IMG_1.HEIC")])
    assert group.remedy.startswith("First: pip install 'maquette[formats]'. Then `maquette check")
    assert not group.can_convert


def test_what_cannot_be_converted_says_why(tmp_path: Path) -> None:
    deep = tmp_path / "deep.tif"
    Image.new("F", (9, 9)).save(deep)
    pages = tmp_path / "pages.tif"
    Image.new("L", (9, 9)).save(pages, save_all=True, append_images=[Image.new("L", (9, 9))])
    moving = tmp_path / "moving.gif"
    Image.new("L", (9, 9)).save(moving, save_all=True, append_images=[Image.new("L", (9, 9), 99)])
    cut = tmp_path / "cut.heic"
    cut.write_bytes(HEIC[:200])
    remedies = {
        group.paths[0].name: group.remedy for group in unread_in(tmp_path, [deep, pages, moving, cut])
    }
    assert "values of no known range" in remedies["deep.tif"]
    assert "a file of 2 pages" in remedies["pages.tif"]
    assert "an animation of 2 frames" in remedies["moving.gif"]
    assert "damaged or cut short" in remedies["cut.heic"]


def test_one_beside_a_picture_of_its_name_is_converted_already(tmp_path: Path) -> None:
    captioned(tmp_path, 5)
    (tmp_path / "p000.heic").write_bytes(HEIC)
    (tmp_path / "p001.mov").write_bytes(b"a live photo's film")
    assert "STP014" not in said_of(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no letters apart in names")
def test_sd_scripts_finds_jpg_in_small_or_in_capital_letters_only(tmp_path: Path) -> None:
    folder = captioned(tmp_path / "10_sks", 5)
    for name in ("a.Jpg", "b.JPG", "c.pNg"):
        picture(folder / name)
        (folder / name).with_suffix(".txt").write_text("sks dog")
    names = [path.name for path in facts_of(tmp_path, trainer="sd-scripts").files]
    assert "b.JPG" in names and not {"a.Jpg", "c.pNg"} & {*names}
    said = said_of(tmp_path, trainer="sd-scripts")
    assert "a.Jpg" in said["STP014"] and "Rename it to end in .jpg" in said["STP014"]
    assert "c.pNg" in said["STP014"] and "CAP003" not in said
    assert "STP014" not in said_of(tmp_path), "Maquette reads them"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no letters apart in names")
def test_check_makes_pictures_readable_beside_the_originals_and_takes_it_back(tmp_path: Path) -> None:
    folder = captioned(tmp_path / "10_sks", 5, (512, 512))
    phone(folder / "IMG_1.HEIC")
    web(folder / "web.avif")
    picture(folder / "a.Jpg", (512, 512)).with_suffix(".txt").write_text("sks dog")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = check(tmp_path, options=CheckOptions(fix=True, select=("STP014",), trainer="sd-scripts"))
    assert not result.findings
    with Image.open(folder / "IMG_1.png") as image:
        left, right = image.convert("RGB").getpixel((8, 24)), image.convert("RGB").getpixel((56, 24))
    assert left[0] > 150 > left[2] and right[2] > 150 > right[0]
    assert {"IMG_1.HEIC", "web.avif", "web.png", "a.jpg"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "a.Jpg").exists() and (folder / "a.jpg").read_bytes() == before["a.Jpg"]
    undo(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_that_cannot_be_repaired_keeps_no_other_from_it(tmp_path: Path) -> None:
    folder = captioned(tmp_path, 5)
    web(folder / "sound.gif")
    path = web(folder / "torn.gif")
    path.write_bytes(path.read_bytes()[:-30])
    check(tmp_path, options=CheckOptions(fix=True, select=("STP014",)))
    assert (folder / "sound.png").exists() and not (folder / "torn.png").exists() and path.exists()
