"""The picture rules beyond their planted faults: the field notes' numbers, the real sets, what a repair leaves."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from maquette.curating.identity_facts import IdentityFacts
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.measuring import measure_picture
from maquette.errors import DatasetError
from maquette.findings.records import Finding, SetAside, WriteBytes
from maquette.findings.registry import run_rules
from maquette.project.profile import Detail, Profile
from maquette.project.request import TrainingRequest
from maquette.rules.catalogue import all_rules
from maquette.rules.picture_repairs import in_srgb, on_white, upright
from maquette.world.attributes import Character, Scene
from maquette.world.renderer import render
from tests.conftest import shared_data
from tests.dataset.making import facts_of

ORIENTATION = 0x0112
SPYKE = Profile(
    kind="character",
    trigger="spyke_plasma_v1",
    details=(
        Detail(name="red fingerless glove", side="right", part="arm"),
        Detail(name="red metallic bracer", side="left", part="arm"),
        Detail(name="metal pauldron", side="right", part="knee"),
    ),
)
CHARACTER = Character(
    hair_style="spiky",
    hair_color="red",
    skin="pale",
    top_color="white",
    bottom_kind="pants",
    bottom_color="black",
    right_glove="red",
)


def found(*facts: object, code: str = "PIC") -> list[Finding]:
    rules = [rule for name, rule in all_rules().items() if name.startswith(code)]
    return run_rules(rules, {type(fact): fact for fact in facts})[0]


def gathered(folder: Path) -> DatasetFacts:
    return facts_of(folder, "measures")


def request(resolution: int, **values: object) -> TrainingRequest:
    return TrainingRequest(
        file=Path("train.sh"),
        trainer="sd-scripts",
        resolution_wh=(resolution, resolution),
        enable_bucket=True,
        **values,  # type: ignore[arg-type]
    )


def characters(folder: Path, count: int) -> list[Path]:
    """Write drawings of one character with captions; return their paths."""
    folder.mkdir(parents=True)
    poses, views = ("standing", "arms wide", "arms up", "jumping"), ("front", "left", "right", "back")
    backgrounds = ("gray", "blue", "green", "yellow", "pink", "purple")
    paths = []
    for index in range(count):
        scene = Scene(
            view=views[index // 4 % 4],
            pose=poses[index % 4],
            background=backgrounds[index % 6],
            shift=0.25 * index - 2,
        )
        path = folder / f"spyke_{index:02d}.png"
        render(CHARACTER, scene, 512).save(path)
        path.with_suffix(".txt").write_text("spyke_plasma_v1, full body, right arm red fingerless glove")
        paths.append(path)
    return paths


# --- mirrored pairs: 15 pictures of Spyke and 8 flips ---


@pytest.fixture
def spyke(tmp_path: Path) -> Path:
    folder = tmp_path / "10_spyke_plasma_v1"
    for path in characters(folder, 15)[:8]:
        flip = path.with_name(f"{path.stem}_flip.png")
        with Image.open(path) as image:
            ImageOps.mirror(image).save(flip)
        flip.with_suffix(".txt").write_text(path.with_suffix(".txt").read_text())
    return folder


def test_eight_flipped_pairs_are_one_error_with_one_repair(spyke: Path) -> None:
    (finding,) = found(gathered(spyke), SPYKE)
    assert (finding.code, finding.severity) == ("PIC018", "error")
    assert "8 pictures" in finding.message
    assert "right arm red fingerless glove" in finding.message
    assert finding.fix is not None
    gone = {edit.path.name for edit in finding.fix.edits if isinstance(edit, SetAside)}
    assert gone == {path.name for path in spyke.glob("*_flip.*")}
    assert len(gone) == 16


def test_without_a_profile_a_mirrored_copy_is_a_warning_whatever_captions_say(spyke: Path) -> None:
    """It is a copy too, and nobody says that the subject has no sides."""
    for text in (None, "spyke_plasma_v1, full body"):
        for caption in spyke.glob("*.txt") if text else ():
            caption.write_text(text)
        (finding,) = found(gathered(spyke))
        assert (finding.code, finding.severity) == ("PIC018", "warning")


def test_names_that_do_not_say_which_is_mirrored_get_no_repair(spyke: Path) -> None:
    for flip in list(spyke.glob("*_flip.*")):
        flip.rename(flip.with_name(flip.name.replace("_flip", "_b")))
    (finding,) = found(gathered(spyke), SPYKE)
    assert finding.code == "PIC018"
    assert finding.fix is None


# --- the real sets ---


@pytest.mark.parametrize(
    "subject", ["berry_bowl", "can", "cat", "dog", "dog6", "duck_toy", "red_cartoon", "teapot", "vase"]
)
def test_real_photographs_are_left_alone(subject: str) -> None:
    """Four pictures are few, and are told so; nothing else is wrong with these at 512."""
    facts = gathered(shared_data("photos") / subject)
    profile = Profile(kind="style", trigger="sks", details=())
    codes = {finding.code for finding in found(facts, profile, request(512))}
    assert codes <= {"PIC021"}


def test_the_padded_cat_is_told_of_its_bars() -> None:
    (finding,) = found(gathered(shared_data("photos") / "cat2"), request(512))
    assert finding.code == "PIC013"
    assert "3 pictures (00.jpg, 01.jpg, 04.jpg)" in finding.message
    assert "33%" in finding.message


def test_what_the_frame_cuts_in_real_photographs() -> None:
    """A bowl at the left edge, and flowers at the upper edge: looked at, and true."""
    profile = Profile(kind="object", trigger="sks")
    cut = {
        (folder, finding.message.partition(" cut")[0])
        for folder in ("berry_bowl", "can", "cat", "dog", "dog6", "duck_toy", "red_cartoon", "teapot", "vase")
        for finding in found(gathered(shared_data("photos") / folder), profile, code="PIC012")
    }
    assert cut == {("berry_bowl", "03.jpg"), ("vase", "2 pictures (03.jpg, 05.jpg)")}


@pytest.mark.slow
def test_the_203_pixel_portraits_are_clean_at_their_size() -> None:
    facts = gathered(shared_data("pixel_portraits"))
    assert len(facts.pictures) == 203
    style = Profile(kind="style", trigger="", style=("pixel art", "24x24"))
    assert not found(facts, style, request(512))
    (finding,) = found(facts, style, request(1024))
    assert (finding.code, finding.severity) == ("PIC020", "hint")
    assert "203 pictures" in finding.message


def test_pictures_in_two_subfolders_count_twice(tmp_path: Path) -> None:
    """406 instead of 203: here 6 instead of 3, the copies in a second folder."""
    first = characters(tmp_path / "10_a", 6)
    (tmp_path / "10_b").mkdir()
    for path in [*first, *(path.with_suffix(".txt") for path in first)]:
        (tmp_path / "10_b" / path.name).write_bytes(path.read_bytes())
    (finding,) = found(gathered(tmp_path), code="PIC016")
    assert "6 pictures" in finding.message
    assert finding.fix is not None
    assert {edit.path.parent.name for edit in finding.fix.edits} == {"10_b"}


def test_copies_with_other_captions_are_not_set_aside(tmp_path: Path) -> None:
    paths = characters(tmp_path / "pictures", 6)
    copy = paths[0].with_name("zz.png")
    copy.write_bytes(paths[0].read_bytes())
    copy.with_suffix(".txt").write_text("spyke_plasma_v1, something else")
    (finding,) = found(gathered(tmp_path / "pictures"), code="PIC016")
    assert finding.fix is None


# --- size, shape, grid ---


def test_of_two_equal_files_the_captioned_one_stays_then_the_one_not_named_like_a_copy(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pictures"
    one, two = characters(folder, 2)
    first, second = folder / "Copy of one.png", folder / "zz.png"
    first.write_bytes(one.read_bytes())
    second.write_bytes(two.read_bytes())
    second.with_suffix(".txt").write_text("zkw, standing")
    two.with_suffix(".txt").unlink(missing_ok=True)
    (finding,) = found(gathered(folder), code="PIC016")
    assert f"Copy of one.png is {one.name}, {two.name} is zz.png" in finding.message
    assert "byte for byte" in finding.message


def saved(folder: Path, image: Image.Image, name: str = "zz.png") -> Path:
    path = folder / name
    image.save(path)
    path.with_suffix(".txt").write_text("spyke_plasma_v1, full body")
    return path


@pytest.mark.parametrize(
    ("side", "severity"), [(512, None), (490, None), (470, "hint"), (400, "warning"), (128, "warning")]
)
def test_how_much_a_picture_is_enlarged_decides(side: int, severity: str | None, tmp_path: Path) -> None:
    paths = characters(tmp_path / "pictures", 6)
    with Image.open(paths[5]) as image:
        image.resize((side, side), Image.Resampling.LANCZOS).save(paths[5])
    findings = found(gathered(tmp_path / "pictures"), request(512), code="PIC003")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    if severity:
        assert f"{512 / side:.2f} times" in findings[0].message
    held = found(gathered(tmp_path / "pictures"), request(512, bucket_no_upscale=True), code="PIC003")
    assert {finding.severity for finding in held} <= {"hint"}


def test_a_film_frame_loses_44_percent_without_buckets(tmp_path: Path) -> None:
    characters(tmp_path / "pictures", 6)
    saved(tmp_path / "pictures", Image.effect_mandelbrot((1280, 720), (-3, -2.5, 2, 2.5), 100))
    facts = gathered(tmp_path / "pictures")
    without = TrainingRequest(file=Path("x.sh"), trainer="sd-scripts", resolution_wh=(512, 512))
    (finding,) = found(facts, without, code="PIC004")
    assert "44%" in finding.message
    assert not found(facts, request(512), code="PIC004")


@pytest.mark.parametrize(("cells", "size"), [(200, 512), (96, 256)])
def test_cells_of_two_and_a_half_pixels_are_uneven(cells: int, size: int, tmp_path: Path) -> None:
    """2.56 and 2.67 px: every other cell is half as wide again as its neighbour."""
    folder = tmp_path / "art"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        small = Image.fromarray(rng.integers(0, 6, (cells, cells, 3), np.uint8) * 50)
        saved(folder, small.resize((size, size), Image.Resampling.NEAREST), f"{index}.png")
    (finding,) = found(gathered(folder), code="PIC019")
    assert f"{size / cells:.2f} px" in finding.message


# --- faces and identity, as curating found them ---


def test_a_stranger_and_a_missing_face_are_errors_of_their_own(tmp_path: Path) -> None:
    paths = characters(tmp_path / "pictures", 6)
    scores = dict.fromkeys(paths, 0.9) | {paths[1]: 0.41, paths[2]: 0.74}
    faces = dict.fromkeys(paths, 1) | {paths[3]: 0, paths[4]: 0}
    paths[4].with_suffix(".txt").write_text("spyke_plasma_v1, back view")
    identity = IdentityFacts(scores=scores, threshold=0.75, encoder="dinov2", faces=faces)
    facts = gathered(tmp_path / "pictures")
    assert [(f.code, f.path) for f in found(facts, SPYKE, identity) if f.severity == "error"] == [
        ("PIC014", paths[3]),
        ("PIC015", paths[1]),
        ("PIC015", paths[2]),
    ]
    thing = Profile(kind="object", trigger="sks")
    assert {f.code for f in found(facts, thing, identity, code="PIC01") if f.severity == "error"} == {
        "PIC015"
    }


# --- odd input ---


def test_a_set_of_nothing_but_broken_files_is_told_of_each(tmp_path: Path) -> None:
    for name, data in (("a.png", b""), ("b.jpg", b"<html>"), ("c.png", b"\x89PNG\r\n\x1a\n")):
        (tmp_path / name).write_bytes(data)
    codes = [finding.code for finding in found(gathered(tmp_path))]
    assert len(codes) == 3
    assert set(codes) <= {"PIC001", "PIC002"}


def test_tiny_pictures_of_every_kind_break_no_rule(tmp_path: Path) -> None:
    for index, mode in enumerate(("1", "L", "LA", "P", "RGB", "RGBA")):
        Image.new(mode, (1 + index, 1)).save(tmp_path / f"{mode}.png")
    assert found(gathered(tmp_path), SPYKE, request(512))


# --- what repairs leave behind ---


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_a_turned_picture_comes_out_as_viewers_show_it(orientation: int, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"p{ending}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "a camera"
    image = render(CHARACTER, Scene(view="left", pose="standing", background="blue", shift=0), 96)
    image.crop((0, 0, 96, 64)).save(path, exif=exif, **({"lossless": True} if ending == ".webp" else {}))
    with Image.open(path) as before:
        shown = np.asarray(ImageOps.exif_transpose(before).convert("RGB")).astype(int)
        form = before.format
    assert measure_picture(path).measures.is_rotated
    path.write_bytes(upright(path))
    with Image.open(path) as after:
        assert after.format == form
        assert after.getexif().get(0x010F) == "a camera"
        assert np.abs(np.asarray(after.convert("RGB")).astype(int) - shown).mean() < 2
    assert not measure_picture(path).measures.is_rotated


def test_a_jpeg_keeps_its_quality(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    render(CHARACTER, Scene(view="left", pose="standing", background="blue", shift=0), 256).save(
        path, quality=83, exif=exif
    )
    with Image.open(path) as before:
        tables = before.quantization  # type: ignore[attr-defined]
    path.write_bytes(upright(path))
    with Image.open(path) as after:
        assert after.quantization == tables  # type: ignore[attr-defined]


def adobe_rgb() -> bytes:
    """Return a matrix profile with Adobe RGB (1998)'s primaries and gamma, adapted to D50."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = b"Adobe RGB (1998)\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78) + b"\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = struct.pack(">I", 128 + len(table) + len(body))
    header = size + bytes(4) + b"\x02\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_colours_are_converted_through_the_profile(ending: str, tmp_path: Path) -> None:
    """The same numbers mean a stronger green in Adobe RGB, so red sinks in sRGB."""
    path = tmp_path / f"p{ending}"
    options = {"quality": 95} if ending == ".jpg" else {}
    Image.new("RGB", (64, 64), (150, 180, 90)).save(path, icc_profile=adobe_rgb(), **options)
    assert measure_picture(path).measures.colour_profile == "Adobe RGB (1998)"
    path.write_bytes(in_srgb(path))
    after = measure_picture(path).measures
    assert after.colour_profile == ""
    with Image.open(path) as image:
        red, green, blue = image.convert("RGB").getpixel((32, 32))  # type: ignore[misc]
    expected = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (150, 180, 90)),
        ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb())),
        ImageCms.createProfile("sRGB"),
    ).getpixel((0, 0))
    assert np.abs(np.subtract((red, green, blue), expected)).max() <= 3
    assert red < 145


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    Image.new("RGB", (64, 64), (200, 40, 60)).convert("CMYK").save(path, quality=95)
    path.write_bytes(in_srgb(path))
    after = measure_picture(path).measures
    assert after.mode == "RGB"


def test_transparent_parts_come_to_lie_on_white(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[2:6, 2:6] = (200, 10, 10, 255)
    Image.fromarray(pixels).save(path)
    path.write_bytes(on_white(path))
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (255, 255, 255)
        assert image.getpixel((3, 3)) == (200, 10, 10)


def test_proposing_a_repair_costs_nothing_and_failing_one_is_told(tmp_path: Path) -> None:
    paths = characters(tmp_path / "pictures", 6)
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    with Image.open(paths[0]) as image:
        image.save(paths[0], exif=exif)
    (finding,) = found(gathered(tmp_path / "pictures"), code="PIC007")
    edits: Sequence[object] = finding.fix.edits if finding.fix else ()
    (edit,) = edits
    assert isinstance(edit, WriteBytes)
    assert edit.data == edit.data
    paths[0].write_bytes(b"gone")
    with pytest.raises(DatasetError, match="cannot be saved again"):
        _ = edit.data
