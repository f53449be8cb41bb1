"""How a run computes: which kernels it asks torch for, that they are put back, and that compiled blocks say the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import maquette
from maquette import families
from maquette.errors import ConfigError
from maquette.events import Started
from maquette.project.settings import TrainingSettings
from maquette.training.kernels import compile_blocks, kernels_of
from maquette.training.loop import TrainResult

ShortRun = Callable[..., dict[str, Any]]


def kernels() -> tuple[bool, bool, bool, bool]:
    backends = torch.backends.cuda
    return (
        backends.flash_sdp_enabled(),
        backends.mem_efficient_sdp_enabled(),
        backends.math_sdp_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"attention": "flash"}, (True, False, False, False)),
        ({"attention": "efficient"}, (False, True, False, False)),
        ({"attention": "math"}, (False, False, True, False)),
        ({"deterministic": True}, (True, True, True, True)),
    ],
    ids=["flash", "efficient", "math", "deterministic"],
)
def test_kernels_are_those_asked_for_and_put_back_whatever_happens(
    asked: dict[str, Any], expected: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = kernels()
    with pytest.raises(KeyboardInterrupt), kernels_of(TrainingSettings(**asked)):
        assert kernels() == expected
        raise KeyboardInterrupt
    assert kernels() == before == (True, True, True, False)


def test_attention_by_matrix_products_goes_the_same_way(short_run: ShortRun, whole_run: TrainResult) -> None:
    """The kernels sum in another order: the losses agree to 1e-4 of themselves."""
    seen: list[tuple[bool, bool, bool, bool]] = []

    def look(event: Any) -> None:
        if isinstance(event, Started) and event.stage == "train":
            seen.append(kernels())

    math = maquette.train(**short_run(name="math", attention="math"), on_event=look)
    assert seen == [(False, False, True, False)]
    assert math.final_loss == pytest.approx(whole_run.final_loss, rel=1e-4)


def test_compiled_blocks_are_refused_with_dropout(short_run: ShortRun) -> None:
    with pytest.raises(ConfigError, match="compiled anew"):
        maquette.train(**short_run(compile_blocks=True, dropout=0.1))


@pytest.mark.slow
def test_compiled_blocks_compute_what_blocks_compute(short_run: ShortRun) -> None:
    """Fused operations round differently: losses agree to 1e-4 of themselves, with recomputed blocks among them too."""
    pytest.importorskip("torch._inductor")
    settings = short_run(dropout=0.0, steps=3, shuffle_caption=False)
    plain = maquette.train(**{**settings, "name": "plain"})
    compiled = maquette.train(**{**settings, "name": "compiled"}, compile_blocks=True, fit_memory_gib=0.5)
    assert compiled.final_loss == pytest.approx(plain.final_loss, rel=1e-4)


@pytest.mark.slow
def test_blocks_in_the_mode_of_graphs_compute_what_blocks_compute(tiny_base: Path) -> None:
    """On a processor torch leaves the graphs out of this mode: what is compiled, and where a pass begins, is the same."""
    pytest.importorskip("torch._inductor")
    model = families.load(tiny_base)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    conditioning = model.encode_text(model.tokenize(["a fox"]))

    def predicted() -> torch.Tensor:
        with torch.no_grad():
            return model.predict(noisy, torch.tensor([500]), conditioning)

    plain = predicted()
    compile_blocks(model, "reduce-overhead")
    assert torch.allclose(predicted(), plain, atol=1e-4)
    assert torch.allclose(predicted(), plain, atol=1e-4)
