"""The text of a `profile.toml`, written for a person to read, fill in and change."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from maquette.project.profile import Detail, Form, Profile

WIDTH = 100
"""Characters of a line before a list is broken over several."""


def profile_toml(profile: Profile, folder: Path | None = None, remarks: Iterable[str] = ()) -> str:
    """Return `profile` as commented TOML that reads back as the same profile.

    References become relative to `folder`, where the file will lie. `remarks` stand at the top, a line each.
    """
    remarks = [" ".join(line.split()) for line in (*profile.notes, *remarks)]
    parts = [
        _HEAD,
        "".join(f"# {line}\n" for line in remarks) + ("\n" if remarks else ""),
        _subject(profile),
        _looks(profile),
        _surroundings(profile, folder),
        _details(profile.details),
        *(_form(form) for form in profile.forms),
        "" if profile.forms else _FORM_EXAMPLE,
    ]
    return "".join(parts).rstrip() + "\n"


_HEAD = """\
# The subject: who or what the LoRA learns. Captioning, checks and curation read it.
# What each key changes is told on the page `profile` of the documentation.

"""
_DETAILS_HEAD = """
# What it has on one side only, one [[details]] each. Sides are the subject's own, not the viewer's. These stay in the
# captions, since nothing else tells the model left from right; `views` are those in which it can be seen (front,
# three quarter, side, back; leave out: all). Mirrored pictures are an error as soon as one stands here.
"""
_DETAIL_EXAMPLE = """\
# [[details]]
# name = "red fingerless glove"
# side = "right"
# part = "arm"
# views = ["front", "three quarter"]
"""
_FORM_EXAMPLE = """
# Another shape of the same subject with a trigger of its own, e.g. out of costume.
# [[forms]]
# name = "sea monster"
# trigger = "zkw_sea"
# appearance = ["green scales"]
"""


def _subject(profile: Profile) -> str:
    return f"""\
# character, person, object or style: decides what captions should say and which checks run.
kind = {_text(profile.kind)}
# The invented word that means the subject; first in every caption and in every prompt. A style needs none beside its words.
trigger = {_text(profile.trigger)}
# The ordinary word for it: man, dog, anime character.
class_word = {_text(profile.class_word)}

"""


def _looks(profile: Profile) -> str:
    return f"""\
# What always belongs to it: ["ginger hair", "green eyes"]. The trigger carries it, so captions leave it out.
appearance = {_list(profile.appearance)}
# What changes from picture to picture; captions say it.
varies = {_list(profile.varies)}
# For kind "style": the words that every caption begins with.
style = {_list(profile.style)}

"""


def _surroundings(profile: Profile, folder: Path | None) -> str:
    home = folder or (profile.source.parent if profile.source else None)
    return f"""\
# Pictures, or folders of them, that show who it is (relative to this file). Curation compares with them: take several
# good ones of different views.
references = {_list(_relative(path, home) for path in profile.references)}
# Its colours as "#rrggbb", for sets of few colours such as pixel art; empty: unknown.
palette = {_list(profile.palette)}
"""


def _details(details: tuple[Detail, ...]) -> str:
    written = "".join(_detail(detail, "details") for detail in details)
    return _DETAILS_HEAD + (written or _DETAIL_EXAMPLE)


def _detail(detail: Detail, table: str) -> str:
    lines = [f"[[{table}]]", f"name = {_text(detail.name)}", f"side = {_text(detail.side)}"]
    if detail.part:
        lines.append(f"part = {_text(detail.part)}")
    if detail.views:
        lines.append(f"views = {_list(detail.views)}")
    return "\n".join(lines) + "\n\n"


def _form(form: Form) -> str:
    lines = ["\n[[forms]]", f"name = {_text(form.name)}", f"trigger = {_text(form.trigger)}"]
    if form.appearance:
        lines.append(f"appearance = {_list(form.appearance)}")
    return "\n".join(lines) + "\n" + "".join(_detail(each, "forms.details") for each in form.details)


def _text(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Iterable[str]) -> str:
    texts = [_text(value) for value in values]
    line = f"[{', '.join(texts)}]"
    return line if len(line) <= WIDTH else "[\n" + "".join(f"    {text},\n" for text in texts) + "]"


def _relative(path: Path, folder: Path | None) -> str:
    """Return `path` relative to `folder` where it lies within or beside it, so that both can move together."""
    if folder is not None and path.is_relative_to(folder.resolve().parent):
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    return path.as_posix()
