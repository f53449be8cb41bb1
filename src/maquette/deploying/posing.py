"""A pose taken over from a picture: the workflow with a ControlNet between the texts and the sampler, of ComfyUI's own nodes.

The picture shows the pose as the ControlNet reads it (a drawn skeleton for OpenPose). Drawing such a skeleton from a photograph
takes nodes that ComfyUI does not bring along; whoever has them puts them behind the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.deploying.folders import comfyui_folders
from maquette.deploying.ledger import Ledger
from maquette.deploying.nodes import Workflow
from maquette.drawing.scene import listed
from maquette.errors import ConfigError, DatasetError, Problem
from maquette.reading import bytes_of

CONTROLNETS = Path("models/controlnet")
_EXAMPLE = "example.png"
"""A picture that ComfyUI brings along; it shows no pose, and a person chooses another in the workflow."""
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Pose:
    """What a pose is drawn from."""

    controlnet: str
    """Its file, as the program lists it."""
    picture: Path | None = None
    """The picture of the pose; None leaves the choice to a person."""

    def slots(self, image: str) -> dict[str, str]:
        """Return the slots of a template that it fills; `image` is the picture's name in the program."""
        return {"pose_image": image, "controlnet_name": listed(self.controlnet)}


def pose_of(controlnet: str | None, picture: Path | None) -> Pose | None:
    """Return what was asked for. Raises ConfigError for a picture without its ControlNet."""
    if controlnet is not None:
        return Pose(controlnet=controlnet, picture=picture)
    if picture is not None:
        required = "the ControlNet that reads it"
        raise ConfigError(
            Problem(
                "--pose",
                f"{picture} and no ControlNet",
                required,
                "Add --controlnet FILE, its name in ComfyUI.",
            )
        )
    return None


def check_pose(pose: Pose) -> None:
    """Raise ConfigError for a picture that is none."""
    from maquette.dataset.opening import opened

    if pose.picture is None:
        return
    try:
        with opened(pose.picture):
            pass
    except DatasetError as error:
        given = error.problems[0].given
        problem = Problem(str(pose.picture), given, "a picture of a pose", "Give another one.")
        raise ConfigError(problem) from error


def put_picture(ledger: Ledger, root: Path, stem: str, pose: Pose) -> str:
    """Copy the picture of the pose where ComfyUI loads pictures from; return its name there."""
    if pose.picture is None:
        return _EXAMPLE
    folder = root / "input"
    data = bytes_of(pose.picture, _MOST_BYTES)
    path = ledger.put_under_free_name(folder, f"{stem}.pose", pose.picture.suffix.lower(), data)
    return path.relative_to(folder).as_posix()


def pose_notes(root: Path, pose: Pose) -> list[str]:
    """Return what a person still has to do before the pose can be drawn."""
    known = comfyui_folders(root, "controlnet", CONTROLNETS)
    notes = []
    if pose.controlnet.replace("\\", "/") not in known.names():
        notes.append(f"The ControlNet {pose.controlnet} is not in {known.install}: put it there.")
    if pose.picture is None:
        notes.append("No picture of a pose was given (--pose): choose one in the workflow's node Pose.")
    return notes


def with_pose(workflow: Workflow, controlnet: str, image: str) -> dict[str, Any]:
    """Return `workflow` with the pose of the picture `image` taken over by `controlnet`."""
    posed: dict[str, Any] = {key: {**node, "inputs": dict(node["inputs"])} for key, node in workflow.items()}
    sampler = next(node for node in posed.values() if node["class_type"] == "KSampler")

    def add(class_type: str, title: str, **inputs: Any) -> str:
        node_id = str(max(map(int, posed)) + 1)
        posed[node_id] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
        return node_id

    picture = add("LoadImage", "Pose", image=image)
    network = add("ControlNetLoader", "ControlNet", control_net_name=controlnet)
    applied = add(
        "ControlNetApplyAdvanced",
        "Take over the pose",
        positive=sampler["inputs"]["positive"],
        negative=sampler["inputs"]["negative"],
        control_net=[network, 0],
        image=[picture, 0],
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    sampler["inputs"] |= {"positive": [applied, 0], "negative": [applied, 1]}
    return posed
