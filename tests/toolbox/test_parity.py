"""sd-scripts' own tools on the same files make the same of them (tests/golden/toolbox.json, made by parity.py).

Tolerance: theirs compute in float32 by LAPACK, ours in float64 by other ways; sums of some thousand products of about 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from maquette import lora_extract, lora_merge, lora_resize
from tests.reference import golden_json
from tests.toolbox.conftest import weights_of
from tests.toolbox.parity import EXTRACT, RESIZES, STRENGTHS, told, told_of_model, write_inputs

RELATIVE = 1e-4


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    found: dict[str, Any] = golden_json("toolbox.json")
    return found


def require_same(found: Mapping[str, Any], known: Mapping[str, Any], relative: float = RELATIVE) -> None:
    for key, theirs in known.items():
        ours = found[key]
        if isinstance(theirs, Mapping):
            assert ours["rank"] == theirs["rank"], key
            assert ours["alpha"] == pytest.approx(theirs["alpha"]), key
            theirs, ours = theirs["change"], ours["change"]
        # The second number is a sum of both signs, small beside the norm.
        assert ours == pytest.approx(theirs, rel=relative, abs=relative * theirs[0]), key


@pytest.mark.parametrize("name", RESIZES)
def test_resized(name: str, inputs: dict[str, Path], numbers: dict[str, Any], tmp_path: Path) -> None:
    done = lora_resize(inputs["a"], output=tmp_path / "r.safetensors", **RESIZES[name])
    require_same(told(load_file(done.path)), numbers[f"resize {name}"])


def test_merged_by_singular_values(inputs: dict[str, Path], numbers: dict[str, Any], tmp_path: Path) -> None:
    done = lora_merge(
        inputs["a"], inputs["b"], strengths=STRENGTHS, rank=4, output=tmp_path / "m.safetensors"
    )
    require_same(told(load_file(done.path)), numbers["svd merge"])


def test_merged_into_a_base(inputs: dict[str, Path], numbers: dict[str, Any], tmp_path: Path) -> None:
    done = lora_merge(
        inputs["a"], inputs["b"], base=inputs["base"], strengths=STRENGTHS, output=tmp_path / "m.safetensors"
    )
    require_same(told_of_model(weights_of(inputs["base"]), weights_of(done.path)), numbers["into base"])


@pytest.mark.parametrize(
    ("name", "quantile", "relative"),
    [("extract", 1.0, RELATIVE), pytest.param("extract clamped", 0.99, 0.03, marks=pytest.mark.slow)],
)
def test_extracted(
    name: str,
    quantile: float,
    relative: float,
    inputs: dict[str, Path],
    numbers: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Clamped, theirs depends on the signs of singular vectors: a hundredth of the values is cut at a bound that they move."""
    done = lora_extract(
        inputs["tuned"],
        base=inputs["base"],
        dtype="fp32",
        output=tmp_path / "e.safetensors",
        clamp_quantile=quantile,
        **EXTRACT,
    )
    require_same(told(load_file(done.written.path)), numbers[name], relative)
