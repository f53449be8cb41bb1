"""Pictures saved again so that training sees what a viewer sees: upright, in sRGB, without transparent parts.

Each keeps its format and what else the file carried (EXIF data, a profile where it still holds, a JPEG's quality).
The work is done when the edit is carried out, not when a rule proposes it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.dataset import opening
from maquette.dataset.opening import EXIF_ORIENTATION, opened
from maquette.errors import DatasetError, Problem
from maquette.findings.records import WriteBytes

if TYPE_CHECKING:
    from PIL import Image

Repair = Callable[[Path], bytes]


class SavedAgain(WriteBytes):
    """An edit whose bytes are made when they are asked for: hundreds of proposed repairs cost nothing."""

    def __init__(self, path: Path, repair: Repair, source: Path | None = None) -> None:
        """`source`: the file that is read, where it is another than the one that is written."""
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "repair", repair)
        object.__setattr__(self, "source", source or path)

    @property
    def data(self) -> bytes:
        """The repaired file. Raises DatasetError where it cannot be made."""
        try:
            return self.repair(self.source)  # type: ignore[attr-defined]
        except DatasetError as error:
            given = f"cannot be saved again ({error.problems[0].given})"
            remedy = "Repair it in a drawing program."
            raise DatasetError(
                Problem(str(self.source), given, "a picture that can be repaired", remedy)  # type: ignore[attr-defined]
            ) from error


def upright(path: Path) -> bytes:
    """Return the file with its pixels turned the way EXIF data ask for, and no such request left in them."""
    with opened(path) as image:
        return _saved(opening.upright(image), image, icc_profile=image.info.get("icc_profile"))


def in_srgb(path: Path) -> bytes:
    """Return the file, upright, with colours converted from its profile (CMYK without one: Pillow's plain way) to sRGB."""
    with opened(path) as image:
        return _saved(_as_srgb(opening.upright(image)), image)


def on_white(path: Path) -> bytes:
    """Return the file, upright, with transparent parts laid on white."""
    with opened(path) as image:
        flat = opening.on_white(opening.upright(image))
        return _saved(flat, image, icc_profile=image.info.get("icc_profile"))


def as_png(path: Path) -> bytes:
    """Return a picture of another kind as PNG: upright, 8 bits, its colours in sRGB, its transparency kept."""
    with opened(path, formats=opening.CONVERTED_FORMATS) as image:
        shown = opening.upright(image)
        if shown.mode != "CMYK":
            shown = shown.convert("RGBA" if opening.has_alpha(shown) else "RGB")
        buffer = BytesIO()
        _as_srgb(shown).save(buffer, "PNG")
        return buffer.getvalue()


def as_it_is(path: Path) -> bytes:
    """Return the file's own bytes, which another name takes over."""
    return opening.read_file(path)


def _as_srgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    icc = image.info.get("icc_profile")
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    plain = image.convert("RGB") if image.mode not in ("RGB", "CMYK", "L") else image
    changed = None
    if icc:
        with suppress(
            ImageCms.PyCMSError, OSError
        ):  # broken, or of other channels: it says nothing of these numbers
            source = ImageCms.ImageCmsProfile(BytesIO(icc))
            changed = ImageCms.profileToProfile(
                plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
    changed = changed or plain.convert("RGB")
    if alpha is not None:
        changed.putalpha(alpha)
    return changed


def _saved(image: Image.Image, original: Image.Image, icc_profile: bytes | None = None) -> bytes:
    form = "JPEG" if original.format == "MPO" else original.format
    options: dict[str, Any] = {}
    exif = original.getexif()
    exif.pop(EXIF_ORIENTATION, None)
    if form != "BMP":
        options = {"icc_profile": icc_profile, **({"exif": exif.tobytes()} if len(exif) else {})}
    if form == "JPEG":
        options |= _jpeg_quality(original, image.mode)
    elif form == "WEBP":
        options |= {"lossless": True}
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _jpeg_quality(original: Any, mode: str) -> dict[str, Any]:
    """Return the original's own quantisation where it can serve, else a quality that shows no loss."""
    from PIL import JpegImagePlugin

    tables = getattr(original, "quantization", None)
    if tables and original.mode == mode:
        sampling = JpegImagePlugin.get_sampling(original)
        return {"qtables": tables, **({"subsampling": sampling} if sampling in (0, 1, 2) else {})}
    return {"quality": 95, "subsampling": 0}
