"""Names that sd-scripts looks up itself once it runs: optimizers, schedules, network modules and their arguments.

Its command line takes any text for them; a wrong one ends the run after the base was loaded, or is ignored. Read from
sd-scripts 48d368fa with its transformers 4.54, and LyCORIS f49d30d.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from maquette.errors import Problem, nearest
from maquette.kohya.options import SCRIPTS

OPTIMIZERS = (
    "AdamW", "AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit", "Lion", "Lion8bit", "PagedLion8bit", "SGDNesterov",
    "SGDNesterov8bit", "DAdaptation", "DAdaptAdamPreprint", "DAdaptAdaGrad", "DAdaptAdam", "DAdaptAdan", "DAdaptAdanIP",
    "DAdaptLion", "DAdaptSGD", "Prodigy", "Adafactor", "AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree",
)  # fmt: skip
"""In any capitals."""
TORCH_OPTIMIZERS = (
    "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD",
    "SparseAdam",
)  # fmt: skip
"""Taken from torch.optim, in just these capitals."""
SCHEDULERS = (
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial", "inverse_sqrt",
    "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "piecewise_constant",
    "adafactor",
)  # fmt: skip
TORCH_SCHEDULERS = (
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau",
    "SequentialLR", "StepLR",
)  # fmt: skip
LORA, LYCORIS = "networks.lora", "lycoris.kohya"
MODULES = (
    LORA,
    "networks.lora_fa",
    "networks.dylora",
    "networks.oft",
    "networks.loha",
    "networks.lokr",
    LYCORIS,
)
MODULES_OF_OTHER_FAMILIES = (
    "networks.lora_flux", "networks.oft_flux", "networks.lora_sd3", "networks.lora_lumina", "networks.lora_anima",
    "networks.lora_hunyuan_image",
)  # fmt: skip
OWN_PACKAGES = ("networks", "network", "lycoris", "locon")
"""A module of another package is somebody's own, and nothing is said about it."""

LORA_ARGUMENTS = frozenset(
    {
        "conv_dim", "conv_alpha", "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas", "rank_dropout",
        "module_dropout", "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "loraplus_lr_ratio",
        "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio", "dropout",
    }
)  # fmt: skip
LYCORIS_ALGORITHMS = (
    "lora", "locon", "loha", "lokr", "ia3", "dylora", "glora", "full", "diag-oft", "boft",
)  # fmt: skip
LYCORIS_PRESETS = (
    "full", "full-lin", "attn-mlp", "attn-only", "unet-only", "unet-transformer-only", "unet-convblock-only", "ia3",
)  # fmt: skip
LYCORIS_ARGUMENTS = frozenset(
    {
        "algo", "preset", "conv_dim", "conv_alpha", "dropout", "rank_dropout", "module_dropout", "rank_dropout_scale",
        "use_tucker", "use_cp", "use_conv_cp", "disable_conv_cp", "use_scalar", "block_size", "train_norm", "constraint",
        "constrain", "rescaled", "dora_wd", "wd_on_output", "full_matrix", "bypass_mode", "rs_lora",
        "unbalanced_factorization", "train_t5xxl", "decompose_both", "factor", "train_on_input", "loraplus_lr_ratio",
        "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio",
    }
)  # fmt: skip
ARGUMENTS_OF: Mapping[str, frozenset[str]] = {
    LORA: LORA_ARGUMENTS,
    "networks.lora_fa": LORA_ARGUMENTS,
    "networks.dylora": frozenset({"conv_dim", "conv_alpha", "unit", "dropout"})
    | {name for name in LORA_ARGUMENTS if name.startswith("loraplus")},
    LYCORIS: LYCORIS_ARGUMENTS,
}
"""What each module asks its arguments for; any other is never looked at."""


def name_problems(
    values: Mapping[str, Any], places: Mapping[str, str], script: str | None
) -> Iterator[Problem]:
    """Yield what sd-scripts will not find by the names that a run's options give, and arguments that it cannot read."""
    if script not in (None, *SCRIPTS):
        return
    found = {
        "optimizer_type": _optimizer_problem(values.get("optimizer_type")),
        "lr_scheduler": None
        if values.get("lr_scheduler_type")
        else _schedule_problem(values.get("lr_scheduler")),
        "lr_scheduler_type": _own_schedule_problem(values.get("lr_scheduler_type")),
        "network_module": _module_problem(values.get("network_module"), script),
    }
    for option, wrong in found.items():
        if wrong is not None:
            yield Problem(
                places[option], f"{values[option]!r}, which ends the run with {wrong[0]}", *wrong[1:]
            )
    for option in ("optimizer_args", "lr_scheduler_args"):
        for text, required in _unreadable(values.get(option) or ()):
            yield Problem(places[option], f"{text!r}", required, f"Correct --{option}.")
    yield from _network_argument_problems(values, places)


def as_known(name: str) -> str:
    """Return an optimizer's name in small letters, but a class's as it is written: torch.optim's in just their capitals."""
    small = name.lower()
    is_class = "." in name or (
        name in TORCH_OPTIMIZERS and small not in {each.lower() for each in OPTIMIZERS}
    )
    return name if is_class else small


def network_arguments(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the network's arguments by name."""
    return {text.partition("=")[0]: text.partition("=")[2] for text in values.get("network_args") or ()}


def idle_network_arguments(module: str | None, arguments: Iterable[str]) -> list[str]:
    """Return those arguments that this module never looks at; none where the module is not known."""
    known = ARGUMENTS_OF.get(module or "")
    return [] if known is None else [name for name in arguments if name not in known]


Wrong = tuple[str, str, str]
"""(how the run ends, what is required, what to do)"""


def _optimizer_problem(name: str | None) -> Wrong | None:
    known = {each.lower() for each in OPTIMIZERS}
    if not name or "." in name or name.lower() in known or name in TORCH_OPTIMIZERS:
        return None
    ends = (
        f"ValueError: Unknown optimizer type: {name.lower()}"
        if name.lower().startswith("dadapt")
        else f"AttributeError: module 'torch.optim' has no attribute '{name}'"
    )
    return (
        ends,
        "an optimizer that sd-scripts knows",
        _guess(name, dict.fromkeys(OPTIMIZERS + TORCH_OPTIMIZERS)),
    )


def _schedule_problem(name: str | None) -> Wrong | None:
    if not name or name in SCHEDULERS or name.startswith("adafactor:"):
        return None
    return (
        f"ValueError: {name!r} is not a valid SchedulerType",
        "a schedule that it knows",
        _guess(name, SCHEDULERS),
    )


def _own_schedule_problem(name: str | None) -> Wrong | None:
    if not name or "." in name or name in TORCH_SCHEDULERS:
        return None
    ends = f"AttributeError: module 'torch.optim.lr_scheduler' has no attribute '{name}'"
    return (
        ends,
        "a class of torch.optim.lr_scheduler, or of another package with its path",
        _guess(name, TORCH_SCHEDULERS),
    )


def _module_problem(name: str | None, script: str | None) -> Wrong | None:
    if not name or name in MODULES:
        return None
    if name in MODULES_OF_OTHER_FAMILIES:
        needed = "the module of this script's models"
        return ("an error while it wraps the layers", needed, f"Use {LORA}.") if script in SCRIPTS else None
    root = name.partition(".")[0]
    bare = {module.rpartition(".")[2] for module in MODULES} | {"lycoris", "locon", "networks"}
    if root not in OWN_PACKAGES and name not in bare:
        return None
    return f"ModuleNotFoundError: No module named {name!r}", "a module that is there", _guess(name, MODULES)


def _network_argument_problems(values: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[Problem]:
    place = places.get("network_args", "--network_args")
    for text in values.get("network_args") or ():
        if "=" not in text:
            yield Problem(place, f"{text!r}", "NAME=VALUE: sd-scripts stops here", "Correct --network_args.")
    if values.get("network_module") != LYCORIS:
        return
    arguments = network_arguments(values)
    algorithm, preset = arguments.get("algo", "").strip('"').lower(), arguments.get("preset", "").strip('"')
    if algorithm and algorithm not in LYCORIS_ALGORITHMS:
        yield Problem(
            place,
            f"algo={arguments['algo']}",
            "an algorithm that LyCORIS knows",
            _guess(algorithm, LYCORIS_ALGORITHMS),
        )
    if preset and preset not in LYCORIS_PRESETS and not preset.endswith(".toml"):
        yield Problem(
            place,
            f"preset={preset}",
            "a preset of LyCORIS, or a TOML file of one",
            _guess(preset, LYCORIS_PRESETS),
        )


def _guess(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the nearest one, else all."""
    names = list(known)
    beginnings = sorted((known for known in names if name.lower().startswith(known.lower())), key=len)
    found = nearest(name, names) or (beginnings[-1] if beginnings else None)
    return f"Did you mean {found}?" if found else f"Known: {', '.join(names)}."


def _unreadable(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (text, what is required) for arguments that are no NAME=VALUE with a value as Python writes it."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            yield text, "NAME=VALUE"
        elif "=" in value:
            yield text, "one NAME=VALUE in each pair of quotes"
        elif not name.strip().isidentifier():
            yield text, "a name in front of the ="
        elif not _is_literal(value):
            yield text, _form_of(value)


def _is_literal(value: str) -> bool:
    if len(value) > 1000:
        return False
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False
    return True


def _form_of(value: str) -> str:
    if value.strip().lower() in ("true", "false", "none"):
        return f"{value.strip().capitalize()}, with a capital as Python writes it"
    return "a number, True, False, a text in quotes of its own, or numbers with commas"
