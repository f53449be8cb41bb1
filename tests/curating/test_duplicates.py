"""Copies and mirror images: what counts as one, and which of the two stays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from maquette.world.attributes import Scene
from maquette.world.cast import TOVAKI
from tests.conftest import shared_data
from tests.curating.making import curate, draw, names_of, save, scenes

PROFILE = """\
kind = "character"
trigger = "tovaki"
class_word = "character"
{details}
"""
GLOVE = '[[details]]\nname = "red glove"\nside = "right"\npart = "hand"\n'


def profile(folder: Path, details: str = GLOVE) -> Path:
    path = folder / "profile.toml"
    path.write_text(PROFILE.format(details=details))
    return path


def flipped(path: Path, name: str) -> Path:
    return save(ImageOps.mirror(Image.open(path)), path.with_name(name))


def test_the_largest_copy_stays_then_the_sharpest(tmp_path: Path) -> None:
    original = draw(tmp_path, TOVAKI, scenes(1), prefix="b")[0]
    image = Image.open(original)
    save(image.resize((96, 96)), tmp_path / "a_small.png")
    save(image, tmp_path / "c_jpeg.jpg", quality=60)
    found = curate(tmp_path)
    assert names_of(found.kept) == {"b000.png"}
    assert found.reasons == {"duplicate": 2}


def test_another_pose_view_or_background_is_no_copy(tmp_path: Path) -> None:
    scene = Scene()
    others = [replace(scene, pose="arms up"), replace(scene, view="back"), replace(scene, background="blue")]
    draw(tmp_path, TOVAKI, [scene, *others])
    assert len(curate(tmp_path).kept) == 4


def test_a_slow_pan_does_not_collapse_into_one_picture(tmp_path: Path) -> None:
    pan = [Scene(shift=shift / 20 - 2) for shift in range(0, 81, 2)]
    draw(tmp_path, TOVAKI, pan)
    found = curate(tmp_path)
    assert 2 <= len(found.kept) < len(pan)
    stay = {path.name: int(path.stem[1:]) for path in found.kept}
    for texts in found.rejected.values():
        assert texts[0].split()[3].rstrip(",") in stay


def test_a_thousand_equal_frames_leave_one(tmp_path: Path) -> None:
    first = draw(tmp_path, TOVAKI, scenes(1), size_px=32)[0]
    for number in range(1, 1000):
        (tmp_path / f"p{number:03d}.png").write_bytes(first.read_bytes())
    found = curate(tmp_path)
    assert names_of(found.kept) == {"p000.png"}
    assert found.reasons == {"duplicate": 999}


def test_mirror_images_are_rejected_where_the_profile_has_sides(tmp_path: Path) -> None:
    folder = tmp_path / "heap"
    first = draw(folder, TOVAKI, scenes(3))[0]
    flipped(first, "p000_flipped.png")
    found = curate(folder, profile=profile(tmp_path))
    assert names_of(found.rejected) == {"p000_flipped.png"}
    assert "mirror image of p000.png by its name" in found.rejected[folder / "p000_flipped.png"][0]
    assert len(found.kept) == 3


def test_the_references_tell_which_mirror_image_is_right(tmp_path: Path) -> None:
    """The small world's encoder sees on which hand the glove is, whatever the files are called."""
    folder, references = tmp_path / "heap", tmp_path / "references"
    draw(references, TOVAKI, scenes(8, seed=4))
    for number, path in enumerate(draw(folder, TOVAKI, scenes(3))):
        flipped(path, f"a{number}.png")
    found = curate(folder, references=[references], encoder="world", profile=profile(tmp_path))
    assert names_of(found.kept) == {"p000.png", "p001.png", "p002.png"}
    assert names_of(found.rejected) == {"a0.png", "a1.png", "a2.png"}


def test_without_evidence_the_one_that_stays_is_to_be_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "heap"
    first = draw(folder, TOVAKI, scenes(1))[0]
    flipped(first, "q.png")
    found = curate(folder, profile=profile(tmp_path))
    assert (names_of(found.rejected), names_of(found.review)) == ({"q.png"}, {"p000.png"})


@pytest.mark.parametrize(("details", "state"), [("", "kept"), (None, "review")])
def test_mirror_images_of_other_subjects_stay_or_are_asked_about(
    tmp_path: Path, details: str | None, state: str
) -> None:
    folder = tmp_path / "heap"
    flipped(draw(folder, TOVAKI, scenes(1))[0], "q_mirror.png")
    found = curate(folder, profile=None if details is None else profile(tmp_path, details))
    assert "q_mirror.png" in names_of(getattr(found, state))


def test_photographs_are_no_copies_of_each_other_and_their_mirror_images_are_found(tmp_path: Path) -> None:
    photos = sorted(shared_data("photos").glob("*/0[0-3].jpg"))[:20]
    for path in photos:
        image = Image.open(path)
        image.thumbnail((400, 400))
        save(image, tmp_path / f"{path.parent.name}_{path.stem}.png")
    flipped(tmp_path / f"{photos[3].parent.name}_{photos[3].stem}.png", "zz_mirrored.png")
    found = curate(tmp_path)
    assert set(found.reasons) <= {"mirrored", "enlarged", "blurred"}
    assert "mirror image of" in found.review[tmp_path / "zz_mirrored.png"][0]


@pytest.mark.parametrize(
    ("good", "copy"),
    [
        ("fox.png", "fox (1).png"),
        ("fox.png", "Copy of fox.png"),
        ("fox.png", "fox - Kopie.png"),
        ("fox.png", "fox copy 2.png"),
        ("fox.png", "fox 2.png"),
        ("zebra.png", "a_copy.png"),
        ("zebra.png", "IMG_0001 (12).png"),
        ("copyright.png", "duplicate_a.png"),
        ("fox_(evangelion).png", "fox_(evangelion) (1).png"),
    ],
)
def test_the_same_file_twice_is_called_that_and_keeps_its_better_name(
    good: str, copy: str, tmp_path: Path
) -> None:
    picture = draw(tmp_path, TOVAKI, scenes(1))[0].rename(tmp_path / good)
    shutil.copyfile(picture, tmp_path / copy)
    found = curate(tmp_path, subject_share=0)
    assert names_of(found.kept) == {good}
    assert found.rejected == {tmp_path / copy: (f"the same file as {good}, byte for byte",)}
