"""Faults of pictures, and what comes close to them. The clean pictures are 512×512 PNG drawings of one character."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFilter, ImageOps

from maquette.curating.decisions import Decision, Decisions, as_text, decisions_path
from maquette.curating.records import MAQUETTE, YOU
from tests.planted.case import Case, close_call, fault

ORIENTATION = 0x0112


def changed(case: Case, index: int) -> Image.Image:
    """Return one picture, to be changed and saved again."""
    with Image.open(case.pictures[index]) as image:
        return image.convert("RGB")


def save(case: Case, index: int, image: Image.Image, **options: object) -> Path:
    image.save(case.pictures[index], **options)
    return case.pictures[index]


def add(case: Case, name: str, image: Image.Image, like: int, **options: object) -> Path:
    """Write another picture with the caption of picture `like`."""
    path = case.pictures[0].with_name(name)
    image.save(path, **options)
    shutil.copyfile(case.pictures[like].with_suffix(".txt"), path.with_suffix(".txt"))
    return path


def enlarged(image: Image.Image, small_px: int, how: Image.Resampling) -> Image.Image:
    size = image.size
    return image.resize((small_px, small_px), Image.Resampling.LANCZOS).resize(size, how)


def pixel_art(image: Image.Image, cells: int, size_px: int, colours: int = 24) -> Image.Image:
    """Return the picture as pixel art of cells × cells, enlarged by nearest neighbour."""
    small = image.resize((cells, cells), Image.Resampling.BOX).quantize(colours).convert("RGB")
    return small.resize((size_px, size_px), Image.Resampling.NEAREST)


def all_as_pixel_art(case: Case, cells: int, size_px: int) -> None:
    for index in range(len(case.pictures)):
        save(case, index, pixel_art(changed(case, index), cells, size_px))


@fault("PIC001", "a web page saved as picture")
def web_page(case: Case) -> None:
    case.pictures[2].write_text("<!DOCTYPE html><html><body>404</body></html>")


@close_call("PIC001", "a JPEG named .png")
def jpeg_named_png(case: Case) -> None:
    changed(case, 2).save(case.pictures[2], format="JPEG", quality=95)


@fault("PIC002", "a picture cut short by a broken download")
def cut_short(case: Case) -> None:
    data = case.pictures[2].read_bytes()
    case.pictures[2].write_bytes(data[: len(data) // 2])


@close_call("PIC002", "a JPEG with a kilobyte of a program's notes after its end")
def bytes_after_the_end(case: Case) -> None:
    changed(case, 2).save(case.pictures[2], format="JPEG", quality=95)
    with case.pictures[2].open("ab") as file:
        file.write(bytes(1024))


@fault("PIC003", "a picture of 300 px trained at 512")
def too_small(case: Case) -> None:
    save(case, 2, changed(case, 2).resize((300, 300), Image.Resampling.LANCZOS))


@close_call("PIC003", "a picture of 500 px trained at 512")
def hardly_smaller(case: Case) -> None:
    save(case, 2, changed(case, 2).resize((500, 500), Image.Resampling.LANCZOS))


@fault("PIC004", "a wide frame without buckets loses its sides")
def wide_without_buckets(case: Case) -> None:
    case.edit(case.script, "  --enable_bucket \\\n", "")
    image = changed(case, 2)
    save(case, 2, ImageOps.expand(image, (200, 0, 200, 0), image.getpixel((0, 0))))


@close_call("PIC004", "a wide frame with buckets")
def wide_with_buckets(case: Case) -> None:
    image = changed(case, 2)
    save(case, 2, ImageOps.expand(image, (200, 0, 200, 0), image.getpixel((0, 0))))


@fault("PIC005", "a black frame between two scenes")
def black_frame(case: Case) -> None:
    save(case, 2, Image.fromarray(np.random.default_rng(0).integers(0, 3, (512, 512, 3), np.uint8)))


@close_call("PIC005", "a scene at night")
def dark_scene(case: Case) -> None:
    save(case, 2, changed(case, 2).point(lambda value: value // 4))


@fault("PIC006", "a cut-out character with black behind the transparent parts")
def transparent(case: Case) -> None:
    image = changed(case, 2)
    background = image.getpixel((0, 0))
    alpha = Image.fromarray(
        (np.abs(np.asarray(image).astype(int) - background).max(2) > 12).astype(np.uint8) * 255
    )
    image.putalpha(alpha)
    save(case, 2, image)


@close_call("PIC006", "an alpha channel that is opaque everywhere")
def opaque_alpha(case: Case) -> None:
    image = changed(case, 2)
    image.putalpha(255)
    save(case, 2, image)


@fault("PIC007", "a phone's picture, upright by its EXIF data only")
def turned(case: Case) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    save(case, 2, changed(case, 2).rotate(90), exif=exif)


@close_call("PIC007", "EXIF data that say upright")
def upright(case: Case) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    save(case, 2, changed(case, 2), exif=exif)


@fault("PIC008", "a picture with another profile than sRGB")
def other_profile(case: Case) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    save(case, 2, changed(case, 2), icc_profile=profile.tobytes())


@fault("PIC008", "a CMYK JPEG from a print shop")
def cmyk(case: Case) -> None:
    changed(case, 2).convert("CMYK").save(case.pictures[2], format="JPEG", quality=95)


@close_call("PIC008", "an embedded sRGB profile")
def srgb_profile(case: Case) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    save(case, 2, changed(case, 2), icc_profile=profile.tobytes())


@fault("PIC009", "a picture enlarged threefold")
def enlarged_threefold(case: Case) -> None:
    save(case, 2, enlarged(changed(case, 2), 170, Image.Resampling.BICUBIC))


@close_call("PIC009", "a picture saved as JPEG of quality 75")
def compressed(case: Case) -> None:
    changed(case, 2).save(case.pictures[2], format="JPEG", quality=75)


@fault("PIC010", "a picture out of focus")
def blurred(case: Case) -> None:
    save(case, 2, changed(case, 2).filter(ImageFilter.GaussianBlur(4)))


@close_call("PIC010", "a blurred background behind a sharp character")
def soft_background(case: Case) -> None:
    image = changed(case, 2)
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).rectangle((0, 0, image.width, 120), fill=255)
    save(case, 2, Image.composite(image.filter(ImageFilter.GaussianBlur(6)), image, mask))


@fault("PIC011", "a picture with heavy grain")
def grain(case: Case) -> None:
    _add_noise(case, 2, 16)


@close_call("PIC011", "a little grain")
def little_grain(case: Case) -> None:
    _add_noise(case, 2, 4)


def _add_noise(case: Case, index: int, deviation: float) -> None:
    pixels = np.asarray(changed(case, index)).astype(float)
    noise = np.random.default_rng(1).normal(0, deviation, pixels.shape[:2])[..., None]
    save(case, index, Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)))


@fault("PIC012", "a crop that takes half the head off")
def head_cut(case: Case) -> None:
    _cropped_from(case, 2, 0.36)


@close_call("PIC012", "a crop that ends at the knees")
def ends_at_the_knees(case: Case) -> None:
    image = changed(case, 2)
    save(case, 2, image.crop((0, 0, 512, 420)).resize((640, 525), Image.Resampling.LANCZOS))


def _cropped_from(case: Case, index: int, top: float) -> None:
    image = changed(case, index)
    part = image.crop((0, int(top * 512), 512, 512))
    scale = 600 / part.height
    save(case, index, part.resize((int(part.width * scale), 600), Image.Resampling.BICUBIC))


@fault("PIC013", "a film frame with black bars")
def film_bars(case: Case) -> None:
    image = changed(case, 2).crop((0, 0, 512, 512))
    save(case, 2, ImageOps.expand(image, (0, 64, 0, 64), "black"))


@close_call("PIC013", "white margins around a drawing")
def white_margins(case: Case) -> None:
    save(case, 2, ImageOps.expand(changed(case, 2), (0, 64, 0, 64), "white"))


def curated(case: Case, **decided: object) -> None:
    """Write down what curating found: every picture like the references and with a face, picture 2 as `decided`."""
    folder = case.pictures[0].parent
    pictures = {}
    for index, path in enumerate(case.pictures):
        values: dict[str, object] = {"state": "kept", "decided_by": MAQUETTE, "similarity": 0.91, "faces": 1}
        values |= decided if index == 2 else {}
        pictures[path.name] = Decision(
            name=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            **values,  # type: ignore[arg-type]
        )
    decisions = Decisions(
        folder=folder,
        settings={"threshold": 0.75, "faces": "yunet"},
        identity={"threshold": 0.75, "encoder": "dinov2"},
        pictures=pictures,
    )
    decisions_path(folder).write_text(as_text(decisions), encoding="utf-8")


@fault("PIC014", "a picture in which no face was found")
def without_face(case: Case) -> None:
    curated(case, faces=0)


@close_call("PIC014", "no face in a picture whose caption says back view")
def back_view(case: Case) -> None:
    curated(case, faces=0)
    case.caption(2, "zkw_fox, full body, back view, arms up, green background")


@fault("PIC015", "somebody else among the pictures")
def somebody_else(case: Case) -> None:
    curated(case, similarity=0.41, state="rejected")


@close_call("PIC015", "an unlike picture that a person decided to keep")
def kept_by_hand(case: Case) -> None:
    curated(case, similarity=0.71, decided_by=YOU)


@fault("PIC016", "a picture copied under another name")
def copied(case: Case) -> None:
    add(case, "zz_again.png", changed(case, 2), 2)
    shutil.copyfile(case.pictures[2], case.pictures[0].with_name("zz_again.png"))


@close_call("PIC016", "two poses on one background")
def same_background(case: Case) -> None:
    """The clean set has them already; one more caption word is all that differs."""
    case.caption(0, case.pictures[0].with_suffix(".txt").read_text() + ", smiling")


@fault("PIC017", "the same picture saved again, smaller and as JPEG")
def saved_again(case: Case) -> None:
    image = changed(case, 2).resize((520, 520), Image.Resampling.LANCZOS)
    path = add(case, "zz_smaller.jpg", image, 2, quality=80)
    path.with_suffix(".txt").write_text(case.pictures[2].with_suffix(".txt").read_text() + ", smiling")


@close_call("PIC017", "the same scene with something else in the hand")
def another_accessory(case: Case) -> None:
    image = changed(case, 2)
    ImageDraw.Draw(image).ellipse((40, 40, 130, 130), fill=(20, 30, 160))
    path = add(case, "zz_ball.png", image, 2)
    path.with_suffix(".txt").write_text(case.pictures[2].with_suffix(".txt").read_text() + ", blue ball")


@fault("PIC018", "a flipped copy of a character with a glove on one hand")
def flipped(case: Case) -> None:
    for index in (4, 5):
        name = f"{case.pictures[index].stem}_flip.png"
        path = add(case, name, ImageOps.mirror(changed(case, index)), index)
        path.with_suffix(".txt").write_text(
            case.pictures[index].with_suffix(".txt").read_text() + ", mirrored pose"
        )


@close_call("PIC018", "a flip in the name only")
def flip_in_the_name(case: Case) -> None:
    for suffix in (".png", ".txt"):
        path = case.pictures[3].with_suffix(suffix)
        path.rename(path.with_name(f"backflip_{path.name}"))


@fault("PIC019", "one picture among pixel art was saved as JPEG")
def jpeg_among_pixel_art(case: Case) -> None:
    all_as_pixel_art(case, 64, 512)
    changed(case, 2).save(case.pictures[2], format="JPEG", quality=60)


@close_call("PIC019", "pixel art of 24 cells on 512 pixels, 21 or 22 each")
def fractional_cells(case: Case) -> None:
    all_as_pixel_art(case, 24, 512)


@fault("PIC020", "pixel art of 512 px trained at 576")
def pixel_art_resized(case: Case) -> None:
    all_as_pixel_art(case, 64, 576)


@close_call("PIC020", "pixel art at the size it is trained at")
def pixel_art_at_its_size(case: Case) -> None:
    all_as_pixel_art(case, 64, 512)


@close_call("PIC020", "pixel art of 256 px trained at twice that, to the nearest pixel")
def pixel_art_doubled(case: Case) -> None:
    all_as_pixel_art(case, 64, 256)
    case.script.write_text(
        case.script.read_text().rstrip() + " --resize_interpolation=nearest\n", encoding="utf-8"
    )


@fault("PIC021", "four pictures", start="folder")
def four_pictures(case: Case) -> None:
    _keep(case, 4)


@close_call("PIC021", "six pictures", start="folder")
def six_pictures(case: Case) -> None:
    _keep(case, 6)


def _keep(case: Case, number: int) -> None:
    for path in case.pictures[number:]:
        path.unlink()
        path.with_suffix(".txt").unlink()


def _held_beside(case: Case, name: str, other: Image.Image) -> None:
    """Hold the third picture out of a project's training, and add another to those that are trained on."""
    held = case.pictures[2]
    add(case, name, other, like=2)
    text = case.config.read_text(encoding="utf-8").rstrip()
    validation = f'[validation]\nvalidation_images = ["images/{held.name}"]'
    case.config.write_text(f"{text}\n\n{validation}\n", encoding="utf-8")


@fault("PIC030", "a held-out picture at another size is trained on", start="project")
def held_out_is_trained_on(case: Case) -> None:
    _held_beside(case, "one_more.png", changed(case, 2).resize((640, 640), Image.Resampling.LANCZOS))


@fault("PIC030", "the mirror image of a held-out picture is trained on", start="project")
def held_out_is_mirrored(case: Case) -> None:
    _held_beside(case, "one_more.png", ImageOps.mirror(changed(case, 2)))


@close_call("PIC030", "the same file twice: both are held out", start="project")
def held_out_twice(case: Case) -> None:
    shutil.copy(case.pictures[2], case.pictures[2].with_name("one_more.png"))
    _held_beside(case, "another.png", changed(case, 3).rotate(180))
