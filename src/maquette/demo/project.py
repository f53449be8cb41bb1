"""The demo's project folder: the character's pictures with captions, and the `maquette.toml` that trains
them.
"""

from __future__ import annotations

import json
from pathlib import Path

from maquette.errors import OutputError, Problem
from maquette.files import require_writable_folder, write_atomic
from maquette.project.config_file import CONFIG_NAME
from maquette.world.cast import BARE_PROMPT, TRIGGER, write_training_pictures
from maquette.world.pack import base_path

STEPS = 320
CHECKPOINTS = 4
SAMPLER, SAMPLER_STEPS, GUIDANCE = "dpmpp_2m", 20, 3.0


def write_demo_project(folder: Path, *, seed: int, steps: int = STEPS) -> Path:
    """Write the demo's pictures and `maquette.toml` into `folder` and return the latter's path.

    A folder that an earlier demo with the same seed made is used again: its runs stay. Raises OutputError for
    a folder that holds anything else.
    """
    config, text = folder / CONFIG_NAME, _config_text(seed, steps)
    if not _is_empty(folder) and not (config.is_file() and config.read_text(encoding="utf-8") == text):
        raise OutputError(
            Problem(
                str(folder),
                "holds something else, or a demo with another seed or a changed maquette.toml",
                "an empty or new folder",
                f"Choose another --output, or train what is there: maquette train {folder}",
            )
        )
    require_writable_folder(folder)
    write_training_pictures(folder / "images")
    return write_atomic(config, text)


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _config_text(seed: int, steps: int) -> str:
    """Return the project's settings: a toy's rates and sizes, for a base a thousandth of a real one."""
    return f"""# The demo's project. `maquette train` on this folder trains it again.

[subject]
trigger = "{TRIGGER}"
class_word = "character"

[model]
base = {json.dumps(str(base_path()), ensure_ascii=False)}

[dataset]
images = "images"
resolution = 64

[lora]
rank = 8
alpha = 8

[training]
steps = {steps}
batch_size = 4
learning_rate = 1.5e-3
text_encoder_lr = 1.5e-3
lr_scheduler = "cosine"
warmup_steps = {min(20, steps // 4)}
seed = {seed}
device = "cpu"
precision = "no"

[saving]
output = "runs"
save_every_steps = {max(1, steps // CHECKPOINTS)}

[samples]
sample_prompts = ["{BARE_PROMPT.replace(TRIGGER, "{trigger}")}"]
sampler = "{SAMPLER}"
sample_steps = {SAMPLER_STEPS}
guidance = {GUIDANCE}

[check]
ignore_rules = ["SET002", "SET003", "SET019"]  # a toy needs higher rates, and has four checkpoints to choose from
"""
