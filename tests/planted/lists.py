"""Faults and close calls of captions that one file lists, and of what happens to them at each showing."""

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


# --- showings --------------------------------------------------------------------------------------------


@fault("SET031", "a crop around faces beside buckets", start="project")
def face_crop_with_buckets(case: Case) -> None:
    case.edit(case.config, "keep_tokens = 1", "keep_tokens = 1\nface_crop_aug_range = [2.0, 4.0]")


@fault("SET031", "the beginning of a warm-up that nothing asks for, in a dataset TOML", start="toml")
def warm_up_min_alone(case: Case) -> None:
    case.edit(case.toml, "[general]", "[general]\ntoken_warmup_min = 3")


@close_call("SET031", "a warm-up with its beginning", start="project")
def warm_up(case: Case) -> None:
    case.edit(
        case.config, "keep_tokens = 1", "keep_tokens = 1\ntoken_warmup_min = 3\ntoken_warmup_step = 0.1"
    )
