"""The Plan page: what the next run takes and whether it fits, and every setting with what the rules say as one types.

Settings are tried by `planning.trying` and written by `project.settings_edit`, whose history one undo takes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.planning.options import PlanOptions
from maquette.planning.presets import Preset, fitting_presets, preset_named
from maquette.planning.proposals import FEW_CHECKPOINTS, saving_interval
from maquette.planning.run import PlanResult
from maquette.planning.show import LONG_S, TOO_LONG, rough_duration, step_seconds
from maquette.planning.trying import Tried, try_settings
from maquette.project.config_file import load_settings
from maquette.project.form import form_fields, written
from maquette.project.noted import Noted
from maquette.project.settings import SECTION_OF
from maquette.project.settings_edit import (
    ChangedSince,
    edit_settings,
    mark_of,
    undo_settings,
    undoable,
    written_in,
)
from maquette.spoken import disk_size, memory_size
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.pages import page
from maquette.studio.workspace import Project

FIRST = (
    "base", "trigger", "class_word", "resolution", "steps", "epochs", "repeats", "rank", "alpha", "learning_rate",
    "batch_size", "save_every_steps", "sample_prompts",
)  # fmt: skip
"""The settings that most people want, before all others."""


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/plan", show),
        Route("/api/p/{project}/settings", told),
        Route("/api/p/{project}/settings", answering(saved), methods=["POST"]),
        Route("/api/p/{project}/try-settings", answering(tried), methods=["POST"]),
        Route("/api/p/{project}/use-preset", answering(preset_used), methods=["POST"]),
        Route("/api/p/{project}/undo-settings", answering(undone), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page; plan and settings come by themselves."""
    return page(request, "plan.html.jinja", title="Plan", project=project_of(request), here="plan")


def told(request: Request) -> Response:
    """Return the form with its values, and the plan as it was worked out last."""
    project = project_of(request)
    kept = Noted(project.root, "plan").recall()
    return JSONResponse(
        {
            **_values(project),
            "fields": [field.to_json() for field in form_fields()],
            "first": list(FIRST),
            "kept": kept.value if kept is not None and kept.is_fresh else None,
        }
    )


def _values(project: Project) -> dict[str, Any]:
    """Return what the file says, what holds where it is silent and is no record's default, and what can be taken back."""
    values = {
        name: {"value": value, "comment": comment}
        for name, (value, comment) in written_in(project.root).items()
    }
    return {
        "values": values,
        "elsewhere": _elsewhere(project),
        "mark": mark_of(project.root),
        "undo": undoable(project.root),
    }


def _elsewhere(project: Project) -> dict[str, Any]:
    """Return the values that hold though the file does not say them: those of the subject's profile."""
    try:
        subject = load_settings(project.root).subject
    except MaquetteError:
        return {}
    said = written_in(project.root)
    return {name: value for name, value in subject.model_dump().items() if value and name not in said}


def tried(request: Request, data: bytes) -> dict[str, Any]:
    """Return what changed settings come to: problems, findings, plan. Nothing is written."""
    project = project_of(request)
    given = body_of(data, changes=dict, measure=bool)
    changes = _changes(given["changes"])
    noted = Noted(project.root, "plan")
    # Measuring this machine's speed takes seconds: a page asks for it behind the answer that needs none.
    answer = _told(try_settings(project.root, changes, PlanOptions(measure=given["measure"])))
    if not changes and answer["plan"] is not None and (given["measure"] or answer["plan"]["time"]):
        noted.keep(answer)
    return answer


def _told(found: Tried) -> dict[str, Any]:
    """Return what was tried, with what of it is said in words."""
    answer = found.to_json()
    answer["plan"] = None if found.plan is None else {**answer["plan"], **_page_of(found.plan)}
    return answer


def _page_of(plan: PlanResult) -> dict[str, Any]:
    """Return what the page shows of a plan beside its figures: checkpoints by step, sizes in words, presets that suit."""
    time, device = plan.time, plan.device
    presets = fitting_presets(plan.info.resolution, None, plan.pictures)
    few = len(plan.checkpoints) < FEW_CHECKPOINTS
    return {
        "terms": [list(term) for term in plan.schedule.terms],
        "batch": "/".join(str(size) for size in plan.schedule.batch_sizes),
        "accumulation": plan.schedule.accumulation,
        "by_steps": plan.schedule.by_steps,
        "saves": [
            {"step": each.step, "epoch": each.epoch, "name": each.file_name, "final": each.final}
            for each in plan.checkpoints
        ],
        "save_more": saving_interval(plan.schedule.steps)
        if few and plan.schedule.steps >= FEW_CHECKPOINTS
        else None,
        "suiting": [_preset(each) for each in presets],
        "words": {
            "peak": memory_size(plan.memory.peak_bytes),
            "needed": memory_size(plan.memory.needed_bytes),
            "available": None if device.memory_bytes is None else memory_size(device.memory_bytes),
            "parts": {name: memory_size(size) for name, size in plan.memory.parts.items()},
            "changes": [
                [
                    memory_size(each.before_bytes),
                    memory_size(each.needed_bytes),
                    memory_size(each.saves_bytes),
                ]
                for each in plan.changes
            ],
            "disk": disk_size(plan.disk.total_bytes),
            "disk_parts": {name: disk_size(size) for name, size in plan.disk.parts.items()},
            "disk_free": None if plan.disk.free_bytes is None else disk_size(plan.disk.free_bytes),
            "checkpoint": disk_size(plan.checkpoint_bytes),
            "time": None if time is None else rough_duration(time.seconds),
            "time_range": None
            if time is None
            else [rough_duration(time.seconds * (1 + sign * time.step.share_off)) for sign in (-1, 1)],
            "too_long": TOO_LONG if time is not None and time.seconds > LONG_S else "",
            "step": None if time is None else f"{step_seconds(time.step.seconds)} s",
        },
    }


def _preset(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "title": preset.title,
        "source": preset.source,
        "settings": {
            name: {"value": written(each.value), "reason": each.reason}
            for name, each in preset.settings.items()
        },
    }


def saved(request: Request, data: bytes) -> dict[str, Any]:
    """Write changed settings, unless the file was changed since the page read it: then say what it holds now."""
    project = project_of(request)
    given = body_of(data, changes=dict, expected=str, what=str)
    return _saved(project, _changes(given["changes"]), given["expected"], given["what"][:200])


def preset_used(request: Request, data: bytes) -> dict[str, Any]:
    """Write a preset's settings, each with its reason as the comment beside it."""
    project = project_of(request)
    given = body_of(data, name=str, expected=str)
    preset = preset_named(given["name"])
    reasons = {name: f"{preset.name}: {each.reason}" for name, each in preset.settings.items() if each.reason}
    return _saved(project, preset.values(), given["expected"], f"the settings of {preset.name}", reasons)


def _saved(
    project: Project,
    changes: Mapping[str, Any],
    expected: str,
    what: str,
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    try:
        done = edit_settings(project.root, changes, expected=expected, what=what, reasons=reasons)
    except ChangedSince as error:
        return {"changed_since": str(error.problems[0]), "changed": [], **_values(project)}
    return {"changed": list(done.changed), **_values(project)}


def undone(request: Request, data: bytes) -> dict[str, Any]:
    """Take the last change of settings back."""
    project = project_of(request)
    body_of(data)
    if not undoable(project.root):
        return {"what": "", **_values(project)}
    done = undo_settings(project.root)
    kept = f"{done.kept[0].name} was changed since and stays as it is" if done.kept else ""
    return {"what": done.what, "kept": kept, **_values(project)}


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes as a form gives them. Raises ConfigError for a name that is no setting."""
    unknown = [name for name in given if name not in SECTION_OF]
    if unknown:
        raise ConfigError(
            [
                Problem(str(name)[:80], "no setting", "a setting of this release", "Reload the page.")
                for name in unknown
            ]
        )
    return dict(given)
