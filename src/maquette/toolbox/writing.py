"""Writing what a tool made: a new file beside, whole or not at all, never over another one unasked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import OutputError, Problem
from maquette.lora.files import DTYPES, save_lora
from maquette.lora.kinds import ALPHA, DEFAULT_KIND, KINDS
from maquette.lora.size import Precision
from maquette.lora.state import ModuleWeights
from maquette.toolbox.changes import Change, Parts, inner

SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A LoRA that a tool wrote."""

    path: Path
    modules: int
    ranks: tuple[int, ...]
    """All ranks that occur, rising."""
    dtype: Precision
    num_bytes: int
    error: float | None = None
    """‖asked for − held by the file‖ / ‖asked for‖ over all modules; None where nothing was worked out anew."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """The same of each module."""
    kept: float | None = None
    """Share of the squared norm that the file keeps."""
    left_out: tuple[str, ...] = ()
    """Modules and tensors of the input that the file does not have."""
    notes: tuple[str, ...] = ()


def place_for(first: Path, output: Path | None, done: str, *, overwrite: bool) -> Path:
    """Return where a result goes: `output`, else a name beside `first`. Raises OutputError where something else is there."""
    place = output if output is not None else first.with_name(f"{first.stem}-{done}{SUFFIX}")
    if place.suffix != SUFFIX:
        given = f"a name that ends in '{place.suffix}'" if place.suffix else "a name without ending"
        remedy = f"Call it {place.name}{SUFFIX}." if not place.suffix else "Programs list no other."
        raise OutputError(Problem(str(place), given, f"a {SUFFIX} file", remedy))
    require_free(place, overwrite=overwrite)
    return place


def require_free(*places: Path, overwrite: bool = False) -> None:
    """Raise OutputError for every place where something is already that may not be replaced."""
    problems = [
        Problem(str(place), "is a folder", "a new file", "Give another --output.")
        if place.is_dir()
        else Problem(str(place), "is there already", "a new file", "Give another --output, or --overwrite.")
        for place in places
        if place.is_dir() or (place.exists() and not overwrite)
    ]
    if problems:
        raise OutputError(problems)


def state_of(modules: Mapping[str, ModuleWeights]) -> dict[str, Tensor]:
    """Return modules as the tensors of a kohya file, each with its alpha first."""
    state: dict[str, Tensor] = {}
    for key, weights in modules.items():
        state[f"{key}.{ALPHA}"] = torch.tensor(weights.alpha)
        state |= {
            f"{key}.{name}": tensor
            for name, tensor in zip(weights.kind.tensors, weights.tensors, strict=True)
        }
    return state


def plain(left: Tensor, right: Tensor, alpha: float, kernel: tuple[int, ...]) -> ModuleWeights:
    """Return plain LoRA of up `left` [O, r] and down `right` [r, N], in the shapes that files have."""
    rank = right.shape[0]
    inputs = right.shape[1] // max(math.prod(kernel), 1)
    down = right.reshape(rank, inputs, *kernel).float().contiguous()
    up = left.reshape(left.shape[0], rank, *(1 for _ in kernel)).float().contiguous()
    return ModuleWeights(KINDS[DEFAULT_KIND], (down, up), alpha)


def plain_of_parts(parts: Parts, precision: Precision, scale: float = 1.0) -> ModuleWeights:
    """Return plain LoRA whose change the parts are, both factors equally large; alpha / rank is about `scale`."""
    rank = len(parts.values)
    alpha = storable_alpha(scale if scale > 0 else 1.0, rank, precision)
    root = (parts.values * (rank / alpha)).sqrt()
    return plain(parts.left * root, root.unsqueeze(1) * parts.right, alpha, parts.kernel)


def storable_alpha(scale: float, rank: int, precision: Precision) -> float:
    """Return the alpha nearest to `scale` · rank that a file of this precision holds: what is beside goes into the weights."""
    return float(torch.tensor(scale * rank, dtype=torch.float64).to(DTYPES[precision])) or float(rank)


def rounded(weights: ModuleWeights, precision: Precision) -> ModuleWeights:
    """Return what a file of this precision gives back, alpha too."""
    dtype = DTYPES[precision]
    alpha = float(torch.tensor(weights.alpha).to(dtype))
    return ModuleWeights(weights.kind, tuple(tensor.to(dtype) for tensor in weights.tensors), alpha)


@dataclass
class Errors:
    """How far what is written is from what was asked for, module by module."""

    by_module: dict[str, float] = field(default_factory=dict)
    wanted: float = 0.0
    missed: float = 0.0
    held: float = 0.0

    def add(self, key: str, wanted: Change, written: Change | None) -> None:
        """Count one module; `written` None: it was left out."""
        whole = wanted.squared
        if written is None:
            missed, held = whole, 0.0
        else:
            # ‖a − b‖² by inner products: what cancels is 1e-16 of ‖a‖², so errors down to 1e-8 are seen.
            held = written.squared
            missed = max(whole - 2 * inner(wanted, written) + held, 0.0)
        self.by_module[key] = math.sqrt(missed / whole) if whole else 0.0
        self.wanted, self.missed, self.held = self.wanted + whole, self.missed + missed, self.held + held

    @property
    def total(self) -> float:
        """The error of all modules together."""
        return math.sqrt(self.missed / self.wanted) if self.wanted else 0.0

    @property
    def kept(self) -> float:
        """The share of the squared norm that is kept."""
        return max(1.0 - self.missed / self.wanted, 0.0) if self.wanted else 1.0


def save_modules(
    path: Path,
    modules: Mapping[str, ModuleWeights],
    metadata: Mapping[str, str],
    precision: Precision,
    *,
    errors: Errors | None = None,
    left_out: Iterable[str] = (),
) -> Written:
    """Write modules under kohya names and return what was written."""
    saved = save_lora(path, state_of(modules), metadata, dtype=precision)
    return Written(
        path=path,
        modules=len(modules),
        ranks=tuple(sorted({weights.rank for weights in modules.values()})),
        dtype=precision,
        num_bytes=saved.num_bytes,
        error=errors.total if errors else None,
        errors=dict(errors.by_module) if errors else {},
        kept=errors.kept if errors else None,
        left_out=tuple(left_out),
        notes=saved.notes,
    )
