"""An adapter as tensors by kohya key: `KEY.alpha`, then its kind's tensors (`KEY.lora_down.weight`, `KEY.lora_up.weight`, …)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from maquette.errors import LoraError, Problem, nearest
from maquette.lora.kinds import ALPHA, DEFAULT_KIND, KINDS, kind_of
from maquette.lora.kinds.protocol import AdapterKind, Shape
from maquette.lora.layer import sizes_of

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class ModuleWeights:
    """One module's adapter."""

    kind: AdapterKind
    tensors: tuple[Tensor, ...]
    """In the order of the kind's own."""
    alpha: float

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(tuple(tensor.shape) for tensor in self.tensors)

    @property
    def rank(self) -> int:
        rank = self.kind.rank(dict(zip(self.kind.tensors, self.shapes, strict=True)))
        assert rank is not None, "modules_of() refuses what has no rank"
        return rank


def split_key(name: str) -> tuple[str, str]:
    """Return (module key, tensor name) of one tensor's name; kohya module keys hold no dot."""
    key, _, tensor = name.partition(".")
    return key, tensor


def modules_of(state: State, where: str = "LoRA") -> dict[str, ModuleWeights]:
    """Return the adapter of every module in `state`; without `.alpha` it is the rank.

    Raises LoraError, naming every module that lacks a tensor, whose tensors do not belong together or are of no known kind.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        key, tensor = split_key(name)
        grouped.setdefault(key, {})[tensor] = value
    problems = [
        problem for key, tensors in grouped.items() for problem in _module_problems(where, key, tensors)
    ]
    if problems:
        raise LoraError(problems)
    return {key: _module(tensors) for key, tensors in grouped.items()}


def _module(tensors: dict[str, Tensor]) -> ModuleWeights:
    kind = kind_of(tensors, {name: tuple(value.shape) for name, value in tensors.items()})
    assert kind is not None
    own = tuple(tensors[name] for name in kind.tensors)
    if ALPHA in tensors:
        return ModuleWeights(kind, own, float(tensors[ALPHA]))
    return ModuleWeights(kind, own, float(ModuleWeights(kind, own, 0.0).rank) if kind.has_strength else 0.0)


def _module_problems(where: str, key: str, tensors: dict[str, Tensor]) -> list[Problem]:
    remedy = "The file is damaged or of another kind of adapter; make or download it again."
    place = f"{where}: {key}"
    all_shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    kind = kind_of(tensors, all_shapes) or KINDS[DEFAULT_KIND]
    strangers = sorted(set(tensors) - {ALPHA, *kind.tensors})
    missing = [name for name in kind.tensors if name not in tensors]
    if strangers:
        required = f"{kind.title}: {', '.join((*map(short_name, kind.tensors), ALPHA))}"
        return [Problem(place, f"holds {', '.join(strangers)}", required, remedy)]
    if missing:
        required = f"{' and '.join(map(short_name, kind.tensors))} together"
        return [Problem(place, f"has no {' and no '.join(missing)}", required, remedy)]
    shapes = {name: tuple(tensors[name].shape) for name in kind.tensors}
    misfit = kind.misfit(shapes)
    if misfit:
        return [Problem(place, _told(kind, tuple(shapes.values())), misfit, remedy)]
    if ALPHA in tensors and tensors[ALPHA].numel() != 1:
        return [Problem(place, f"alpha {list(tensors[ALPHA].shape)}", "one number", remedy)]
    return []


def short_name(tensor: str) -> str:
    """Return a tensor's name as people say it."""
    return tensor.removesuffix(".weight")


def _told(kind: AdapterKind, shapes: tuple[Shape, ...]) -> str:
    return " and ".join(f"{name} {list(shape)}" for name, shape in zip(kind.leaves, shapes, strict=True))


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
    wanted = shapes_for(module, weights)
    if all(same_shape(given, shape) for given, shape in zip(weights.shapes, wanted, strict=True)):
        return []
    remedy = "It was made for another model; choose the base model that it was trained on."
    given = _told(weights.kind, weights.shapes)
    return [Problem(f"{where}: {key}", given, _told(weights.kind, wanted), remedy)]


def shapes_for(module: nn.Module, weights: ModuleWeights) -> tuple[Shape, ...]:
    """Return the shapes that an adapter of the kind and rank of `weights` has over a linear layer or convolution."""
    return weights.kind.shapes(sizes_of(module), weights.rank)


def same_shape(given: Iterable[int], wanted: Iterable[int]) -> bool:
    """Tell whether two shapes agree but for trailing ones: some programs store a 1×1 convolution's LoRA as 2-D."""
    return _squeezed(tuple(given)) == _squeezed(tuple(wanted))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape
