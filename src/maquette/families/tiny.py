"""Random checkpoints in the real layouts: tiny ones for tests, full-size ones in place of a download."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from maquette.families.common.shapes import write_streamed
from maquette.families.protocol import Prediction
from maquette.families.sd1 import tiny as sd1_tiny
from maquette.families.sd2 import tiny as sd2_tiny
from maquette.families.sdxl import tiny as sdxl_tiny

LAYOUTS: dict[str, tuple[Callable[[Any], dict[str, tuple[int, ...]]], Any, Any]] = {
    "sd1": (sd1_tiny.file_shapes, sd1_tiny.TINY, sd1_tiny.FULL),
    "sd2": (sd2_tiny.file_shapes, sd2_tiny.TINY, sd2_tiny.FULL),
    "sdxl": (sdxl_tiny.file_shapes, sdxl_tiny.TINY, sdxl_tiny.FULL),
}
"""By family: what lists a file's tensors, and the sizes of its tiny and full variants."""

LAST_OF_RESIDUAL = re.compile(
    r"(out_layers\.3|proj_out|to_out\.0|ff\.net\.2|conv2|out_proj|mlp\.fc2|mlp\.c_proj)\.weight$"
)


def file_shapes(family: str, size: Literal["tiny", "full"]) -> dict[str, tuple[int, ...]]:
    """Return every tensor of the family's single file, by name."""
    shapes, tiny, full = LAYOUTS[family]
    return shapes(tiny if size == "tiny" else full)


def write_tiny(
    family: str,
    path: str | Path,
    seed: int = 0,
    prediction: Prediction = "epsilon",
    *,
    dtype: torch.dtype = torch.float32,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a tiny single-file checkpoint with random weights (about 15 MB in float32); return its path."""
    return _write(family, "tiny", path, seed, prediction, dtype, metadata or {})


def write_full(
    family: str,
    path: str | Path,
    dtype: torch.dtype = torch.float16,
    seed: int = 0,
    prediction: Prediction = "epsilon",
    *,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a full-size checkpoint with random weights (float16: 2 GB or 7 GB), tensor by tensor."""
    return _write(family, "full", path, seed, prediction, dtype, metadata or {})


def _write(
    family: str,
    size: Literal["tiny", "full"],
    path: str | Path,
    seed: int,
    prediction: Prediction,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> Path:
    stated = {"modelspec.prediction_type": prediction} if prediction != "epsilon" else {}
    return write_streamed(
        Path(path),
        file_shapes(family, size),
        lambda name, shape: random_tensor(name, shape, seed),
        dtype=dtype,
        metadata={**stated, **metadata},
    )


def random_tensor(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return float32 values, a function of `name` and `seed`, that keep activations finite.

    Norm weights 1 ± 0.1, biases ± 0.02, embeddings ± 0.035, others uniform with variance 1 / fan-in, a
    quarter of that in the last layer of a residual branch.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little") >> 1
    generator = torch.Generator().manual_seed(number)
    offset, amplitude = 0.0, 0.02
    if "embedding" in name:
        amplitude = 0.035
    elif len(shape) > 1:
        gain = 0.5 if LAST_OF_RESIDUAL.search(name) else 1.0
        amplitude = gain * math.sqrt(3 / math.prod(shape[1:]))
    elif name.endswith(".weight"):
        offset, amplitude = 1.0, 0.1
    return torch.empty(shape).uniform_(offset - amplitude, offset + amplitude, generator=generator)
