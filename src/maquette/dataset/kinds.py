"""What a file is by its first bytes, whatever its name says: a picture, another kind of picture, or none at all.

Only what the bytes say counts. Each kind carries the words for it and what its owner can do.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 4096
NOTHING_BUT_ZEROS = "nothing but zeros"
TEXT = "text, not a picture"
NOT_A_PICTURE = "not a picture, whatever its name says"
REPLACE = "Replace it, or remove it and its caption."
AS_PNG = "Save it as PNG."


@dataclass(frozen=True)
class Kind:
    """What a file is."""

    given: str
    """In words, as an error says it: `an animation`, `a web page`."""
    remedy: str = AS_PNG
    format: str = ""
    """Pillow's name of its decoder, where it is a picture that one of ours may decode."""
    extra: str = ""
    """The extra that brings the decoder."""
    size_wh: tuple[int, int] | None = None
    """Width and height, where a decoder would take memory before it tells them."""

    @property
    def is_known(self) -> bool:
        """Whether the bytes told anything."""
        return self.given not in (NOT_A_PICTURE, NOTHING_BUT_ZEROS, TEXT)


OTHER = Kind(NOT_A_PICTURE, REPLACE)
HEIF = Kind("a HEIC picture (a phone's)", AS_PNG, "HEIF", "formats")
AVIF = Kind("an AVIF picture", AS_PNG, "AVIF")
JXL = Kind("a JPEG XL picture", "Make a PNG of it: djxl FILE.jxl FILE.png.")
JPEG_2000 = Kind("a JPEG 2000 picture")
FILM = Kind("a film", "Take its frames: maquette curate NEW_FOLDER --video FILM.")
GIF = Kind("a GIF picture", AS_PNG, "GIF")
PHOTOSHOP = Kind("a Photoshop file (PSD)", "Export it as PNG.")
SVG = Kind("an SVG drawing", "Export it as PNG.")
TIFF = Kind("a TIFF picture", AS_PNG, "TIFF")
POSTSCRIPT = Kind("a PostScript drawing (EPS), which is a program", "Export it as PNG.")
ZIP = Kind(
    "a ZIP archive (or a document, or a painting of Krita)", "Unpack it, or export the picture as PNG."
)
SIGNS = (
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG picture", "", "PNG")),
    (b"\xff\xd8\xff", Kind("a JPEG picture", "", "JPEG")),
    (b"GIF8", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"IIRO", Kind("a camera's raw file", "Export it as PNG.")),
    (b"IIU\x00", Kind("a camera's raw file", "Export it as PNG.")),
    (b"FUJIFILMCCD-RAW", Kind("a camera's raw file", "Export it as PNG.")),
    (b"%!PS", POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", POSTSCRIPT),
    (b"%PDF", Kind("a PDF", "Export the page as PNG.")),
    (b"8BPS", PHOTOSHOP),
    (b"gimp xcf", Kind("a file of GIMP (XCF)", "Export it as PNG.")),
    (b"\x00\x00\x01\x00", Kind("an icon (ICO)")),
    (b"\x00\x00\x02\x00", Kind("a mouse pointer (CUR)")),
    (b"icns", Kind("an icon (ICNS)")),
    (b"\xff\x0a", JXL),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", JXL),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"v/1\x01", Kind("an OpenEXR picture")),
    (b"#?RADIANCE", Kind("a Radiance HDR picture")),
    (b"DDS ", Kind("a DDS texture")),
    (b"qoif", Kind("a QOI picture")),
    (b"BPG\xfb", Kind("a BPG picture")),
    (b"\xd7\xcd\xc6\x9a", Kind("a WMF drawing", "Export it as PNG.")),
    (b"\x1aE\xdf\xa3", FILM),
    (b"PK\x03\x04", ZIP),
    (b"Rar!", Kind("a RAR archive", "Unpack it.")),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", "Unpack it.")),
    (b"\x1f\x8b", Kind("a gzip archive", "Unpack it.")),
    (b"\x00\x05\x16\x07", Kind("macOS's notes on a file, not the file itself", "Copy the picture itself.")),
)
SIGNS_OF_TEXT = (
    (b"version https://git-lfs", Kind("a Git LFS pointer", "Fetch the real file: git lfs pull")),
    (b"<!doctype html", Kind("a web page", "Download the picture itself.")),
    (b"<html", Kind("a web page", "Download the picture itself.")),
    (b"<svg", SVG),
    (b"%!ps", POSTSCRIPT),
    (b"%pdf", Kind("a PDF", "Export the page as PNG.")),
)
BRANDS = (
    ((b"avif", b"avis"), AVIF),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"), HEIF),
)
ENDINGS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), HEIF),
    **dict.fromkeys((".avif", ".avifs"), AVIF),
    **dict.fromkeys((".tif", ".tiff"), TIFF),
    **dict.fromkeys((".mp4", ".m4v", ".webm", ".mov", ".mkv", ".avi"), FILM),
    ".gif": GIF,
    ".jxl": JXL,
    ".jp2": JPEG_2000,
    ".psd": PHOTOSHOP,
    ".svg": SVG,
}
RIFF = {b"AVI ": FILM, b"WAVE": Kind("a sound", REPLACE)}
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
"""Sizes of the header that follows the two letters, which many a text begins with as well."""
NETPBM = tuple(b"P%d" % number for number in range(1, 8))


def kind_at(path: Path) -> Kind:
    """Return what a file is, from its beginning; a file that cannot be read is nothing known."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES))
    except (OSError, ValueError):
        return OTHER


def kind_of_name(path: Path) -> Kind:
    """Return what a file's name says that it is, for one whose bytes tell nothing."""
    return ENDINGS.get(path.suffix.lower(), Kind(f"a {path.suffix} file", "Export it as PNG."))


def kind_of(data: bytes) -> Kind:
    """Return what the bytes of a file are; of a long one the beginning is enough."""
    head = data[:HEAD_BYTES]
    if head.startswith(b"RIFF"):
        return _riff(head)
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    for sign, kind in SIGNS:
        if head.startswith(sign):
            return kind
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return Kind("a BMP picture", "", "BMP")
    if head[:2] in NETPBM and head[2:3].isspace():
        return Kind("a Netpbm picture (PPM, PGM)")
    return _text(head) or (Kind(NOTHING_BUT_ZEROS, REPLACE) if head and not any(head) else OTHER)


def _riff(head: bytes) -> Kind:
    if head[8:12] == b"WEBP":
        return Kind("a WebP picture", "", "WEBP", size_wh=_webp_size(head))
    return RIFF.get(head[8:12], OTHER)


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Return a WebP's canvas: its decoder takes memory for all of it as soon as it opens the file."""
    chunk, body = head[12:16], head[20:30]
    try:
        if chunk == b"VP8X":
            return (1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little"))
        if chunk == b"VP8L":
            bits = struct.unpack_from("<I", body, 1)[0]
            return (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        if chunk == b"VP8 ":
            width, height = struct.unpack_from("<HH", body, 6)
            return (width & 0x3FFF, height & 0x3FFF)
    except struct.error:
        return None
    return None


def _of_brands(head: bytes) -> Kind:
    """Return what an ISO base media file is by the brands that it names: a picture of a phone, or a film."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[at : at + 4] for at in (8, *range(16, size, 4))]
    for names, kind in BRANDS:
        if any(brand in names for brand in brands):
            return kind
    return FILM


def _text(head: bytes) -> Kind | None:
    """Return what kind of text the bytes are; None for none."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for sign, kind in SIGNS_OF_TEXT:
        if start.startswith(sign):
            return kind
    if start.startswith((b"<?xml", b"<!--")) and b"<svg" in start:
        return SVG
    return (
        Kind(TEXT, "Download the picture itself, or remove it and its caption.") if _is_text(head) else None
    )


def _is_text(head: bytes) -> bool:
    """Return whether bytes read as text: UTF-8, a character cut at the end aside, without control characters."""
    text = head[:256].decode("utf-8", "ignore")
    is_whole = len(text.encode("utf-8")) + 3 >= len(head[:256])
    return bool(text) and is_whole and all(char.isprintable() or char.isspace() for char in text)
