"""Values of sd-scripts' options: from a command line, where all are text, and from a --config_file, where none is converted.

Its parser converts only what stands on the command line. A --config_file's values reach the training as TOML has them, so
a number in quotes stays text, and `resolution = 512` stops with "'int' object has no attribute 'split'".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maquette.errors import Problem, nearest
from maquette.kohya.names import as_known
from maquette.kohya.options import Option
from maquette.project.values import parse_range, parse_resolution

WRITTEN = {
    "switch": "true or false",
    "int": "a whole number",
    "number": "a number",
    "text": "text",
    "path": "a path in quotes",
    "share": "a number of steps, or a share of them below 1",
    "size": 'text: "512" or "512,768" (width, height)',
    "range": 'text: "2.0,4.0" (least, most)',
    "texts": 'a list of texts: ["name=value"]',
    "numbers": "a number, or a list of them",
}


MEANT_CHOICES: Mapping[str, tuple[str, ...]] = {
    "fp32": ("float", "no"), "float32": ("float", "no"), "none": ("no",), "euler_ancestral": ("euler_a",),
    "euler a": ("euler_a",), "dpm++ 2m": ("dpmsolver++",), "dpm++": ("dpmsolver++",), "mse": ("l2",), "mae": ("l1",),
}  # fmt: skip
"""What people write for a choice whose own name is not the nearest."""


class BadValue(ValueError):
    """A value that the trainer cannot take. Its text says what is required."""

    def __init__(self, required: str, remedy: str = "") -> None:
        super().__init__(required)
        self.remedy = remedy
        """What to do, where the value itself tells."""


def from_words(option: Option, words: Sequence[str]) -> Any:
    """Return an option's value from the words behind it on a command line. Raises BadValue."""
    if option.kind == "switch":
        return True
    if option.kind == "texts":
        return list(words)
    if option.kind == "numbers":
        return [_number(word) for word in words]
    return _checked_choice(option, _from_word(option, words[0]))


def from_toml(option: Option, value: Any) -> Any:
    """Return an option's value from a --config_file, unconverted as the trainer takes it. Raises BadValue."""
    if not _has_kind(option, value):
        raise BadValue(WRITTEN[option.kind])
    if option.kind == "size":
        _size(value)
    if option.kind == "range":
        _range(value)
    if option.kind == "numbers":
        return [float(part) for part in value] if isinstance(value, list) else [float(value)]
    # Nobody checks the numbers of a --config_file: max_token_length = 75 is the GUI's word for the default.
    return _checked_choice(option, value) if option.kind == "text" and value not in ("", "no") else value


def fields_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of TrainingRequest that several options decide together."""
    return {
        **_optimizer(values),
        **_parts(values),
        **_network(values),
        "multires_noise": bool(values["multires_noise_iterations"])
        if "multires_noise_iterations" in values
        else None,
        "full_precision": _full_precision(values),
        "attention": _attention(values),
        "save_state": True if values.get("save_state") or values.get("save_state_on_train_end") else None,
    }


def simple_field(option: Option, value: Any) -> Any:
    """Return an option's value in the form its field has."""
    if option.kind == "path":
        return Path(value)
    if option.kind == "size":
        return parse_resolution(value)
    if option.kind == "range":
        return parse_range(value)
    if option.kind == "numbers":
        return tuple(value) or None
    if option.field == "optimizer":
        return as_known(value)
    if option.field == "scheduler":
        return value.lower()
    return float(value) if option.kind == "number" else value


def path_problem(place: str, text: str) -> Problem:
    """Return the problem of a ~ that reaches the trainer as it is written."""
    return Problem(
        place,
        f"{text!r} keeps its ~, because it stands in quotes or after an =",
        "a path that the shell has filled in; sd-scripts takes ~ for a folder of that name",
        f'Write "$HOME{text[1:]}".',
    )


# --- one value -------------------------------------------------------------------------------------------


def _from_word(option: Option, word: str) -> Any:
    if option.kind == "int":
        try:
            return int(word)
        except ValueError:
            raise BadValue(WRITTEN["int"]) from None
    if option.kind == "number":
        return _number(word)
    if option.kind == "share":
        return _number(word[:-1]) / 100 if word.endswith("%") else _whole_from_one(_number(word))
    if option.kind == "size":
        _size(word)
    if option.kind == "range":
        _range(word)
    return word


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise BadValue(WRITTEN["number"]) from None


def _whole_from_one(number: float) -> float:
    if number >= 1 and number != int(number):
        raise BadValue("a whole number of steps, or a share of them below 1")
    return int(number) if number >= 1 else number


def _size(text: str) -> None:
    """sd-scripts splits at commas only: 512x768 is no number to it."""
    try:
        parts = [int(part) for part in text.split(",")]
    except ValueError:
        raise BadValue('"512" or "512,768" (width, height)') from None
    if len(parts) > 2:
        raise BadValue('"512" or "512,768" (width, height)')
    try:
        parse_resolution(text)
    except ValueError as error:
        raise BadValue(str(error)) from None


def _range(text: str) -> None:
    try:
        parse_range(text)
    except ValueError as error:
        raise BadValue(str(error)) from None


def _checked_choice(option: Option, value: Any) -> Any:
    if option.choices and str(value) not in option.choices:
        raise BadValue(f"one of {', '.join(option.choices)}", _nearest_choice(option, value))
    return value


def _nearest_choice(option: Option, value: Any) -> str:
    meant = [name for name in MEANT_CHOICES.get(str(value).lower(), ()) if name in option.choices]
    found = meant[0] if meant else nearest(str(value), option.choices)
    return f"Did you mean {found}?" if found else ""


def _has_kind(option: Option, value: Any) -> bool:
    kind = option.kind
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "switch":
        return isinstance(value, bool)
    if kind == "int":
        return is_number and isinstance(value, int)
    if kind in ("number", "share"):
        return is_number
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    if kind == "numbers":
        parts = value if isinstance(value, list) else [value]
        return all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts)
    return isinstance(value, str)


# --- fields that several options decide ------------------------------------------------------------------


def _optimizer(values: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if not values.get("optimizer_type"):
        given["optimizer"] = (
            "adamw8bit"
            if values.get("use_8bit_adam")
            else "lion"
            if values.get("use_lion_optimizer")
            else None
        )
    if values.get("lr_scheduler_type"):
        given["scheduler"] = values["lr_scheduler_type"].lower()
    if values.get("optimizer_args"):
        given["optimizer_args"] = _pairs(values["optimizer_args"])
    return given


def _parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """A part is left untrained where the other alone is asked for, or its rate is 0."""
    text_rates = values.get("text_encoder_lr") or []
    no_text = values.get("network_train_unet_only") or (text_rates and not any(text_rates))
    no_denoiser = values.get("network_train_text_encoder_only") or values.get("unet_lr") == 0
    return {
        "train_text_encoder": False if no_text else None,
        "train_denoiser": False if no_denoiser else None,
    }


NETWORK_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "conv_dim": ("conv_rank", int),
    "conv_alpha": ("conv_alpha", float),
    "rank_dropout": ("rank_dropout", float),
    "module_dropout": ("module_dropout", float),
    "loraplus_lr_ratio": ("loraplus_lr_ratio", float),
    "loraplus_unet_lr_ratio": ("loraplus_unet_lr_ratio", float),
    "loraplus_text_encoder_lr_ratio": ("loraplus_text_encoder_lr_ratio", float),
}
"""Argument of the network → the field that it fills, and how it is read."""


def _network(values: Mapping[str, Any]) -> dict[str, Any]:
    arguments = _pairs(values.get("network_args") or [])
    given: dict[str, Any] = {}
    for name, (field, kind) in NETWORK_FIELDS.items():
        try:
            given[field] = kind(arguments[name]) if name in arguments else None
        except ValueError:
            given[field] = None
    if given["conv_rank"] is not None and given["conv_alpha"] is None:
        given["conv_alpha"] = 1.0
    return given


def given_to_network(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (argument, field) of those arguments of the network that are given."""
    given = _pairs(values.get("network_args") or [])
    return [(name, field) for name, (field, _) in NETWORK_FIELDS.items() if name in given]


def _full_precision(values: Mapping[str, Any]) -> str | None:
    for name, precision in (
        ("full_fp16", "fp16"),
        ("full_bf16", "bf16"),
        ("fp8_base", "fp8"),
        ("fp8_base_unet", "fp8"),
    ):
        if values.get(name):
            return precision
    return None


def _attention(values: Mapping[str, Any]) -> str | None:
    """sd-scripts takes the first of these that is set."""
    for name, attention in (("mem_eff_attn", "mem_eff"), ("xformers", "xformers"), ("sdpa", "sdpa")):
        if values.get(name):
            return attention
    return None


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
