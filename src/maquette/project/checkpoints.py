"""When a run saves, and under which names: sd-scripts' names, which every tool and guide knows.

NAME-step00000200.safetensors   after 200 optimizer steps
NAME-000002.safetensors         after epoch 2
NAME.safetensors                at the end
"""

from __future__ import annotations

from dataclasses import dataclass

FINAL = "final"


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint:
    """A LoRA file that a run will write after `step` optimizer steps, in 1-based `epoch`."""

    step: int
    epoch: int
    file_name: str
    final: bool = False
    by_step: bool = False
    """Saved because of its step, wherever in an epoch that is."""


def plan_checkpoints(
    name: str,
    *,
    total_steps: int,
    steps_per_epoch: int,
    every_steps: int | None,
    every_epochs: int | None,
) -> tuple[PlannedCheckpoint, ...]:
    """Return every checkpoint of a run in order; the last step belongs to the final file alone.

    As in sd-scripts, the last epoch is not saved under an epoch name, and a step that ends an epoch too can have two files.
    """
    planned: list[PlannedCheckpoint] = []
    for step in range(1, total_steps):
        epoch, within = divmod(step, steps_per_epoch)
        if every_steps and step % every_steps == 0:
            planned.append(by_step(name, step, epoch + (within > 0)))
        if every_epochs and within == 0 and epoch % every_epochs == 0:
            planned.append(
                PlannedCheckpoint(step=step, epoch=epoch, file_name=f"{name}-{epoch:06d}.safetensors")
            )
    last_epoch = -(-total_steps // steps_per_epoch)
    planned.append(
        PlannedCheckpoint(step=total_steps, epoch=last_epoch, file_name=f"{name}.safetensors", final=True)
    )
    return tuple(planned)


def step_file_name(name: str, step: int) -> str:
    """Return the name of the LoRA file after `step` optimizer steps."""
    return f"{name}-step{step:08d}.safetensors"


def by_step(name: str, step: int, epoch: int) -> PlannedCheckpoint:
    """Return the file that is named by its step, which lies in 1-based `epoch`."""
    file_name = step_file_name(name, step)
    return PlannedCheckpoint(step=step, epoch=epoch, file_name=file_name, by_step=True)


def is_due(
    step: int, total_steps: int, steps_per_epoch: int, every_steps: int | None, every_epochs: int | None
) -> bool:
    """Return whether something wanted every N steps or N epochs is due after `step` steps (the end always is)."""
    epoch, within = divmod(step, steps_per_epoch)
    on_step = bool(every_steps) and step % (every_steps or 1) == 0
    on_epoch = bool(every_epochs) and within == 0 and epoch % (every_epochs or 1) == 0
    return on_step or on_epoch or step == total_steps
