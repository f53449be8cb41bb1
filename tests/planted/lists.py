"""Faults and close calls of captions that one file lists."""

from __future__ import annotations

import json
from pathlib import Path

from tests.planted.case import Case, close_call, fault


def listed(case: Case, pictures: list[Path]) -> None:
    """Put the captions of `pictures` into a metadata.jsonl beside them, and take all caption files away."""
    rows = [
        {"file_name": path.name, "text": path.with_suffix(".txt").read_text(encoding="utf-8")}
        for path in pictures
    ]
    for path in case.pictures:
        path.with_suffix(".txt").unlink()
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (case.pictures[0].parent / "metadata.jsonl").write_text(text, encoding="utf-8")


@fault("CAP037", "a picture that the folder's list does not name", start="project")
def picture_not_listed(case: Case) -> None:
    listed(case, case.pictures[1:])


@close_call("CAP037", "a list that names every picture", start="project")
def all_listed(case: Case) -> None:
    listed(case, case.pictures)


@fault("CAP038", "a list of pictures beside caption files", start="project")
def list_and_files(case: Case) -> None:
    (case.pictures[0].parent / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}\n')


@close_call("CAP038", "a list of pictures without caption files", start="project")
def list_alone(case: Case) -> None:
    listed(case, case.pictures)
