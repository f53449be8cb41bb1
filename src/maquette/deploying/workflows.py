"""The workflows of an installation: filled for this LoRA in both of ComfyUI's formats, and as templates with their slots open.

maquette/NAME.workflow.json            API format
user/default/workflows/NAME.json       the editor's
maquette/NAME.template.json            API format, slots open
maquette/NAME.pose.template.json       the same with a ControlNet
maquette/NAME.pose.workflow.json, user/default/workflows/NAME-pose.json    filled, where a ControlNet was named
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from maquette.deploying.editor import editor_workflow
from maquette.deploying.ledger import Ledger
from maquette.deploying.nodes import NODES, Workflow, check_workflow
from maquette.deploying.posing import Pose, check_pose, pose_notes, put_picture, with_pose
from maquette.deploying.slots import as_template, filled_from, slots_of
from maquette.drawing.scene import Scene, comfyui_workflow
from maquette.files import json_text

WORKFLOWS = Path("user/default/workflows")
OURS = Path("maquette")


@dataclass(frozen=True, kw_only=True)
class Drawings:
    """What an installation is drawn by."""

    pose: Pose | None = None
    template: Path | None = None
    """A person's own workflow with slots, in place of ours."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where the workflows lie."""

    api: Path
    editor: Path | None
    """None where a person's template has nodes that are not known here."""
    template: Path
    pose_api: Path | None = None
    pose_editor: Path | None = None
    notes: tuple[str, ...] = ()


def check_drawings(scene: Scene, wanted: Drawings) -> None:
    """Raise ConfigError for a template or a picture that cannot be used, before anything is installed."""
    if wanted.pose is not None:
        check_pose(wanted.pose)
    if wanted.template is not None:
        filled_from(wanted.template, slots_of(scene, "", wanted.pose.slots("") if wanted.pose else None))


def write_workflows(ledger: Ledger, root: Path, stem: str, scene: Scene, wanted: Drawings) -> Written:
    """Write the workflows of the LoRA that `scene` draws."""
    prefix = stem.replace("/", "-")
    plain = comfyui_workflow(scene, prefix=prefix)
    image = "" if wanted.pose is None else put_picture(ledger, root, stem, wanted.pose)
    slots = slots_of(scene, prefix, wanted.pose.slots(image) if wanted.pose else None)
    workflow = plain if wanted.template is None else filled_from(wanted.template, slots)
    notes = [] if wanted.pose is None else pose_notes(root, wanted.pose)
    ours = root / OURS
    api = ledger.put_under_free_name(ours, stem, ".workflow.json", json_text(_sound(workflow)))
    editor = _put_editor(ledger, root, stem, workflow)
    if editor is None:
        notes.append("The template has nodes that are not known here: there is no workflow for the editor.")
    template = ledger.put_under_free_name(ours, stem, ".template.json", json_text(as_template(plain)))
    posed = with_pose(plain, slots.get("controlnet_name", ""), image)
    ledger.put_under_free_name(ours, stem, ".pose.template.json", json_text(as_template(posed)))
    written = Written(api=api, editor=editor, template=template, notes=tuple(notes))
    if wanted.pose is None:
        return written
    pose_text = json_text(_sound(posed))
    return replace(
        written,
        pose_api=ledger.put_under_free_name(ours, stem, ".pose.workflow.json", pose_text),
        pose_editor=_put_editor(ledger, root, f"{stem}-pose", posed),
    )


def _sound(workflow: Workflow) -> Workflow:
    """Return a workflow that ComfyUI takes as far as its nodes are known here."""
    if all(node["class_type"] in NODES for node in workflow.values()):
        found = check_workflow(workflow)
        assert not found, found
    return workflow


def _put_editor(ledger: Ledger, root: Path, stem: str, workflow: Workflow) -> Path | None:
    if not all(node["class_type"] in NODES for node in workflow.values()):
        return None
    text = json_text(editor_workflow(workflow))
    return ledger.put_under_free_name(root / WORKFLOWS, stem, ".json", text)
