"""Contact sheets: a page of small pictures for each group, with names and the values that decided.

Pages are PNG, 5 × 4 pictures; a long group shows its first pages and says how many more there are. Duplicates and
mirror images are shown beside the picture they were compared with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from maquette.curating.decisions import Decision, Decisions
from maquette.curating.records import CODES
from maquette.dataset.opening import picture_rgb
from maquette.drawing import paper
from maquette.errors import DatasetError
from maquette.files import replacing

COLUMNS, ROWS = 5, 4
TILE_PX = 208
NAME_PX, LINE_PX, MOST_LINES = 36, 16, 3
"""Below a picture: its name, and up to so many lines of text."""
GAP_PX = 14
HEAD_PX = 84
PIXEL_ART_PX = 96
"""Pictures smaller than this are enlarged without smoothing."""
PAIRED = ("duplicate", "mirrored")


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One picture on a sheet."""

    path: Path
    name: str
    text: str
    color: paper.Rgb
    tag: str = ""
    """A word on the picture's corner."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group: its file's name, title, what it means, and its pictures."""

    stem: str
    title: str
    subtitle: str
    tiles: Sequence[Tile]
    count: int
    """Pictures in the group, of which `tiles` may show a part."""


def write_sheets(decisions: Decisions, folder: Path, *, max_pages: int, workers: int) -> Iterator[Path]:
    """Write every group's pages into `folder`, yield each page, and take away pages that an earlier run left there."""
    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    per_page = COLUMNS * ROWS
    with ThreadPoolExecutor(workers) as pool:
        for group in groups_of(decisions, max_pages * per_page):
            pages = [group.tiles[start : start + per_page] for start in range(0, len(group.tiles), per_page)]
            for number, tiles in enumerate(pages, start=1):
                path = folder / (f"{group.stem}-{number:02d}.png" if len(pages) > 1 else f"{group.stem}.png")
                thumbnails = list(pool.map(_thumbnail, [tile.path for tile in tiles]))
                page = draw_page(group, tiles, thumbnails, number, len(pages))
                with replacing(path) as temporary:
                    page.save(temporary, format="PNG", compress_level=4)
                written.add(path)
                yield path
    for path in folder.glob("*.png"):
        if path not in written:
            path.unlink()


def groups_of(decisions: Decisions, most: int) -> Iterator[Group]:
    """Yield the groups that hold pictures: kept by view, kept groups, review, and each reason of rejection."""
    kept = sorted(
        decisions.in_state("kept"), key=lambda each: (each.cluster is None, each.cluster or 0, -each.quality)
    )
    review = sorted(decisions.in_state("review"), key=lambda each: (_first_code(each), each.name))
    yield from _plain("1-kept", "Kept", "the best first within each group", kept, decisions, most)
    yield from _plain("2-review", "To review", "look, then --keep or --reject", review, decisions, most)
    rejected = decisions.in_state("rejected")
    for number, (code, title) in enumerate(CODES.items()):
        some = [each for each in rejected if _first_code(each) == code]
        some.sort(key=lambda each: (_closeness(each), each.name))
        stem = f"3-rejected-{number:02d}-{code}"
        if code in PAIRED:
            yield from _paired(stem, f"Rejected: {title.lower()}", some, decisions, most)
        else:
            yield from _plain(
                stem, f"Rejected: {title.lower()}", "the closest calls first", some, decisions, most
            )
    yours = [each for each in rejected if each.decided_by == "you" and _first_code(each) not in CODES]
    yield from _plain("3-rejected-yours", "Rejected by you", "your own decisions", yours, decisions, most)
    yield from _clusters(kept, decisions)


def draw_page(
    group: Group, tiles: Sequence[Tile], thumbnails: Sequence[Image.Image | None], number: int, pages: int
) -> Image.Image:
    """Return one page."""
    rows = math.ceil(len(tiles) / COLUMNS)
    width = GAP_PX + COLUMNS * (TILE_PX + GAP_PX)
    texts = [paper.wrapped(tile.text, 12, TILE_PX - 16, MOST_LINES) for tile in tiles]
    tile_px = TILE_PX + NAME_PX + LINE_PX * max(map(len, texts))
    height = HEAD_PX + rows * (tile_px + GAP_PX) + GAP_PX
    page = Image.new("RGB", (width, height), paper.PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((GAP_PX + 2, 16), group.title, paper.INK, paper.font(30))
    draw.text((GAP_PX + 3, 54), _said(group), paper.SOFT, paper.font(15))
    if pages > 1:
        draw.text((width - GAP_PX, 24), f"page {number} of {pages}", paper.SOFT, paper.font(15), anchor="ra")
    for index, (tile, lines, thumbnail) in enumerate(zip(tiles, texts, thumbnails, strict=True)):
        if not tile.name:
            continue
        row, column = divmod(index, COLUMNS)
        left, top = GAP_PX + column * (TILE_PX + GAP_PX), HEAD_PX + row * (tile_px + GAP_PX)
        draw.rounded_rectangle((left, top, left + TILE_PX, top + tile_px), 6, paper.CARD, paper.LINE)
        _draw_picture(page, draw, tile, thumbnail, left, top)
        name = paper.fitted(tile.name, 13, TILE_PX - 16)
        draw.text((left + 8, top + TILE_PX + 8), name, paper.INK, paper.font(13))
        for line, text in enumerate(lines):
            draw.text((left + 8, top + TILE_PX + 27 + LINE_PX * line), text, paper.SOFT, paper.font(12))
    return page


def _draw_picture(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    thumbnail: Image.Image | None,
    left: int,
    top: int,
) -> None:
    right = left + TILE_PX
    draw.rectangle((left + 1, top + 6, right - 1, top + TILE_PX), fill=paper.MAT)
    if thumbnail is None:
        middle = (left + TILE_PX / 2, top + TILE_PX / 2)
        draw.text(middle, "cannot be read", paper.SOFT, paper.font(15), anchor="mm")
    else:
        page.paste(
            thumbnail,
            (left + (TILE_PX - thumbnail.width) // 2, top + 6 + (TILE_PX - 6 - thumbnail.height) // 2),
        )
    draw.rectangle((left + 1, top + TILE_PX, right - 1, top + TILE_PX + 2), fill=tile.color)
    if tile.tag:
        paper.chip(draw, left + 8, top + 12, tile.tag, tile.color, 12)


def _plain(
    stem: str, title: str, subtitle: str, some: Sequence[Decision], decisions: Decisions, most: int
) -> Iterator[Group]:
    if some:
        tiles = [_tile(decisions, each) for each in some[:most]]
        yield Group(stem=stem, title=title, subtitle=subtitle, tiles=tiles, count=len(some))


def _paired(
    stem: str, title: str, some: Sequence[Decision], decisions: Decisions, most: int
) -> Iterator[Group]:
    """Show what stays first and what goes beside it, one family after the other."""
    by_other: dict[str, list[Decision]] = {}
    for each in some:
        other = next((reason.other for reason in each.reasons if reason.code in PAIRED), "")
        by_other.setdefault(other, []).append(each)
    tiles: list[Tile] = []
    for other, losers in sorted(by_other.items()):
        if other in decisions.pictures:
            stays = decisions.pictures[other]
            tag = "stays" if stays.state == "kept" else stays.state
            tiles.append(_tile(decisions, stays, tag=tag))
        tiles += [_tile(decisions, each) for each in losers]
    if tiles:
        subtitle = "each after the picture it was compared with"
        yield Group(stem=stem, title=title, subtitle=subtitle, tiles=tiles[:most], count=len(some))


def _clusters(kept: Sequence[Decision], decisions: Decisions) -> Iterator[Group]:
    """One row a group of view and pose, its first pictures."""
    numbers = sorted({each.cluster for each in kept if each.cluster is not None})
    if len(numbers) < 2:
        return
    tiles: list[Tile] = []
    for number in numbers:
        members = [each for each in kept if each.cluster == number]
        row = [
            _tile(decisions, each, tag=f"group {number + 1}: {len(members)}" if place == 0 else "")
            for place, each in enumerate(members[:COLUMNS])
        ]
        tiles += row
        tiles += [_blank()] * (COLUMNS - len(row))
    yield Group(
        stem="4-groups",
        title="Groups of like pictures",
        subtitle="one row each, the largest first; a short row is a view or pose that the set has few of",
        tiles=tiles,
        count=len(kept),
    )


def _blank() -> Tile:
    return Tile(path=Path(), name="", text="", color=paper.LINE)


def _tile(decisions: Decisions, decision: Decision, tag: str = "") -> Tile:
    if decision.decided_by == "you" and not tag:
        tag = "yours"
    return Tile(
        path=decisions.folder / decision.name,
        name=decision.name,
        text=_values(decision),
        color=paper.STATE_COLORS[decision.state],
        tag=tag,
    )


def _values(decision: Decision) -> str:
    """Return the reasons, or what speaks for a picture that has none."""
    if decision.texts:
        return "; ".join(decision.texts)
    parts = []
    if decision.similarity is not None:
        parts.append(f"identity {decision.similarity:.2f}")
    if decision.face_similarity is not None:
        parts.append(f"face {decision.face_similarity:.2f}")
    if "sharpness" in decision.measures:
        parts.append(f"sharpness {decision.measures['sharpness']:.0f}")
    return ", ".join([*parts, f"quality {decision.quality:.2f}"])


def _first_code(decision: Decision) -> str:
    """Return the code of the reason that decided; empty when a person did against all reasons."""
    weight = {"rejected": "reject", "review": "review"}.get(decision.state, "note")
    return next((reason.code for reason in decision.reasons if reason.weight == weight), "")


def _closeness(decision: Decision) -> float:
    """Return how far beyond its limit the decisive value lies, as a share of the limit."""
    reason = next((reason for reason in decision.reasons if reason.weight == "reject"), None)
    if reason is None or reason.value is None or not reason.limit:
        return 0.0
    return abs(reason.value - reason.limit) / reason.limit


def _said(group: Group) -> str:
    shown = len([tile for tile in group.tiles if tile.name])
    noun = "picture" if group.count == 1 else "pictures"
    part = f", {shown:,} shown" if shown < group.count else ""
    return f"{group.count:,} {noun}{part}: {group.subtitle}"


def _thumbnail(path: Path) -> Image.Image | None:
    """Return a picture within its tile, small ones enlarged by a whole factor; None when it cannot be read."""
    box = TILE_PX - 8
    if path == Path():
        return Image.new("RGB", (1, 1), paper.MAT)
    try:
        image = picture_rgb(path, least_px=box)
    except DatasetError:  # what is wrong with it stands below as its reason
        return None
    if max(image.size) <= PIXEL_ART_PX:
        factor = max(1, box // max(image.size))
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((box, box), Image.Resampling.LANCZOS)
    return image
