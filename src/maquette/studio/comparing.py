"""What the Compare page shows of two runs: what was changed from one to the other, and what each came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from maquette.choosing.options import CompareRunsOptions
from maquette.comparing.diff import Changes, Difference
from maquette.comparing.matching import PictureDifference
from maquette.errors import MaquetteError
from maquette.events import run_stage
from maquette.files import sha256_file
from maquette.measuring.statistics import Estimate
from maquette.runs.folder import RunFolder
from maquette.runs.notes import amended, read_notes, standing_of
from maquette.studio.runs import curve_of, losses_of, run_of, validation_of
from maquette.studio.workspace import Project, Workspace

if TYPE_CHECKING:
    from maquette.choosing.compare import Compared, Comparison

MOST_PICTURES = 200
"""That are looked at for their content; what is beyond has no picture, but its name."""
Which = Literal["a", "b"]


@dataclass(frozen=True, kw_only=True)
class Named:
    """A run of an opened project, as an address names it: NAME, of another project KEY/NAME."""

    project: Project
    place: Path
    ref: str

    @property
    def name(self) -> str:
        return self.place.name

    def address(self, path: Path, size_px: int = 1024) -> str:
        """Return where the page finds a picture of the run."""
        below = path.relative_to(self.place).as_posix()
        return f"/api/p/{self.project.key}/use/{quote(self.name)}/picture/{size_px}/{quote(below)}"


def named(workspace: Workspace, project: Project, ref: str) -> Named:
    """Return the run that `ref` names on a page of `project`. Raises NotFound."""
    key, _, name = ref.rpartition("/")
    owner = workspace.project(key) if key else project
    return Named(project=owner, place=run_of(owner, name), ref=ref)


def compared(a: Named, b: Named) -> dict[str, Any]:
    """Return all that the page shows of the two, as plain JSON values. Raises MaquetteError."""
    from maquette.choosing.compare import compare_events, pictures_of

    found = run_stage(compare_events([a.place, b.place], CompareRunsOptions()))
    [change] = found.changes
    shown = _Pictures(a, b)
    return {
        "runs": [_run(each, run) for each, run in zip((a, b), found.runs, strict=True)],
        "same": change.is_same,
        **_changed(change, shown),
        "scores": _scores(found),
        "drawings": [
            {
                "prompt": row.prompt,
                "seed": row.seed,
                **{
                    side: None if path is None else each.address(path)
                    for side, each, path in zip("ab", (a, b), row.paths, strict=True)
                },
            }
            for row in pictures_of(found.runs)
        ],
        "notes": [note for note in found.notes if "was not evaluated" not in note],
    }


def notebook(place: Path) -> dict[str, Any]:
    """Return the notes of a run, and where it stands by them."""
    notes = read_notes(RunFolder(place))
    gone, standing = amended(notes), standing_of(notes)
    return {
        "verdict": standing.verdict,
        "notes": [
            {"number": number, **asdict(each), "amended": number in gone}
            for number, each in enumerate(notes, 1)
        ],
    }


def _run(each: Named, run: Compared) -> dict[str, Any]:
    from maquette.choosing.compare import facts_of

    choice = run.choice
    return {
        "ref": each.ref,
        "key": each.project.key,
        "project": each.project.name,
        "name": each.name,
        "state": run.record.state,
        "facts": [list(row) for row in facts_of(run)],
        "judged": run.judged is not None,
        "command": f"maquette select {run.path}",
        "suspicions": [asdict(suspicion) for suspicion in choice.suspicions] if choice else [],
        "curve": curve_of(losses_of(each.place)),
        "validation": validation_of(run.record),
        **notebook(each.place),
    }


# --- what was changed ---------------------------------------------------------------------------------------


def _changed(change: Difference, shown: _Pictures) -> dict[str, Any]:
    return {
        "settings": _rows(change.settings),
        "environment": _rows(change.environment),
        "places": _rows(change.places),
        "schedule": _rows(change.schedule),
        "captions": [
            {
                "name": each.name,
                "pieces": [list(piece) for piece in each.pieces],
                "picture": shown.of("b", each.path) or shown.of("a", each.path),
            }
            for each in change.captions
        ],
        "words": [asdict(each) for each in change.words],
        "pictures": [
            {
                "name": each.name,
                "change": each.change,
                "caption": each.caption,
                "from": each.a if each.change == "renamed" else None,
                **shown.both(each),
            }
            for each in change.pictures
        ],
        "unknown": list(change.unknown),
    }


def _rows(changes: Changes) -> list[dict[str, Any]]:
    return [{"name": name, "a": change.a, "b": change.b} for name, change in changes.items()]


class _Pictures:
    """Where the page finds the pictures of both runs, as far as what they trained on still lies there."""

    def __init__(self, a: Named, b: Named) -> None:
        self._sides: Mapping[str, Named] = {"a": a, "b": b}
        self._left = MOST_PICTURES

    def both(self, each: PictureDifference) -> dict[str, str | None]:
        """Return a picture's addresses; a mask and a renamed picture have none of their own."""
        if each.change not in ("added", "removed", "changed"):
            return {"a": None, "b": None}
        return {
            "a": self.of("a", each.path_a, each.a) if each.a else None,
            "b": self.of("b", each.path_b, each.b) if each.b else None,
        }

    def of(self, which: Which, path: str, sha256: str = "") -> str | None:
        """Return the address of a recorded picture; None where it is gone, or holds something else than `sha256` by now."""
        project = self._sides[which].project
        try:
            below = project.pictures
        except MaquetteError:
            return None
        recorded = Path(path)
        for place in (recorded, below / recorded.name):
            if (name := _below(place, below)) and (not sha256 or self._holds(below / name, sha256)):
                return f"/api/p/{project.key}/thumbnail/192/{quote(name)}"
        return None

    def _holds(self, path: Path, sha256: str) -> bool:
        self._left -= 1
        try:
            return self._left >= 0 and sha256_file(path) == sha256
        except OSError:
            return False


def _below(path: Path, folder: Path) -> str:
    """Return the name of a file below `folder`, links resolved; empty for any other."""
    try:
        found = path.resolve()
        return (
            found.relative_to(folder).as_posix() if found.is_file() and found.is_relative_to(folder) else ""
        )
    except (OSError, ValueError):
        return ""


# --- what each came to --------------------------------------------------------------------------------------


def _scores(found: Comparison) -> list[dict[str, Any]]:
    from maquette.choosing.compare import difference_of

    one, other = found.runs
    rows = []
    for name, title in found.titles.items():
        change = difference_of(one, other, name)
        rows.append(
            {
                "name": name,
                "title": title,
                "a": _estimate(one.scores.get(name)),
                "b": _estimate(other.scores.get(name)),
                "difference": _estimate(change),
                "is_clear": change is not None and change.shows_difference_from(0.0),
            }
        )
    return rows


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {"value": estimate.mean, "low": estimate.low, "high": estimate.high}
