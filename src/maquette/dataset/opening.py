"""The one way to open a picture file: which formats are decoded, how much of memory one may take, which way up it is.

Everything that looks at a picture does so through here (tests/test_house.py). A stranger's file decides nothing: decoders
of other formats never start, whatever its name says (Pillow's for PostScript would run a program), and what the header
promises is held against limits before a pixel is decoded. Whatever goes wrong is one DatasetError that names the file.
"""

from __future__ import annotations

import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from maquette.dataset.kinds import HEAD_BYTES, kind_of
from maquette.errors import DatasetError, Problem

READ_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""What the trainers read."""
CONVERTED_FORMATS = ("GIF", "TIFF", "AVIF", "HEIF")
"""What a PNG can be made of where somebody asks for it."""
STILL_FORMATS = frozenset({"MPO"})
"""A camera's JPEG with a preview as second frame."""
MAX_PICTURE_PIXELS = 1 << 26
"""67 million, 8192×8192: decoded they take 268 MB, and whoever looks at them that much again."""
MAX_SIDE_PX = 65_535
MAX_PICTURE_BYTES = 128 << 20
MAX_NOTE_BYTES = 8 << 20
"""Of one chunk beside a PNG's pixels; a workflow with everything in it takes a tenth of that."""
MAX_JPEG_SCANS = 200
"""A progressive JPEG has about ten; each goes over the whole picture, so that thousands take minutes."""
DAMAGED = "damaged or cut short"
EXIF_ORIENTATION = 0x0112
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EIGHT_BIT_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
)
SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
"""Greyscale of 16 bits, whose scale is certain: 0 to 65,535. Colours of 16 bits Pillow reads as 8 by itself."""
STRIP_PIXELS = 1 << 22
LARGE_PIXELS = 1 << 24
_ONE_LARGE = Lock()

# What Pillow finds odd in a file but can read is no news for a terminal; set once, since filters hold for all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_file(path: Path) -> bytes:
    """Return the bytes of a picture file, never empty. Raises DatasetError, for a file beyond the limit before reading it."""
    with _as_problem(path):
        _require_file(path)
        return path.read_bytes()


@contextmanager
def opened(
    path: Path, data: bytes | None = None, *, formats: tuple[str, ...] = READ_FORMATS
) -> Iterator[Image.Image]:
    """Give the picture of a file, its header read and found fit; pixels are decoded by whoever asks for them.

    data: its bytes, where they were read before. Greyscale of 16 bits comes as 8, the upper half of each value. Raises
    DatasetError for what is wrong with the file, found here or by the decoder while the block runs.
    """
    with _as_stored(path, data, formats) as image:
        yield _eight_bit(image) if image.mode in SIXTEEN_BIT_MODES else image


@contextmanager
def _as_stored(path: Path, data: bytes | None, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    data = read_file(path) if data is None else data
    with _as_problem(path):
        _require_known(path, data, formats)
        _bring_decoder(formats)
        with Image.open(io.BytesIO(data), formats=formats) as image:
            _require_fit(path, image)
            yield image


@contextmanager
def room_for(path: Path, data: bytes) -> Iterator[None]:
    """Hold everyone else with a large picture back while the block runs: many threads, the memory of one."""
    with opened(path, data) as image:
        is_large = image.width * image.height > LARGE_PIXELS
    with _ONE_LARGE if is_large else nullcontext():
        yield


def read_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture as stored, from its header alone. Raises DatasetError."""
    with _as_problem(path):
        _require_file(path)
        with path.open("rb") as file:
            _require_known(path, file.read(HEAD_BYTES), READ_FORMATS)
            file.seek(0)
            with Image.open(file, formats=READ_FORMATS) as image:
                _require_fit(path, image)
                return image.size


def picture_rgb(path: Path, *, least_px: int | None = None) -> Image.Image:
    """Return a picture as it is looked at: upright, RGB, transparent parts on white. Raises DatasetError.

    least_px: a JPEG is decoded small where its sides still reach so many pixels.
    """
    with opened(path) as image:
        if least_px is not None:
            image.draft("RGB", (least_px, least_px))
        return on_white(upright(image))


def stored_rgb(path: Path, background: str | None = None) -> Image.Image:
    """Return a picture as it is trained: RGB, as stored whatever EXIF says. Raises DatasetError.

    background: the colour that its transparent parts are laid on. None: whatever colour is stored behind them.
    """
    with opened(path) as image:
        image.load()
        if background is not None:
            return on_colour(image, background)
        return image if image.mode == "RGB" else image.convert("RGB")


def verify(path: Path, data: bytes) -> None:
    """Raise DatasetError where a PNG's checksums are wrong, which decoding alone does not look at; other formats have none."""
    if data.startswith(PNG_SIGNATURE):
        with _as_stored(path, data, READ_FORMATS) as image:
            image.verify()


def orientation_of(image: Image.Image) -> int:
    """Return how EXIF data ask viewers to turn or mirror a picture: 2 to 8; 1 for not at all, or for data that are damaged."""
    try:
        value = int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # the pixels are sound, whatever stands beside them
        return 1
    return value if 2 <= value <= 8 else 1


def upright(image: Image.Image) -> Image.Image:
    """Return a picture as viewers show it: turned and mirrored as its EXIF data ask for."""
    if orientation_of(image) == 1:
        image.load()
        return image
    return ImageOps.exif_transpose(image)


def has_alpha(image: Image.Image) -> bool:
    """Return whether a picture may have transparent parts."""
    return bool({"A", "a"} & set(image.getbands())) or "transparency" in image.info


def on_white(image: Image.Image) -> Image.Image:
    """Return a picture as RGB, transparent parts on white."""
    return on_colour(image, "white")


def on_colour(image: Image.Image, colour: str) -> Image.Image:
    """Return a picture as RGB, transparent parts on `colour`; strip by strip, so that a large one takes no third of its size."""
    if not has_alpha(image):
        return image if image.mode == "RGB" else image.convert("RGB")
    flat = Image.new("RGB", image.size, colour)
    step = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height))).convert("RGBA")
        plain = Image.new("RGBA", strip.size, colour)
        flat.paste(Image.alpha_composite(plain, strip).convert("RGB"), (0, top))
    return flat


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return greyscale of 16 bits as 8, with what stands beside its pixels; Pillow itself would cut all but the darkest off."""
    values_HW = np.asarray(image, np.uint16)
    plain = Image.fromarray((values_HW >> 8).astype(np.uint8))
    plain.format, plain.info = image.format, dict(image.info)
    if isinstance(seen_through := plain.info.get("transparency"), int):
        plain.info["transparency"] = seen_through >> 8
    if (turned := orientation_of(image)) != 1:
        notes = Image.Exif()
        notes[EXIF_ORIENTATION] = turned
        plain.info["exif"] = notes.tobytes()
    return plain


@contextmanager
def _as_problem(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one error that names it."""
    try:
        yield
    except FileNotFoundError as error:
        is_link = path.is_symlink()
        given = "a link that leads nowhere" if is_link else "no such file"
        remedy = "Restore its target or remove the link." if is_link else "Check the path."
        raise _unfit(path, given, "a picture file", remedy) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except MemoryError as error:
        raise _unfit(path, "more than memory holds", "a smaller picture", "Scale it down.") from error
    # Decoders fail in many ways on damaged data (OSError, SyntaxError, struct.error, zlib.error, EOFError, ...).
    except Exception as error:
        if isinstance(error, DatasetError):
            raise
        raise _of_disk(path, error) or _damaged(path, error) from error


def _of_disk(path: Path, error: Exception) -> DatasetError | None:
    """Return the error of a file that the system does not let us read; None where its content is what is wrong."""
    is_name = isinstance(error, ValueError) and "null" in str(error)
    if is_name or (isinstance(error, OSError) and error.errno is not None):
        given = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        return _unfit(path, given, "a readable picture", "Check its permissions and the disk.")
    return None


def _damaged(path: Path, error: Exception) -> DatasetError:
    if "MAX_TEXT" in str(error):
        return _too_many_notes(path)
    is_unknown = isinstance(
        error, UnidentifiedImageError
    )  # by its first bytes it is one of ours: see _require_known
    said = "" if is_unknown else f" ({' '.join(str(error).split())[:160] or type(error).__name__})"
    remedy = "Copy it again from its source, or remove it and its caption."
    return _unfit(path, f"{DAMAGED}{said}", "a picture that decodes to the end", remedy)


def _require_file(path: Path) -> None:
    """Raise DatasetError unless there is a file that may be read whole; OSError where the system does not tell."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _unfit(path, "no file", "a picture file", "Give the file itself.")
    if not status.st_size:
        remedy = "Copy it again from its source, or remove it and its caption."
        raise _unfit(path, "an empty file", "a picture", remedy)
    if status.st_size > MAX_PICTURE_BYTES:
        given, most = (f"{size / 1e6:,.0f} MB" for size in (status.st_size, MAX_PICTURE_BYTES))
        remedy = "Save it smaller; training needs far fewer pixels."
        raise _unfit(path, f"a file of {given}", f"at most {most}", remedy)


def _require_known(path: Path, data: bytes, formats: tuple[str, ...]) -> None:
    """Raise DatasetError, naming what the file is by its content, unless it is one of `formats`."""
    kind = kind_of(data)
    if kind.format not in formats:
        raise _unfit(path, kind.given, "a PNG, JPEG, WebP or BMP file", kind.remedy)
    if kind.format == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        given = f"{DAMAGED}: a JPEG of {data.count(bytes((0xFF, 0xDA))):,} scans"
        raise _unfit(path, given, f"at most {MAX_JPEG_SCANS}", "Save it again.")
    if kind.format == "PNG" and any(size > MAX_NOTE_BYTES for size in _sizes_of_notes(data)):
        raise _too_many_notes(path)
    if kind.size_wh is not None:
        _require_size(path, *kind.size_wh)


def _bring_decoder(formats: tuple[str, ...]) -> None:
    """Add the decoder of phones' pictures to Pillow, where they are asked for and the extra is installed."""
    if "HEIF" in formats and find_spec("pi_heif") is not None:
        from pi_heif import register_heif_opener

        register_heif_opener(thumbnails=False)


def _sizes_of_notes(data: bytes) -> Iterator[int]:
    """Yield how many bytes the chunks of a PNG ask for that are no pixels: text, profile, EXIF data."""
    at = len(PNG_SIGNATURE)
    while len(data) >= at + 8:
        size, first = int.from_bytes(data[at : at + 4], "big"), data[at + 4]
        if first & 0x20:  # a small letter: a chunk that a reader may leave out
            yield size
        at += size + 12


def _too_many_notes(path: Path) -> DatasetError:
    given = f"{DAMAGED}: notes in it take far more than any program writes"
    return _unfit(path, given, "a picture without such notes", "Save it again without its metadata.")


def _require_fit(path: Path, image: Image.Image) -> None:
    """Raise DatasetError for a sound file that cannot be trained on, before it is decoded."""
    _require_size(path, *image.size)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in STILL_FORMATS:
        pages = "a file of {} pages" if image.format == "TIFF" else "an animation of {} frames"
        raise _unfit(path, pages.format(frames), "a still picture", "Save the frame you want as PNG.")
    if image.mode not in EIGHT_BIT_MODES | SIXTEEN_BIT_MODES:
        given = f"values of no known range (mode {image.mode})"
        remedy = "Save it as an 8-bit PNG: brightness would be cut off."
        raise _unfit(path, given, "8 or 16 bits a channel", remedy)


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PICTURE_PIXELS:
        raise _too_large(path, f"{width * height} pixels")
    if max(width, height) > MAX_SIDE_PX:
        given = f"{width}x{height} pixels"
        raise _unfit(path, given, f"at most {MAX_SIDE_PX:,} a side", "Cut it into pictures.")


def _too_large(path: Path, said: str) -> DatasetError:
    pixels = re.search(r"(\d+) pixels", said)
    given = f"{int(pixels[1]):,} pixels" if pixels else "more pixels than can be decoded safely"
    required = f"at most {MAX_PICTURE_PIXELS:,} pixels"
    return _unfit(path, given, required, "Scale it down; training needs far fewer.")


def _unfit(path: Path, given: str, required: str, remedy: str) -> DatasetError:
    return DatasetError(Problem(str(path), given, required, remedy))
