"""What differs between two runs, or a run and a project: settings, captions, pictures, environment.

    difference = compare(side_of(Path("runs/zkw-001")), side_of(Path("runs/zkw-002")))
    difference.settings["lora.rank"].a, difference.captions[0].gone, difference.is_same

Everything comes from the two records (of a project, from its files as they are now); nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import TypeAdapter

from maquette.comparing.captions import CaptionDifference, WordChange, caption_differences, word_changes
from maquette.comparing.listing import RunLine, line_from
from maquette.comparing.matching import Names, Pair, PictureDifference, pairs_of, picture_differences
from maquette.comparing.sides import Side
from maquette.dataset.config import DatasetSource, SubsetOptions, SubsetSource

PLACES = frozenset(
    {
        "model.base",
        "dataset.images",
        "dataset.regularization",
        "dataset.cache_folder",
        "saving.output",
        "saving.name",
        "saving.logging_dir",
        "saving.tracker_run",
    }
)
"""Settings that say where something lies or what it is called: what lies there is compared for itself."""
OF_A_FOLDER = ("num_repeats", "is_regularization", "class_tokens", "caption_extension")
RESULTS = ("state", "step", "loss", "validation", "choice", "verdict", "reason")
SCHEDULE = ("train_items", "regularization_items", "steps_per_epoch", "epochs", "steps")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value on both sides; None where one of them says nothing."""

    a: Any
    b: Any


Changes = Mapping[str, Change]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """All that differs between `a` and `b`; what is the same does not stand here."""

    a: Side
    b: Side
    settings: Changes
    """By `section.key`, typed."""
    captions: tuple[CaptionDifference, ...]
    pictures: tuple[PictureDifference, ...]
    environment: Changes
    places: Changes
    """Names, and paths whose content is compared for itself."""
    schedule: Changes
    """The steps that follow from settings and pictures."""
    results: tuple[RunLine | None, RunLine | None] = (None, None)
    """What came of each, where it is a run: as a list of runs shows it."""
    unknown: tuple[str, ...] = ()
    """What one side does not say, so that it was not compared."""

    @property
    def is_same(self) -> bool:
        """Whether the same was trained, in the same environment."""
        return not (self.settings or self.captions or self.pictures or self.environment)

    @property
    def words(self) -> list[WordChange]:
        """Which words went from how many captions, and came to how many."""
        return word_changes(self.captions)

    def to_json(self) -> dict[str, Any]:
        """Return plain values: in each part the changed items by name, with the values `a` and `b`."""
        return {
            "a": str(self.a.path),
            "b": str(self.b.path),
            "same": self.is_same,
            "settings": _plain(self.settings),
            "captions": {
                each.name: {"a": each.a, "b": each.b, "gone": each.gone, "come": each.come}
                for each in self.captions
            },
            "pictures": {each.name: _picture_json(each) for each in self.pictures},
            "environment": _plain(self.environment),
            "places": _plain(self.places),
            "schedule": _plain(self.schedule),
            "words": [asdict(each) for each in self.words],
            "results": {
                side: {name: getattr(line, name) for name in RESULTS} if line else None
                for side, line in zip("ab", self.results, strict=True)
            },
            "unknown": list(self.unknown),
        }


def compare(a: Side, b: Side) -> Difference:
    """Return what differs between `a` and `b`."""
    without = [side for side in (a, b) if not side.pictures]  # an import that did not find them
    pairs, names = ([] if without else pairs_of(a, b)), Names(a, b)
    flat_a, flat_b = _flat(a.settings), _flat(b.settings)
    changed = dict(_changes(flat_a, flat_b))
    places = {name: change for name, change in changed.items() if _is_place(name, change)}
    settings = {name: change for name, change in changed.items() if name not in places}
    contents, untold = _contents(a, b)
    return Difference(
        a=a,
        b=b,
        settings={**settings, **contents, **dict(_of_folders(a, b, pairs, settings))},
        captions=tuple(caption_differences(pairs, names)),
        pictures=tuple(picture_differences(pairs, names)),
        environment=environment_differences(a.environment, b.environment),
        places=places,
        schedule=dict(_changes(_schedule(a), _schedule(b))) if a.record and b.record else {},
        results=(_line(a), _line(b)),
        unknown=(
            *_unknown(a, b),
            *untold,
            *(f"{side.title}: has no pictures to compare" for side in without),
        ),
    )


def environment_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Change]:
    """Return what differs between two flat environments, of what both say."""
    return {name: change for name, change in _changes(a, b) if name in a and name in b}


# --- settings --------------------------------------------------------------------------------------------


def _flat(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{section}.{name}": value for section, table in tables.items() for name, value in table.items()}


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Change]]:
    for name in {**a, **b}:
        if a.get(name) != b.get(name):
            yield name, Change(a=a.get(name), b=b.get(name))


def _is_place(name: str, change: Change) -> bool:
    """Return whether only a name or a place changed; a folder that one side does not have at all is more than that."""
    is_nothing = change.a is None or change.b is None
    return name in PLACES and not (is_nothing and name == "dataset.regularization")


def _contents(a: Side, b: Side) -> tuple[dict[str, Change], list[str]]:
    """Return the files whose content differs, base first; and in words those of which one side says no content."""
    changed: dict[str, Change] = {}
    base_a, base_b = a.files.get("model.base"), b.files.get("model.base")
    untold = []
    if base_a and base_b:
        if base_a != base_b:
            changed["model.base"] = Change(a=f"sha256:{base_a}", b=f"sha256:{base_b}")
    elif _base(a) != _base(b):
        changed["model.base"] = Change(a=_base(a), b=_base(b))
    else:
        untold.append("the content of the base: one side does not record its hash")
    loras_a, loras_b = _loras(a), _loras(b)
    for path in loras_a.keys() & loras_b.keys():
        if loras_a[path] != loras_b[path]:
            changed[f"content of {path}"] = Change(a=f"sha256:{loras_a[path]}", b=f"sha256:{loras_b[path]}")
    return changed, untold


def _base(side: Side) -> Any:
    return side.settings.get("model", {}).get("base")


def _loras(side: Side) -> dict[str, str]:
    return {path: sha256 for path, sha256 in side.files.items() if path != "model.base"}


def _of_folders(a: Side, b: Side, pairs: Iterable[Pair], settings: Changes) -> Iterator[tuple[str, Change]]:
    """Yield how folders and tables that hold the same pictures are shown otherwise, where no setting says it already."""
    told = {name.partition(".")[2]: change for name, change in settings.items()}
    counts = Counter((pair.a.subset, pair.b.subset) for pair in pairs if pair.a and pair.b)
    for (left, right), _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        one, other = a.subsets[left], b.subsets[right]
        for name, change in _changes(_of_subset(one), _of_subset(other)):
            if told.get("repeats" if name == "num_repeats" else name) != change:
                label = one.name if one.name == other.name else f"{one.name} → {other.name}"
                yield f"dataset.{label}.{name}", change
    for number, (first, second) in enumerate(zip(a.tables, b.tables, strict=False), 1):
        for name, change in _changes(_of_table(first), _of_table(second)):
            yield f"dataset.table {number}.{name}", change


def _of_subset(subset: SubsetSource) -> dict[str, Any]:
    options: dict[str, Any] = TypeAdapter(SubsetOptions).dump_python(subset.options, mode="json")
    for name in (
        "num_repeats",
        "caption_extension",
        "mask_folder",
    ):  # the first two stand in the folder itself
        options.pop(name, None)
    return {**{name: getattr(subset, name) for name in OF_A_FOLDER}, **options}


def _of_table(table: DatasetSource) -> dict[str, Any]:
    return {each.name: getattr(table, each.name) for each in fields(table)}


# --- the rest --------------------------------------------------------------------------------------------


def _schedule(side: Side) -> dict[str, Any]:
    assert side.record is not None
    return {name: getattr(side.record.schedule, name) for name in SCHEDULE}


def _line(side: Side) -> RunLine | None:
    return line_from(side.path, side.record) if side.record else None


def _unknown(a: Side, b: Side) -> Iterator[str]:
    for side in (a, b):
        for what in side.unknown:
            yield f"{side.title}: {what}"


def _plain(changes: Changes) -> dict[str, Any]:
    return {name: {"a": change.a, "b": change.b} for name, change in changes.items()}


def _picture_json(each: PictureDifference) -> dict[str, Any]:
    told = {"change": each.change, "a": each.a, "b": each.b}
    return {**told, "caption": each.caption} if each.change in ("added", "removed") else told
