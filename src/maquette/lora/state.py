"""A LoRA as tensors by kohya key: `KEY.alpha`, `KEY.lora_down.weight`, `KEY.lora_up.weight`.

Shapes: linear down [r, I], up [O, r]; 1×1 convolution [r, I, 1, 1], [O, r, 1, 1]; 3×3 [r, I, 3, 3], [O, r, 1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from maquette.errors import LoraError, Problem, nearest

ALPHA, DOWN, UP = "alpha", "lora_down.weight", "lora_up.weight"
"""The three tensors of one module, in their order in a file."""

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class ModuleWeights:
    """One module's LoRA."""

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def split_key(name: str) -> tuple[str, str]:
    """Return (module key, tensor name) of one tensor's name; kohya module keys hold no dot."""
    key, _, tensor = name.partition(".")
    return key, tensor


def modules_of(state: State, where: str = "LoRA") -> dict[str, ModuleWeights]:
    """Return the LoRA of every module in `state`; without `.alpha` the scale is one.

    Raises LoraError, naming every module whose pair is incomplete, whose ranks differ or which is no plain LoRA.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        key, tensor = split_key(name)
        grouped.setdefault(key, {})[tensor] = value
    problems = [
        problem for key, tensors in grouped.items() for problem in _pair_problems(where, key, tensors)
    ]
    if problems:
        raise LoraError(problems)
    return {key: _module(tensors) for key, tensors in grouped.items()}


def _module(tensors: dict[str, Tensor]) -> ModuleWeights:
    down, up = tensors[DOWN], tensors[UP]
    return ModuleWeights(down, up, float(tensors[ALPHA]) if ALPHA in tensors else float(down.shape[0]))


def _pair_problems(where: str, key: str, tensors: dict[str, Tensor]) -> list[Problem]:
    remedy = "The file is damaged or of another kind of adapter; make or download it again."
    strangers = sorted(set(tensors) - {ALPHA, DOWN, UP})
    missing = [name for name in (DOWN, UP) if name not in tensors]
    place = f"{where}: {key}"
    if strangers:
        return [
            Problem(place, f"holds {', '.join(strangers)}", "plain LoRA: lora_down, lora_up, alpha", remedy)
        ]
    if missing:
        return [
            Problem(place, f"has no {' and no '.join(missing)}", "a pair of lora_down and lora_up", remedy)
        ]
    down, up = tensors[DOWN], tensors[UP]
    if down.ndim not in (2, 4) or up.ndim != down.ndim or up.shape[1] != down.shape[0] or not down.shape[0]:
        given = f"down {list(down.shape)} and up {list(up.shape)}"
        return [Problem(place, given, "down [r, in, …] and up [out, r, …]", remedy)]
    if ALPHA in tensors and tensors[ALPHA].numel() != 1:
        return [Problem(place, f"alpha {list(tensors[ALPHA].shape)}", "one number", remedy)]
    return []


def match_problems(
    modules: Mapping[str, ModuleWeights], targets: Mapping[str, nn.Module], where: str = "LoRA"
) -> list[Problem]:
    """Return what keeps `modules` from standing on `targets` (kohya key → base module): names, then shapes."""
    strangers = [key for key in modules if key not in targets]
    if modules and len(strangers) == len(modules):
        given = f"none of its {len(modules)} modules is in this model (first: {strangers[0]})"
        remedy = "It was made for another model family; choose the base model that it was trained on."
        return [Problem(where, given, f"modules such as {next(iter(targets), 'none')}", remedy)]
    problems = [_stranger(where, key, targets) for key in strangers[:20]]
    if len(strangers) > 20:
        more = f"{len(strangers) - 20} further modules that are not in this model"
        problems.append(Problem(where, more, "modules of this model", "See the names above."))
    shaped = ((key, weights) for key, weights in modules.items() if key in targets)
    return [
        *problems,
        *(p for key, weights in shaped for p in _shape_problems(where, key, weights, targets[key])),
    ]


def _stranger(where: str, key: str, targets: Iterable[str]) -> Problem:
    guess = nearest(key, targets)
    remedy = f"Did you mean '{guess}'?" if guess else "It was made for another model."
    return Problem(f"{where}: {key}", "is not a module of this model", "a module of this model", remedy)


def _shape_problems(where: str, key: str, weights: ModuleWeights, module: nn.Module) -> list[Problem]:
    rank = weights.rank
    down, up = shapes_for(module, rank)
    if same_shape(weights.down.shape, down) and same_shape(weights.up.shape, up):
        return []
    given = f"down {list(weights.down.shape)} and up {list(weights.up.shape)}"
    remedy = "It was made for another model; choose the base model that it was trained on."
    return [Problem(f"{where}: {key}", given, f"down {list(down)} and up {list(up)}", remedy)]


def shapes_for(module: nn.Module, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of down and up of `rank` over a linear layer or convolution."""
    if isinstance(module, nn.Conv2d):
        kernel = tuple(module.kernel_size)
        return (rank, module.in_channels, *kernel), (module.out_channels, rank, 1, 1)
    assert isinstance(module, nn.Linear)
    return (rank, module.in_features), (module.out_features, rank)


def same_shape(given: Iterable[int], wanted: Iterable[int]) -> bool:
    """Tell whether two shapes agree but for trailing ones: some programs store a 1×1 convolution's LoRA as 2-D."""
    return _squeezed(tuple(given)) == _squeezed(tuple(wanted))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape
