"""The optimizer and the schedule of another trainer's run as settings of Maquette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maquette.kohya.names import TORCH_OPTIMIZERS
from maquette.project.optimizers import OPTIMIZERS, known_optimizer, optimizer_arguments
from maquette.project.schedules import SCHEDULES
from maquette.project.values import is_class_path, parse_steps

if TYPE_CHECKING:
    from maquette.planning.takeover import Taken


def optimizer(taken: Taken) -> None:
    """Take the optimizer by its name, its arguments and its weight decay, which is an argument elsewhere."""
    request = taken.request
    if request.value("optimizer") is None and not request.optimizer_args:
        return
    ours, fixed = our_optimizer(str(request.value("optimizer") or "adamw"))
    arguments = dict(request.optimizer_args)
    if ours is None:
        taken.left[request.said("optimizer")] = (
            f"{request.optimizer}: AdamW is used; Maquette has no such optimizer"
        )
        taken.left |= {f"optimizer_args {name}={value}": "AdamW is used" for name, value in arguments.items()}
        return
    taken.put("optimizer", ours, "optimizer")
    decay = arguments.pop("weight_decay", None)
    if decay is not None:
        taken.put("weight_decay", _number(decay), "optimizer_args")
    elif ours == "sgd":
        taken.put("weight_decay", 0.0, "optimizer")  # its class decays no weights where nobody says so
    own, wrong = [], {}
    for name, value in {**fixed, **arguments}.items():
        text = f"{name}={value}"
        try:
            optimizer_arguments(ours, [text])
            own.append(text)
        except ValueError as error:
            wrong[f"optimizer_args {text}"] = str(error)
    if own:
        taken.put("optimizer_args", tuple(own), "optimizer_args" if arguments else "optimizer")
    taken.left |= wrong


def our_optimizer(name: str) -> tuple[str | None, dict[str, str]]:
    """Return what Maquette calls an optimizer of sd-scripts or another trainer, and arguments that the name itself says."""
    small = name.lower().replace("-", "").replace("_", "") if "." not in name else name
    if small.startswith("sgdnesterov"):
        return small.replace("nesterov", ""), {"nesterov": "True"}
    if name in TORCH_OPTIMIZERS and small not in OPTIMIZERS:
        return f"torch.optim.{name}", {}
    try:
        return known_optimizer(small), {}
    except ValueError:
        return None, {}


def schedule(taken: Taken) -> None:
    request = taken.request
    own = request.other.get("lr_scheduler_type") if request.trainer == "sd-scripts" else None
    name = str(own or request.value("scheduler") or "")
    if own and "." not in name:
        name = f"torch.optim.lr_scheduler.{name}"
    name = name.partition(":")[0]
    if name == "adafactor":
        pass  # the word for Adafactor's own steps, which are in force without a schedule
    elif name in SCHEDULES or is_class_path(name):
        taken.put("lr_scheduler", name, "scheduler")
    elif name:
        taken.left[request.said("scheduler")] = f"{name}: cosine is used"
    if request.value("warmup_steps"):
        try:
            taken.put("warmup_steps", parse_steps(request.value("warmup_steps")), "warmup_steps")
        except ValueError as error:
            taken.leave("warmup_steps", str(error))
    if (request.value("cycles") or 1) > 1:
        taken.put("lr_cycles", request.value("cycles"), "cycles")


def steps_per_process(taken: Taken) -> None:
    """Divide the schedule's numbers of steps by the processes: of several, sd-scripts goes one step in it for each at every step.

    It makes the whole schedule as many times as long, and shares of it with it, but takes numbers of steps as they are told.
    """
    processes = taken.request.value("processes") or 1
    if processes == 1 or taken.request.trainer != "sd-scripts":
        return
    for setting in ("warmup_steps", "lr_decay_steps", "lr_timescale"):
        told = taken.values.get(setting)
        if told is not None and float(told.value) >= 1:
            fewer = max(1, round(float(told.value) / processes))
            taken.put_as(setting, fewer, f"{told.reason} {told.value:g}, by {processes} processes")


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
