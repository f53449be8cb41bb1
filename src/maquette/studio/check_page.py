"""The Check page: what the rules find in a project, why it matters, and its repair, shown before it is made and taken back after.

Findings, repairs and their undoing are those of `maquette check`, into the same journal.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.captioning.words_diff import word_pieces
from maquette.checking.fixing import KIND
from maquette.checking.options import CheckOptions
from maquette.checking.run import check_events, undo
from maquette.curating.listing import list_heap
from maquette.dataset.opening import has_alpha, opened
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.events import Message, run_stage
from maquette.findings.records import SEVERITIES, Edit, Finding, SetAside, WriteText
from maquette.findings.registry import PAGE_PARTS, Rule
from maquette.planning.trying import setting_in
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.noted import Noted
from maquette.project.settings_edit import edit_settings
from maquette.project.undoing import changes_at
from maquette.rules.catalogue import GROUPS, all_rules
from maquette.rules.explain import REPAIRS, TITLES
from maquette.spoken import counted, duration
from maquette.studio.asking import answering, body_of, project_of, studio_of
from maquette.studio.pages import page
from maquette.studio.workspace import Project

MOST_PICTURES = 12
"""Of one finding that are shown; the rest is counted."""
MOST_PREVIEWED = 40
"""Edits that a preview shows one by one."""
PREVIEW_PX = 192


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/check", show),
        Route("/api/p/{project}/check", told),
        Route("/api/p/{project}/check", answering(begun), methods=["POST"]),
        Route("/api/p/{project}/preview-repair", answering(previewed), methods=["POST"]),
        Route("/api/p/{project}/repair", answering(repaired), methods=["POST"]),
        Route("/api/p/{project}/undo-repair", answering(undone), methods=["POST"]),
        Route("/api/p/{project}/silence", answering(silenced), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page; what was found comes by itself."""
    project = project_of(request)
    return page(request, "check.html.jinja", title="Check", project=project, here="check")


def told(request: Request) -> Response:
    """Return what the last check found, whether it still holds, and how far the one at work is."""
    project = project_of(request)
    return JSONResponse(state_of(project, studio_of(request).checks.state(project.root).to_json()))


def begun(request: Request, data: bytes) -> dict[str, Any]:
    """Begin a check, unless one is at work."""
    project = project_of(request)
    body_of(data)
    return studio_of(request).checks.begin(project.root).to_json()


def state_of(project: Project, running: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page's state: the work, the last result, what can be taken back, what is silenced."""
    recalled = None if running["running"] else Noted(project.root, "check").recall()
    ignored = _ignored(project)
    return {
        **running,
        "result": None
        if recalled is None
        else {**_result(project, recalled.value), "at": recalled.at, "is_fresh": recalled.is_fresh},
        "undo": _undoable(project),
        "silenced": [{"code": name, "name": _title(name)} for name in ignored],
        "price": _price(recalled.value) if recalled is not None else "",
        "command": f"maquette check {project.root}",
    }


def _result(project: Project, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kept result as the page has it: grouped by severity, then by rule."""
    names = _Names(project)
    rules = all_rules()
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for finding, key, touched in zip(value["findings"], value["keys"], value["touched"], strict=True):
        code = finding["code"]
        if code not in rules:
            continue  # found by another release; its mark tells that it no longer holds
        group = groups.setdefault(
            (finding["severity"], code), {"severity": finding["severity"], "code": code, "findings": []}
        )
        pictures = names.of(finding, touched)
        group["findings"].append(
            {
                "key": key,
                "where": names.where(finding),
                "message": finding["message"],
                "remedy": finding["remedy"],
                "fix": finding["fix"],
                "setting": _setting(finding),
                "pictures": pictures[:MOST_PICTURES],
                "more": max(0, len(pictures) - MOST_PICTURES),
            }
        )
    found = sorted(groups.values(), key=lambda group: (SEVERITIES.index(group["severity"]), group["code"]))
    shown = {group["code"] for group in found}
    counts = {name: value[name] for name in ("errors", "warnings", "hints", "pictures", "looked_at", "notes")}
    return {
        **counts,
        "rules_run": len(value["rules_run"]),
        "seconds": value["seconds"],
        "groups": found,
        "rules": {code: _rule(rules[code]) for code in sorted(shown)},
    }


def _setting(finding: Mapping[str, Any]) -> str:
    """Return the setting that a finding about the project's settings names; the page of the plan has its field."""
    is_about_settings = finding["path"] is not None and Path(finding["path"]).name == CONFIG_NAME
    return setting_in(finding["place"]) if is_about_settings else ""


def _rule(rule: Rule) -> dict[str, Any]:
    """Return a rule's page."""
    return {
        "code": rule.code,
        "name": rule.name.replace("-", " "),
        "group": GROUPS.get(rule.group, rule.group),
        "summary": rule.summary,
        "parts": [
            {"title": TITLES[part], "text": rule.parts[part]} for part in PAGE_PARTS if part in rule.parts
        ],
        "repair": REPAIRS[rule.repair],
    }


class _Names:
    """Which of the project's pictures a finding is about."""

    def __init__(self, project: Project) -> None:
        self._root = project.root
        self._folder: Path | None = None
        self._pictures: dict[str, str] = {}
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, str] = {}
        try:
            self._folder = project.pictures
            names = list_heap(self._folder).names
        except MaquetteError:
            return  # what is wrong with the folder is a finding of its own
        for name in names:
            self._pictures[str(self._folder / name)] = name
            self._by_name[Path(name).name] = name
            self._by_stem[str((self._folder / name).with_suffix(""))] = name

    def of(self, finding: Mapping[str, Any], touched: Iterable[str]) -> list[str]:
        """Return the pictures of a finding: its own, those its words name, those its repair would change."""
        found = [self._picture(path) for path in (finding["path"], *touched) if path]
        words = finding["message"].replace(",", " ").replace("(", " ").replace(")", " ").split()
        found += [self._by_name.get(word.strip("'\":;.")) for word in words]
        return list(dict.fromkeys(name for name in found if name))

    def _picture(self, path: str) -> str | None:
        return self._pictures.get(path) or self._by_stem.get(str(Path(path).with_suffix("")))

    def where(self, finding: Mapping[str, Any]) -> str:
        """Return the place of a finding, from the project's folder or that of its pictures."""
        path = finding["path"]
        if path is None:
            return finding["place"] or "this machine"
        shown = path
        for folder in (self._folder, self._root):
            if folder is not None and Path(path).is_relative_to(folder):
                below = Path(path).relative_to(folder).as_posix()
                shown = below if below != "." else Path(path).name
                break
        return ": ".join(part for part in (shown, finding["place"]) if part)


def _price(value: Mapping[str, Any]) -> str:
    """Return what a check of this project took last time."""
    return f"about {duration(max(1.0, value['seconds']))}"


# --- repairs ---------------------------------------------------------------------------------------------


def previewed(request: Request, data: bytes) -> dict[str, Any]:
    """Return what the repairs of findings would change, file by file, without changing anything."""
    project = project_of(request)
    keys = _keys(data)
    findings = _asked(project, keys)
    names = _Names(project)
    edits = [(finding, edit) for finding in findings if finding.fix for edit in finding.fix.edits]
    shown = [_preview(edit, names) for _, edit in edits[:MOST_PREVIEWED]]
    return {
        "summaries": list(dict.fromkeys(finding.fix.summary for finding in findings if finding.fix)),
        "decides": any(finding.repair == "decides" for finding in findings),
        "edits": shown,
        "files": len({edit.path for _, edit in edits}),
        "more": len(edits) - len(shown),
        "gone": len(keys) - len(findings),
    }


def _asked(project: Project, keys: Collection[str]) -> list[Finding]:
    """Return the findings of these keys as they are now."""
    recalled = Noted(project.root, "check").recall()
    known = (
        {} if recalled is None else dict(zip(recalled.value["keys"], recalled.value["findings"], strict=True))
    )
    codes = tuple(sorted({known[key]["code"] for key in keys if key in known}))
    if not codes:
        raise ConfigError(
            Problem("repair", "findings of an older check", "findings of this one", "Check again.")
        )
    found = run_stage(check_events([project.root], CheckOptions(select=codes))).findings
    return [finding for finding in found if finding.key in keys]


def _preview(edit: Edit, names: _Names) -> dict[str, Any]:
    where = names.where({"path": str(edit.path), "place": ""})
    if isinstance(edit, SetAside):
        return {"kind": "aside", "name": where}
    if isinstance(edit, WriteText):
        before = edit.path.read_bytes().decode("utf-8", "replace") if edit.path.is_file() else ""
        return {"kind": "text", "name": where, "pieces": list(word_pieces(before, edit.text))}
    try:
        return {
            "kind": "picture",
            "name": where,
            "before": _small(edit.path),
            "after": _small(edit.path, edit.data),
        }
    except (MaquetteError, OSError) as error:
        return {"kind": "unable", "name": where, "why": str(error)}


def _small(path: Path, data: bytes | None = None) -> str:
    """Return a small version of a picture as it stands in the file, or in the bytes that it will have, as a data address.

    Empty where there is no file. What EXIF data ask viewers to turn is not turned: training sees it so.
    """
    if data is None and not path.is_file():
        return ""
    with opened(path, data) as image:
        image.thumbnail((PREVIEW_PX, PREVIEW_PX))
        buffer = io.BytesIO()
        small = image.convert("RGBA" if has_alpha(image) else "RGB")
    small.save(buffer, "WEBP", quality=80, method=2)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def repaired(request: Request, data: bytes) -> dict[str, Any]:
    """Carry out the repairs of findings that are still there, and look again."""
    project = project_of(request)
    keys = _keys(data)
    troubles: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message) and event.level == "warning" and event.text.startswith("not repaired"):
            troubles.append(event.text)

    done = run_stage(check_events([project.root], CheckOptions(fix=True), only=frozenset(keys)), hear)
    studio_of(request).checks.begin(project.root)
    files = {path for each in done.fixed for path in each.paths}
    return {
        "repaired": len(done.fixed),
        "files": len(files),
        "troubles": troubles,
        "undo": _undoable(project),
    }


def undone(request: Request, data: bytes) -> dict[str, Any]:
    """Take the latest repairs back."""
    project = project_of(request)
    body_of(data)
    restored = undo([project.root])
    studio_of(request).checks.begin(project.root)
    return {
        "files": len(restored),
        "told": f"{counted(len(restored), 'file')} as before",
        "undo": _undoable(project),
    }


def silenced(request: Request, data: bytes) -> dict[str, Any]:
    """Let the project no longer hear a rule, or hear it again: `ignore_rules` in its settings."""
    project = project_of(request)
    given = body_of(data, code=str, hear=bool)
    code, ignored = given["code"], _ignored(project)
    if code not in all_rules() and code not in ignored:
        raise ConfigError(Problem("rule", f"'{code[:40]}'", "a rule's code", "Reload the page."))
    left = [name for name in ignored if name != code] + ([] if given["hear"] else [code])
    what = f"{'hear' if given['hear'] else 'silence'} {code}"
    edit_settings(project.root, {"ignore_rules": left or None}, what=what)
    studio_of(request).checks.begin(project.root)
    return {"silenced": left}


def _keys(data: bytes) -> set[str]:
    keys = body_of(data, keys=list)["keys"]
    if not keys or not all(isinstance(key, str) for key in keys):
        raise ConfigError(Problem("keys", "no findings", "keys of findings", "Reload the page."))
    return set(keys)


def _ignored(project: Project) -> Sequence[str]:
    try:
        return list(load_settings(project.root).check.ignore_rules)
    except MaquetteError:
        return []


def _title(code: str) -> str:
    rule = all_rules().get(code)
    return rule.name.replace("-", " ") if rule else code


def _undoable(project: Project) -> str:
    changes = changes_at(project.root, kinds=(KIND,))
    if not changes:
        return ""
    return f"repairs in {counted(len(changes[0].entries), 'file')}"
