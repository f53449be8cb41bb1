"""Faults of masks, and what comes close to them. The clean pictures are 512×512 PNG drawings of one character."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from tests.planted.case import Case, close_call, fault


def masked(case: Case, *, without: int = 0, source: str = "beside") -> list[Path]:
    """Give every picture but the last `without` a mask of its middle, and ask for masks."""
    case.config.write_text(
        case.config.read_text(encoding="utf-8") + f'\n[masks]\nmask_source = "{source}"\n', encoding="utf-8"
    )
    return [mask_of(path) for path in case.pictures[: len(case.pictures) - without]]


def mask_of(picture: Path, *, inverted: bool = False, size_wh: tuple[int, int] | None = None) -> Path:
    """Write the mask of a picture's middle into the folder of masks below it."""
    with Image.open(picture) as image:
        width, height = size_wh or image.size
    mask = Image.new("L", (width, height), 255 if inverted else 0)
    box = (width // 4, height // 8, width * 3 // 4, height)
    ImageDraw.Draw(mask).rectangle(box, fill=0 if inverted else 255)
    path = picture.parent / "masks" / f"{picture.stem}.png"
    path.parent.mkdir(exist_ok=True)
    mask.save(path)
    return path


@fault("PIC026", "one picture has no mask", start="project")
def one_without(case: Case) -> None:
    masked(case, without=1)


@fault("PIC026", "masks are asked for and there are none", start="project")
def none_at_all(case: Case) -> None:
    masked(case, without=len(case.pictures))


@close_call("PIC026", "masks under OneTrainer's name", start="project")
def one_trainers_names(case: Case) -> None:
    for path in masked(case):
        path.rename(path.parent.parent / f"{path.stem}-masklabel.png")


@fault("PIC027", "the mask of another crop", start="project")
def of_another_crop(case: Case) -> None:
    masked(case)
    mask_of(case.pictures[1], size_wh=(512, 400))


@fault("PIC027", "a mask that is a web page", start="project")
def mask_of_a_web_page(case: Case) -> None:
    masked(case)[2].write_text("<!DOCTYPE html><html></html>")


@close_call("PIC027", "masks at half the size", start="project")
def at_half_the_size(case: Case) -> None:
    masked(case)
    for path in case.pictures:
        mask_of(path, size_wh=(256, 256))


@fault("PIC028", "a black mask", start="project")
def black(case: Case) -> None:
    Image.new("L", (512, 512)).save(masked(case)[3])


@fault("PIC028", "an inverted mask", start="project")
def inverted(case: Case) -> None:
    masked(case)
    mask_of(case.pictures[0], inverted=True)


@close_call("PIC028", "a subject that fills three corners", start="project")
def fills_corners(case: Case) -> None:
    path = masked(case)[0]
    mask = Image.new("L", (512, 512), 255)
    ImageDraw.Draw(mask).rectangle((0, 0, 256, 256), fill=0)
    mask.save(path)


@fault("PIC029", "masks among the pictures of sd-scripts, which trains them", also=("CAP001", "PIC013"))
def among_the_pictures(case: Case) -> None:
    path = mask_of(case.pictures[0])
    path.rename(case.pictures[0].with_name(f"{case.pictures[0].stem}_mask.png"))


@fault("PIC029", "a weight of masks without masks", start="project")
def weight_without_masks(case: Case) -> None:
    case.edit(case.config, "[objective]", "[objective]\nunmasked_weight = 0.1")


@close_call("PIC029", "a weight of masks with masks", start="project")
def weight_with_masks(case: Case) -> None:
    masked(case)
    weight_without_masks(case)
