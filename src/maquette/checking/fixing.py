"""Repairs, written through the journal: whatever is done can be taken back to the last byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from maquette.errors import DatasetError, Problem
from maquette.findings.records import Edit, Finding, SetAside, WriteText
from maquette.locking import held
from maquette.project.journal import Journal, Recorder

KIND = "repairs"


@dataclass(frozen=True)
class Applied:
    """One finding that was repaired."""

    code: str
    summary: str
    paths: tuple[Path, ...]


def apply_fixes(
    findings: Iterable[Finding],
    root: Path,
    *,
    session: str = "",
    on_trouble: Callable[[Problem], object] | None = None,
) -> tuple[Applied, ...]:
    """Carry out the repairs of `findings` and return them; those that touch a file already changed are left for later.

    on_trouble: told of a file whose repair cannot be made, while the others are repaired all the same; without it,
    DatasetError is raised.

    Repairs of one `session` are taken back together, those of files outside `root` too, which their own folders' journals
    note. Raises OutputError when something cannot be written; what was changed until then can be undone.
    """
    chosen: list[tuple[Finding, tuple[Edit, ...]]] = []
    touched: set[Path] = set()
    for finding in findings:
        edits = finding.fix.edits if finding.fix else ()
        paths = {edit.path for edit in edits}
        if edits and not paths & touched:
            chosen.append((finding, edits))
            touched |= paths
    if not chosen:
        return ()
    recorders = _recorders(root, touched, session or uuid4().hex)
    applied = []
    with held(*(folder for folder in recorders if folder != root.absolute()), what="check --fix"):
        for finding, edits in chosen:
            if done := _repaired(finding, edits, recorders, root, on_trouble):
                applied.append(Applied(finding.code, finding.fix.summary if finding.fix else "", tuple(done)))
    return tuple(applied)


def _repaired(
    finding: Finding,
    edits: Iterable[Edit],
    recorders: Mapping[Path, Recorder],
    root: Path,
    on_trouble: Callable[[Problem], object] | None,
) -> list[Path]:
    """Carry out one repair and return the files that it changed."""
    done: list[Path] = []
    troubles: list[Problem] = []
    for edit in edits:
        if troubles and isinstance(edit, SetAside):
            continue  # what was to take its place may not be there
        try:
            _apply(edit, recorders[_folder_of(edit.path, root)], finding)
            done.append(edit.path)
        except DatasetError as error:
            if on_trouble is None:
                raise
            troubles += error.problems
    for problem in troubles:
        assert on_trouble is not None
        on_trouble(problem)
    return done


def _recorders(root: Path, paths: Iterable[Path], session: str) -> Mapping[Path, Recorder]:
    """Return the recorder of every folder that a repair touches; that of `root` knows of the others."""
    folders = list(dict.fromkeys([root.absolute(), *(_folder_of(path, root) for path in sorted(paths))]))
    recorders = {
        folder: Journal(folder).begin(
            KIND,
            "check --fix",
            policy="together",
            session=session,
            elsewhere=[other for other in folders if other != folder],
        )
        for folder in folders
    }
    if len(folders) > 1:
        recorders[root.absolute()].open()
    return recorders


def _folder_of(path: Path, root: Path) -> Path:
    """Return the folder whose journal notes a change of `path`."""
    return root.absolute() if path.absolute().is_relative_to(root.absolute()) else path.absolute().parent


def _apply(edit: Edit, recorder: Recorder, finding: Finding) -> None:
    note = f"{finding.code} {finding.fix.summary if finding.fix else ''}".strip()
    if isinstance(edit, SetAside):
        recorder.remove(edit.path, note=note)
    else:
        recorder.write(edit.path, _content(edit), note=note)


def _content(edit: Edit) -> bytes:
    if isinstance(edit, WriteText):
        return edit.text.encode("utf-8")
    assert not isinstance(edit, SetAside), "a file set aside has no new content"
    return edit.data
