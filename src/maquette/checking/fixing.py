"""Repairs that can be taken back: every file is kept before it changes, and a journal says what belongs where.

ROOT/.maquette-undo/0001/manifest.json     what was changed, by which rule, with hashes before and after
ROOT/.maquette-undo/0001/000 …             the files as they were
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import OutputError, Problem
from maquette.files import replacing, sha256_file, write_atomic, write_json
from maquette.findings.records import Edit, Finding, SetAside, WriteText

UNDO_FOLDER = ".maquette-undo"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Applied:
    """One finding that was repaired."""

    code: str
    summary: str
    paths: tuple[Path, ...]


def apply_fixes(findings: Iterable[Finding], root: Path, *, session: str = "") -> tuple[Applied, ...]:
    """Carry out the repairs of `findings` and return them; those that touch a file already changed are left for later.

    Repairs of one `session` are taken back together. Raises OutputError when something cannot be written; what was
    changed until then can be undone.
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
    folder = _next_folder(root)
    _keep(folder, chosen, session or folder.name)
    for _, edits in chosen:
        for edit in edits:
            _apply(edit)
    return tuple(
        Applied(finding.code, finding.fix.summary if finding.fix else "", tuple(edit.path for edit in edits))
        for finding, edits in chosen
    )


def undo_last(root: Path) -> tuple[Path, ...]:
    """Take back the latest repairs below `root` and return the files that are again as they were.

    Raises OutputError when there is nothing to undo, or a file was changed since by somebody else: then none is touched.
    """
    folders = sorted(
        folder for folder in (root / UNDO_FOLDER).glob("[0-9]*") if (folder / MANIFEST).is_file()
    )
    if not folders:
        raise OutputError(
            Problem(str(root), "nothing to undo", "repairs made by check --fix", "Nothing was changed here.")
        )
    manifests = {folder: json.loads((folder / MANIFEST).read_text(encoding="utf-8")) for folder in folders}
    session = manifests[folders[-1]]["session"]
    together = [folder for folder in reversed(folders) if manifests[folder]["session"] == session]
    problems = _changed_since([entry for folder in together for entry in manifests[folder]["files"]])
    if problems:
        raise OutputError(problems)
    for folder in together:
        for entry in manifests[folder]["files"]:
            _restore(folder, entry)
        shutil.rmtree(folder)
    if not any((root / UNDO_FOLDER).iterdir()):
        (root / UNDO_FOLDER).rmdir()
    restored = [Path(entry["path"]) for folder in together for entry in manifests[folder]["files"]]
    return tuple(dict.fromkeys(restored))


def has_undo(root: Path) -> bool:
    """Whether repairs were made below `root` that can be taken back."""
    return any((root / UNDO_FOLDER).glob(f"[0-9]*/{MANIFEST}"))


def _next_folder(root: Path) -> Path:
    taken = [int(folder.name) for folder in (root / UNDO_FOLDER).glob("[0-9]*") if folder.name.isdigit()]
    return root / UNDO_FOLDER / f"{max(taken, default=0) + 1:04d}"


def _keep(folder: Path, chosen: Sequence[tuple[Finding, tuple[Edit, ...]]], session: str) -> None:
    """Copy every file that will change, then write the manifest: from here on all can be undone."""
    entries: list[dict[str, Any]] = []
    for finding, edits in chosen:
        for edit in edits:
            entries.append(_kept(folder, f"{len(entries):03d}", finding, edit))
    write_json(folder / MANIFEST, {"schema": 1, "session": session, "files": entries})


def _kept(folder: Path, name: str, finding: Finding, edit: Edit) -> dict[str, Any]:
    before = sha256_file(edit.path) if edit.path.exists() else None
    if before is not None:
        with replacing(folder / name) as temporary:
            shutil.copyfile(edit.path, temporary)
    return {
        "path": str(edit.path.absolute()),
        "rule": finding.code,
        "summary": finding.fix.summary if finding.fix else "",
        "kept_as": name if before is not None else None,
        "sha256_before": before,
        "sha256_after": None if isinstance(edit, SetAside) else hashlib.sha256(_content(edit)).hexdigest(),
    }


def _content(edit: Edit) -> bytes:
    if isinstance(edit, WriteText):
        return edit.text.encode("utf-8")
    assert not isinstance(edit, SetAside), "a file set aside has no new content"
    return edit.data


def _apply(edit: Edit) -> None:
    if isinstance(edit, SetAside):
        edit.path.unlink(missing_ok=True)  # its bytes are in the journal
    else:
        write_atomic(edit.path, _content(edit))


def _now(path: Path) -> str | None:
    return sha256_file(path) if path.exists() else None


def _changed_since(entries: Sequence[dict[str, Any]]) -> list[Problem]:
    """Return which files are no longer as the repairs left them; `entries` are those of later repairs first."""
    now: dict[str, str | None] = {}
    problems = []
    for entry in entries:
        path = entry["path"]
        present = now[path] if path in now else _now(Path(path))
        if present not in (entry["sha256_after"], entry["sha256_before"]):
            problems.append(
                Problem(
                    path,
                    "changed since it was repaired",
                    "the file as the repair left it, so that nothing newer is lost",
                    "Move your version elsewhere, or keep it and delete the journal entry.",
                )
            )
        now[path] = entry["sha256_before"]
    return problems


def _restore(folder: Path, entry: dict[str, Any]) -> None:
    path = Path(entry["path"])
    if _now(path) == entry["sha256_before"]:
        return
    if entry["kept_as"] is None:
        path.unlink()
        return
    with replacing(path) as temporary:
        shutil.copyfile(folder / entry["kept_as"], temporary)
