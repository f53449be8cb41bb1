"""Whether the encoder `photo` tells one subject from another, where its threshold lies, and where it fails.

    python benchmarks/identity.py --data ../shared/data --output benchmarks/results/

DATA/photos/SUBJECT/*.jpg are photographs of ten subjects (DreamBooth's), DATA/pixel_portraits/*/*.png drawings on a grid of
24 × 24; the small world draws itself. Per subject every choice of three references judges the rest of its own pictures and
everybody else's, as `maquette curate` does. The calibration is a logistic curve through these likenesses (each subject counts the
same, its own pictures as much as strangers): surely the subject from a chance of 0.95, surely another below 0.05. Each subject is
judged by a curve that has not seen it. Intervals are over subjects drawn anew.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from circumstances import commit, hardware, software
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from maquette.curating.identity import Calibration, band_below
from maquette.encoders import photo
from maquette.encoders.likeness import among_themselves, scores
from maquette.files import write_json
from maquette.world.attributes import random_character, random_scene
from maquette.world.renderer import render

REFERENCES = 3
DRAWS = 1000
OF_ONE_KIND = (("dog", "dog6"), ("cat", "cat2"))
SURE = 0.95
Array = NDArray[Any]

STYLES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "sepia": lambda image: ImageOps.colorize(ImageOps.grayscale(image), (40, 20, 0), (255, 240, 200)),
    "posterised": lambda image: ImageOps.posterize(image, 2),
    "dark": lambda image: image.point(lambda value: value * 0.3),
    "blurred": lambda image: image.resize((512, 512)).filter(ImageFilter.GaussianBlur(6)),
    "painted": lambda image: Image.fromarray(
        cv2.stylization(np.asarray(image.resize((512, 512))), sigma_s=60, sigma_r=0.45)
    ),
    "pixel art": lambda image: image.resize((48, 48), Image.Resampling.BOX).resize(
        (512, 512), Image.Resampling.NEAREST
    ),
    "outlines": lambda image: ImageOps.invert(
        ImageOps.grayscale(image.resize((512, 512)).filter(ImageFilter.FIND_EDGES))
    ).convert("RGB"),
}


@dataclass(frozen=True)
class Pictures:
    """Photographs and whom each shows."""

    images: list[Image.Image]
    subjects: Array

    @property
    def names(self) -> list[str]:
        return sorted(set(self.subjects.tolist()))


@dataclass(frozen=True)
class Judged:
    """Likenesses of pictures to three references of `subject`, and how alike the odd one of these is to the others."""

    subject: str
    other: str
    likeness: float
    least: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = photo.load("photo", "", "cpu")
    shown = _read(arguments.data / "photos")
    rows = _rows(encoder, shown.images)
    judged = _judged(encoder, rows, shown)
    results = [
        *_variants(encoder, shown),
        *_calibrations(judged, shown.names),
        *_zones(encoder, judged),
        *_styles(encoder, shown, rows),
        _small_world(encoder),
        _portraits(encoder, arguments.data / "pixel_portraits"),
    ]
    for row in results:
        print(row)
    now = datetime.now(UTC)
    path = arguments.output / f"identity-{now:%Y-%m-%d}-{len(shown.names)}subjects-cpu.json"
    write_json(
        path,
        {
            "benchmark": "identity",
            "date": f"{now:%Y-%m-%d}",
            "commit": commit(),
            "hardware": hardware("cpu"),
            "load": "other work on the machine; nothing here is a time",
            "software": software(),
            "settings": {
                "subjects": shown.names,
                "pictures": len(shown.images),
                "references": REFERENCES,
                "threshold": encoder.threshold,
                "band": encoder.band,
                "slack": encoder.slack,
                "draws": DRAWS,
            },
            "results": results,
            "conclusion": _conclusion(results),
        },
    )
    print(path)


def _read(folder: Path) -> Pictures:
    paths = sorted(folder.glob("*/*.jpg"))
    images = [Image.open(path).convert("RGB") for path in paths]
    return Pictures(images, np.array([path.parent.name for path in paths]))


def _rows(encoder: photo.Photo, images: Sequence[Image.Image]) -> Array:
    batches = [images[start : start + 16] for start in range(0, len(images), 16)]
    return np.concatenate([encoder.encode([encoder.prepare(image) for image in batch]) for batch in batches])


def _auc(same: Array, other: Array, same_weight: Array | None = None, weight: Array | None = None) -> float:
    """Return how often a true likeness exceeds a false one, ties counting half."""
    one = np.ones(len(same)) if same_weight is None else same_weight
    two = np.ones(len(other)) if weight is None else weight
    order = np.argsort(other)
    sums = np.concatenate([[0.0], np.cumsum(two[order])])
    below, upto = (sums[np.searchsorted(other[order], same, side=side)] for side in ("left", "right"))
    return float((one * (below + upto) / 2).sum() / (one.sum() * two.sum()))


def _pairs_auc(rows: Array, shown: Pictures) -> dict[str, float]:
    """Return the area under the curve over all pairs, with its interval over subjects."""
    first, second = np.triu_indices(len(rows), 1)
    values, names = (rows @ rows.T)[first, second], shown.names
    place = np.array([names.index(subject) for subject in shown.subjects])
    same = place[first] == place[second]
    chance, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        times = chance.multinomial(len(names), [1 / len(names)] * len(names))
        weight = np.where(same, times[place[first]], times[place[first]] * times[place[second]]).astype(float)
        drawn.append(_auc(values[same], values[~same], weight[same], weight[~same]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "auc": round(_auc(values[same], values[~same]), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def _pair_auc(rows: Array, shown: Pictures, names: tuple[str, str]) -> float:
    chosen = np.isin(shown.subjects, names)
    some, subjects = rows[chosen], shown.subjects[chosen]
    first, second = np.triu_indices(len(some), 1)
    same, values = subjects[first] == subjects[second], (some @ some.T)[first, second]
    return round(_auc(values[same], values[~same]), 3)


def _variants(encoder: photo.Photo, shown: Pictures) -> list[dict[str, Any]]:
    """Return each way to read a picture: its side, and features as they are or their square roots."""
    found = []
    for side_px in (224, 256, 288, 320):
        squares = [image.resize((side_px, side_px), Image.Resampling.BICUBIC) for image in shown.images]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in squares])).permute(0, 3, 1, 2)
        with torch.no_grad():
            parts = [
                encoder.network((part.float() - photo.MIDDLE) / photo.SCALE) for part in pixels.split(16)
            ]
        features = torch.cat(parts)
        for reading, values in (("mean features", features), ("square roots", features.sqrt())):
            rows = torch.nn.functional.normalize(values, dim=1).numpy()
            kinds = {f"auc {a} {b}": _pair_auc(rows, shown, (a, b)) for a, b in OF_ONE_KIND}
            is_used = side_px == photo.SIDE_PX and reading == "square roots"
            row = {"reading": reading, "side_px": side_px, "used": is_used, **_pairs_auc(rows, shown)}
            found.append({"what": "all pairs", **row, **kinds})
    return found


def _judged(encoder: photo.Photo, rows: Array, shown: Pictures) -> list[Judged]:
    found = []
    for subject in shown.names:
        own = np.flatnonzero(shown.subjects == subject)
        for chosen in combinations(own.tolist(), REFERENCES):
            least = float(among_themselves(encoder, rows[list(chosen)]).min())
            rest = [index for index in range(len(rows)) if index not in chosen]
            values, _ = scores(encoder.similarity(rows[rest], rows[list(chosen)]))
            found += [
                Judged(subject, str(shown.subjects[index]), float(value), least)
                for index, value in zip(rest, values, strict=True)
            ]
    return found


def _curve(judged: Sequence[Judged]) -> tuple[float, float]:
    """Return steepness and middle of the logistic curve; each subject weighs the same, own and strangers alike."""
    values = np.array([each.likeness for each in judged])
    own = np.array([each.subject == each.other for each in judged])
    subjects = np.array([each.subject for each in judged])
    weight = np.zeros(len(judged))
    for subject in set(subjects.tolist()):
        for side in (own, ~own):
            chosen = (subjects == subject) & side
            weight[chosen] = 1 / chosen.sum()
    design = np.stack([values, np.ones_like(values)], axis=1)
    solution = np.array([20.0, -14.0])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-design @ solution))
        slope = design.T @ (weight * (chance - own)) + np.array([1e-4 * solution[0], 0.0])
        bend = (design * (weight * chance * (1 - chance))[:, None]).T @ design + np.diag([1e-4, 1e-9])
        solution = solution - np.linalg.solve(bend, slope)
    return float(solution[0]), float(-solution[1] / solution[0])


def _calibrations(judged: Sequence[Judged], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the curve's two ends with all subjects, and for each subject those of a curve without it, with what they do."""
    logit = np.log(SURE / (1 - SURE))
    found = []
    for left_out in (None, *names):
        known = [each for each in judged if left_out not in (each.subject, each.other)]
        steep, middle = _curve(known)
        low, high = middle - logit / steep, middle + logit / steep
        row: dict[str, Any] = {
            "what": "calibration",
            "left_out": left_out,
            "surely_another_below": round(float(low), 3),
            "surely_the_subject_from": round(float(high), 3),
        }
        if left_out is not None:
            mine = [each for each in judged if each.subject == left_out]
            row |= _shares([(each, low, high) for each in mine])
        found.append(row)
    return found


def _shares(some: Sequence[tuple[Judged, float, float]]) -> dict[str, Any]:
    """Return which shares of own pictures, strangers and strangers of the same kind are kept, asked about and rejected."""
    kinds = {
        "own": lambda each: each.subject == each.other,
        "strangers": lambda each: each.subject != each.other,
    }
    kinds["of_one_kind"] = lambda each: any({each.subject, each.other} == set(pair) for pair in OF_ONE_KIND)
    found = {}
    for kind, belongs in kinds.items():
        chosen = [(each.likeness, low, high) for each, low, high in some if belongs(each)]
        if chosen:
            values, low, high = np.array(chosen).T
            shares = (values >= high, (values >= low) & (values < high), values < low)
            found[f"{kind}_kept_review_rejected"] = [round(float(share.mean()), 4) for share in shares]
            found[f"{kind}_judgements"] = len(chosen)
    return found


def _zones(encoder: photo.Photo, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return what the shipped threshold does with the encoder's band, and with the band that the references narrow."""
    found = []
    for name in ("the encoder's band", "narrowed by the references"):
        some = []
        for each in judged:
            known = Calibration(similarities=(each.least,) * REFERENCES, proposed=None, below=())
            narrowed = band_below(encoder, known, encoder.threshold)
            band = encoder.band if name == "the encoder's band" else narrowed
            some.append((each, encoder.threshold - band, encoder.threshold))
        found.append({"what": "shipped threshold", "band": name, **_shares(some)})
    return found


def _styles(encoder: photo.Photo, shown: Pictures, rows: Array) -> list[dict[str, Any]]:
    """Return, of photographs turned into other styles, how well they are told by references as they were; and how well the
    style itself is told: pictures of two subjects in one style against those of two subjects in two.
    """
    found = []
    two = shown.subjects[:, None] != shown.subjects[None, :]
    for name, style in STYLES.items():
        styled = _rows(encoder, [style(image) for image in shown.images])
        own, strangers = [], []
        for subject in shown.names:
            mine = np.flatnonzero(shown.subjects == subject)
            for index in range(len(rows)):
                references = mine[mine != index]
                value = float(scores(styled[index : index + 1] @ rows[references].T)[0][0])
                (own if index in mine else strangers).append(value)
        found.append(
            {
                "what": "photographs in another style, references as they were",
                "style": name,
                "auc": round(_auc(np.array(own), np.array(strangers)), 4),
                "own_kept": round(float(np.mean(np.array(own) >= encoder.threshold)), 3),
                "own_rejected": round(float(np.mean(np.array(own) < encoder.threshold - encoder.band)), 3),
                "strangers_kept": round(float(np.mean(np.array(strangers) >= encoder.threshold)), 4),
                "auc_style_itself": round(_auc((styled @ styled.T)[two], (styled @ rows.T)[two]), 3),
            }
        )
    return found


def _small_world(encoder: photo.Photo) -> dict[str, Any]:
    chance = random.Random(3)
    own, strangers = [], []
    for _ in range(6):
        somebody = random_character(chance)
        references = _rows(encoder, [render(somebody, random_scene(chance), 256) for _ in range(8)])
        mine = [render(somebody, random_scene(chance), 256) for _ in range(12)]
        others = [render(random_character(chance), random_scene(chance), 256) for _ in range(12)]
        own += scores(_rows(encoder, mine) @ references.T)[0].tolist()
        strangers += scores(_rows(encoder, others) @ references.T)[0].tolist()
    return {
        "what": "drawings: characters of the small world, eight references",
        "auc": round(_auc(np.array(own), np.array(strangers)), 4),
        "own_kept": round(float(np.mean(np.array(own) >= encoder.threshold)), 3),
        "strangers_kept": round(float(np.mean(np.array(strangers) >= encoder.threshold)), 3),
    }


def _portraits(encoder: photo.Photo, folder: Path) -> dict[str, Any]:
    """Different people in one style: how often one passes for another; and the same portrait, cut and mirrored."""
    images = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*/*.png"))[:100]]
    views = [
        ImageOps.mirror(image.crop((0, 0, int(image.width * 0.85), int(image.height * 0.85))))
        for image in images
    ]
    rows = _rows(encoder, images)
    table = rows @ _rows(encoder, views).T
    apart = ~np.eye(len(images), dtype=bool)
    return {
        "what": "pixel art: portraits of different people in one style",
        "portraits": len(images),
        "strangers_kept": round(float(np.mean((rows @ rows.T)[apart] >= encoder.threshold)), 3),
        "auc_same_portrait_cut_and_mirrored": round(_auc(np.diag(table), table[apart]), 4),
        "found_first": round(float(np.mean(table.argmax(axis=1) == np.arange(len(images)))), 3),
    }


def _conclusion(results: Sequence[dict[str, Any]]) -> str:
    used = next(row for row in results if row.get("used"))
    zones = next(row for row in results if row.get("band") == "narrowed by the references")
    drawn = [row for row in results if row["what"].startswith(("drawings", "pixel"))]
    own, kind = zones["own_kept_review_rejected"], zones["of_one_kind_kept_review_rejected"]
    return (
        f"On photographs all pairs part at AUC {used['auc']} ({used['low']} to {used['high']}); with three references "
        f"{own[0]:.1%} of own pictures are kept and {own[2]:.1%} rejected, of strangers of one kind {kind[0]:.1%} are kept and "
        f"{kind[1]:.1%} left to a person. On drawings the threshold says nothing: strangers pass in "
        f"{' and '.join(format(row['strangers_kept'], '.0%') for row in drawn)} of cases."
    )


if __name__ == "__main__":
    main()
