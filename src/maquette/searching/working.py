"""Training what a study hands out: the same whether one process searches or several do, on one machine or on many."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.events import Message, Stage
from maquette.locking import holder_of
from maquette.searching.basis import Basis
from maquette.searching.director import SearchDirector
from maquette.searching.keeping import Keeper, patiently
from maquette.searching.leased import LeasedDirector
from maquette.searching.leases import Leases, Seen, Worker
from maquette.searching.opening import known_url
from maquette.searching.sharing import SharedFiles
from maquette.searching.storage import engine_of, open_storage
from maquette.searching.study import SearchStudy
from maquette.stopping import Stop

if TYPE_CHECKING:
    from maquette.training.prepare import Judge

LITTLE_PATIENCE_S = 30.0
HASH_LETTERS = 16
HEADER_BYTES = 1 << 16
"""So much of a base tells it from others: names, shapes and sizes of its tensors, and where each lies."""


class Results(Protocol):
    """Who writes down what a study says, and tells it."""

    folder: Path

    def changed(self) -> None: ...

    def told(self) -> Stage[None]: ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """How a process trains."""

    judge: Judge
    places: int
    """Trials at once."""
    files: Path | None = None
    """A folder that all workers reach, where they share no disk."""
    stop: Stop | None = None


def leases_of(study: SearchStudy, url: str) -> Leases:
    """Return the leases of a study; from now on it proposes alone and counts the time of all its workers.

    Raises ConfigError where this worker trains something else than the others do, or could not share its database with them.
    """
    worker = Worker(sameness=sameness_of(study.basis))
    leases = Leases(engine_of(open_storage(url)), study.plan.study, worker=worker)
    others = leases.workers()
    _require_same(worker, others)
    _require_one_machine(leases, others)
    study.alone = leases.alone
    study.at_work = lambda: patiently(leases.seconds_at_work, LITTLE_PATIENCE_S)
    return leases


def worked(study: SearchStudy, leases: Leases, results: Results, work: Work) -> Stage[tuple[int, ...]]:
    """Train until the study is over; return the numbers of the trials that ended here.

    Trials that other workers left behind are gone on with first; where there is nothing to train it is waited for those that
    others have.
    """
    yield from _told_of_others(leases)
    shared = SharedFiles(work.files / study.plan.study, results.folder) if work.files else None
    with Keeper(leases) as keeper:
        director = LeasedDirector(_director(study, results), keeper, shared)
        results.changed()
        try:
            yield from director.awaited(work.stop)
            while director.has_more:
                yield from _packed(study, director, results, work)
                yield from director.awaited(work.stop)
        finally:
            director.hand_back()
    return tuple(director.ended)


def who_is_there(url: str, study: str) -> list[Seen]:
    """Return everybody who took part in a study. Raises ConfigError where its database cannot be asked."""
    return Leases(engine_of(open_storage(url)), study).workers()


def is_at_work(folder: Path) -> bool:
    """Return whether anybody searches the study in `folder`, here or, as far as its database is known, elsewhere."""
    if holder_of(folder) is not None:
        return True
    try:
        seen = who_is_there(known_url(folder), folder.name)
    except MaquetteError:
        return False
    return any(each.is_there for each in seen)


def sameness_of(basis: Basis) -> str:
    """Return what must be alike wherever a study is trained: its pictures with their captions and masks, its base."""
    pictures = sorted(
        f"{each.sha256} {each.caption} {each.mask_sha256} {each.subset.num_repeats}"
        for each in (*basis.dataset.pictures, *basis.measured)
    )
    return f"pictures={_hash(repr(pictures).encode())} base={_hash(_base_header(Path(basis.info.path)))}"


def _director(study: SearchStudy, results: Results) -> SearchDirector:
    from maquette.searching.judging import judged

    judge = judged if study.plan.objective == "score" else None
    return SearchDirector(study, results.folder, changed=results.changed, judge=judge)


def _packed(study: SearchStudy, director: LeasedDirector, results: Results, work: Work) -> Stage[None]:
    from maquette.training.pack import run_pack

    said = {each.text for each in study.basis.messages}
    pack = run_pack(study.basis.settings, director, places=work.places, judge=work.judge, stop=work.stop)
    with closing(pack) as stage:
        for event in stage:
            if isinstance(event, Message) and event.level == "warning" and event.text not in said:
                said.add(event.text)
                yield event
            yield from (Message(text, "warning") for text in director.take_told())
            yield from results.told()
    yield from results.told()


def _told_of_others(leases: Leases) -> Stage[None]:
    others = [each for each in leases.workers() if each.is_there]
    if others:
        named = ", ".join(map(str, others))
        yield Message(f"Others search along: {named}.")
    unlike = sorted({each.version for each in others} - {leases.worker.version})
    if unlike:
        told = f"Others run Maquette {', '.join(unlike)}, this is {leases.worker.version}"
        text = f"{told}: a trial that changes hands may come to something else."
        yield Message(text, "warning")


def _require_same(worker: Worker, others: list[Seen]) -> None:
    first = next((each for each in others if each.sameness), None)
    if first is None or first.sameness == worker.sameness:
        return
    own = dict(part.partition("=")[::2] for part in worker.sameness.split())
    theirs = dict(part.partition("=")[::2] for part in first.sameness.split())
    unlike = " and ".join(name for name in own if own[name] != theirs.get(name))
    raise ConfigError(
        Problem(
            "maquette search",
            f"{unlike or 'something'} here is not what {first} searches with",
            "the same project on every machine: pictures, captions, masks and base",
            "Copy the project again (docs/search-workers.md).",
        )
    )


def _require_one_machine(leases: Leases, others: list[Seen]) -> None:
    elsewhere = next((each for each in others if each.is_there and each.host != leases.worker.host), None)
    if elsewhere is None or leases.engine.dialect.name != "sqlite":
        return
    raise ConfigError(
        Problem(
            "--storage",
            f"SQLite, which {elsewhere} uses",
            "PostgreSQL for workers on several machines: SQLite's locks do not reach across a network disk",
            "Begin the search with --storage postgresql://USER@HOST/NAME.",
        )
    )


def _base_header(path: Path) -> bytes:
    """Return the beginning of a base's file, or of the first file of its folder."""
    if path.is_dir():
        path = min((each for each in path.rglob("*.safetensors")), default=path)
    try:
        with path.open("rb") as file:
            return str(path.stat().st_size).encode() + file.read(HEADER_BYTES)
    except OSError:
        return str(path).encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:HASH_LETTERS]
