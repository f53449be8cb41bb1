"""A new project folder: its `maquette.toml` and `profile.toml`, written for a person to read and change."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import OutputError, Problem
from maquette.files import require_writable_folder, write_atomic
from maquette.project.config_file import CONFIG_NAME
from maquette.project.profile import PROFILE_NAME, Kind, Profile
from maquette.project.profile_text import profile_toml
from maquette.project.settings import DEFAULT_STEPS

DEFAULT_RANK = 16
CHECKPOINTS = 5
"""Saved on the way: with fewer there is too little to choose from."""


@dataclass(frozen=True, kw_only=True)
class NewProject:
    """What is known when a project begins. `base` is a path or a hub name; sizes are pixels."""

    folder: Path
    images: Path
    base: str
    trigger: str
    class_word: str = ""
    resolution_px: int = 512
    bucket_step_px: int = 64
    clip_skip: int | None = 1
    """None where the base's family has no such thing."""
    num_pictures: int = 0
    without_captions: bool = False
    steps: int = DEFAULT_STEPS
    rank: int = DEFAULT_RANK
    regularization: Path | None = None
    sampler: str = "euler"
    guidance: float = 7.0
    kind: Kind = "character"
    states_subject: bool = False
    """Whether trigger and class word are written here too: where a profile.toml, their home, is there already."""

    @property
    def alpha(self) -> float:
        return self.rank / 2

    @property
    def save_every_steps(self) -> int:
        return max(1, self.steps // CHECKPOINTS)


def write_project(project: NewProject) -> Path:
    """Write PROJECT/maquette.toml and return its path. Raises OutputError when one is there already."""
    path = project.folder / CONFIG_NAME
    if path.exists():
        raise OutputError(
            Problem(
                str(path),
                "exists already",
                "a folder without a project",
                "Edit it, or choose another folder.",
            )
        )
    require_writable_folder(project.folder)
    return write_atomic(path, project_toml(project))


def write_profile(folder: Path, profile: Profile) -> tuple[Path, bool]:
    """Write `folder`/profile.toml unless one is there; return its path and whether it was written."""
    path = folder / PROFILE_NAME
    if path.exists():
        return path, False
    return write_atomic(path, profile_toml(profile, folder)), True


def project_toml(project: NewProject) -> str:
    """Return the text of a new `maquette.toml`."""
    return f"""# A Maquette project. Train it with:  {shlex.join(["maquette", "train", str(project.folder)])}
# Every key that can stand here: maquette train --help

{_subject(project)}

[model]
base = {_text(_readable(project.base, project.folder))}
{"" if project.clip_skip is None else f"clip_skip = {project.clip_skip}"}

[dataset]
images = {_text(_relative(project.images, project.folder))}
{_regularization_line(project)}
resolution = {project.resolution_px}
bucket_step_px = {project.bucket_step_px}
# shuffle_caption = true  # with keep_tokens = 1 the trigger stays in front
# keep_tokens = 1
{_fallback_line(project)}

[lora]
rank = {project.rank}
alpha = {project.alpha:g}

[training]
steps = {project.steps}
learning_rate = 1e-4
lr_scheduler = "cosine"
seed = 42

[objective]
min_snr_gamma = 5

[saving]
name = {_text(_file_name(project.trigger or project.class_word or project.folder.resolve().name))}
save_every_steps = {project.save_every_steps}

[samples]
sample_prompts = ["{{trigger}}", {_text(_scene(project))}]
guidance = {project.guidance}
sampler = {_text(project.sampler)}
"""


def _scene(project: NewProject) -> str:
    """Return a prompt with something in it beside the subject."""
    if project.kind == "style":
        return "{trigger}, a house by a river, trees, evening"  # what no portrait shows
    return "{trigger}, " + (project.class_word or "portrait") + ", outdoors"


def _subject(project: NewProject) -> str:
    if not project.states_subject:
        return "# Who or what is learned (trigger, class word, looks, left and right): profile.toml"
    return (
        "[subject]  # beside profile.toml, which must name the same trigger\n"
        f"trigger = {_text(project.trigger)}\nclass_word = {_text(project.class_word)}"
    )


def fallback_caption(trigger: str, class_word: str) -> str:
    """Return what stands for the caption of a picture that has none."""
    return " ".join(word for word in (trigger, class_word) if word)


def _fallback_line(project: NewProject) -> str:
    caption = fallback_caption(project.trigger, project.class_word)
    if project.without_captions:
        return f"caption_fallback = {_text(caption)}   # these pictures have no captions; better: one beside each"
    return f"# caption_fallback = {_text(caption)}   # for pictures without captions"


def _regularization_line(project: NewProject) -> str:
    if project.regularization is None:
        return '# regularization = "regularization"   # pictures of the class, if it must not drift'
    return f"regularization = {_text(_relative(project.regularization, project.folder))}"


def _text(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _file_name(trigger: str) -> str:
    cleaned = "".join(letter if letter.isalnum() or letter in "-_.+" else "_" for letter in trigger).strip(
        "._-"
    )
    return cleaned or "lora"


def _relative(path: Path, folder: Path) -> str:
    """Return `path` relative to the project where it lies within or beside it, so that both can move together."""
    absolute, home = path.expanduser().resolve(), folder.resolve()
    if absolute.is_relative_to(home.parent):
        return Path(os.path.relpath(absolute, home)).as_posix()
    return absolute.as_posix()


def _readable(base: str, folder: Path) -> str:
    return _relative(Path(base), folder) if Path(base).expanduser().exists() else base
