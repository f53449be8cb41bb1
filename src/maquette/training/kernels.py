"""Which of torch's kernels a run uses: of attention, of repeatable sums, compiled or as they come.

Torch keeps these choices for the whole process, so they are set while a run trains and put back afterwards. They hold for
recomputed blocks as well, which run outside any context of the forward pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from maquette.errors import Problem, TrainingError

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.project.settings import TrainingSettings

ATTENTION_KERNELS: dict[str, tuple[bool, bool, bool]] = {
    "auto": (True, True, True),
    "flash": (True, False, False),
    "efficient": (False, True, False),
    "math": (False, False, True),
}
"""What `attention` allows: flash attention, the memory-efficient kernel, plain matrix products."""
WORKSPACE, DETERMINISTIC_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""cuBLAS repeats its sums only with fixed working space (NVIDIA's cuBLAS documentation, "Results reproducibility")."""
WITH_GRAPHS = ("reduce-overhead",)
"""Modes of torch.compile that replay CUDA graphs: all kernels of a block by one call, over memory of its own for each size."""
SHAPES_OF_A_BLOCK = 256
"""How many sizes of picture a compiled block is compiled for before torch gives up on it; its own default is 8."""


@contextmanager
def kernels_of(training: TrainingSettings) -> Iterator[None]:
    """Within, torch computes with the kernels that `training` asks for."""
    with _attention(training.attention), _determinism(training.deterministic):
        yield


@contextmanager
def _attention(name: str) -> Iterator[None]:
    backends = torch.backends.cuda
    switches: tuple[tuple[Callable[[], bool], Callable[[bool], None]], ...] = (
        (backends.flash_sdp_enabled, backends.enable_flash_sdp),
        (backends.mem_efficient_sdp_enabled, backends.enable_mem_efficient_sdp),
        (backends.math_sdp_enabled, backends.enable_math_sdp),
    )
    before = [is_on() for is_on, _ in switches]
    try:
        if name != "auto":
            for (_, switch), allowed in zip(switches, ATTENTION_KERNELS[name], strict=True):
                switch(allowed)
        yield
    finally:
        for (_, switch), was_on in zip(switches, before, strict=True):
            switch(was_on)


@contextmanager
def _determinism(asked: bool) -> Iterator[None]:
    """Within, where `asked`, an operation that has no repeatable kernel is an error, not a difference in the last bits."""
    if not asked:
        yield
        return
    was_on, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault(WORKSPACE, DETERMINISTIC_WORKSPACE)
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.use_deterministic_algorithms(was_on)
        torch.backends.cudnn.benchmark = benchmark


def compile_blocks(model: BaseModel, mode: str) -> None:
    """Have the denoiser's repeated blocks compiled when they are first called, adapters included, in one of torch's modes.

    Raises TrainingError where torch cannot compile here.
    """
    import torch._dynamo

    if not torch._dynamo.is_dynamo_supported():
        raise TrainingError(
            Problem(
                "compile_blocks",
                "torch cannot compile on this system",
                "Linux, macOS or Windows with a C++ compiler, and a Python that torch.compile knows",
                "Leave compile_blocks off: nothing but speed is lost.",
            )
        )
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES_OF_A_BLOCK)
    if mode in WITH_GRAPHS:
        # A graph's results stay until the next pass begins. Without gradients torch would take each block for a pass of its own.
        model.denoiser.register_forward_pre_hook(_begin_pass)
    model.compile_blocks(mode)


def _begin_pass(*_: object) -> None:
    torch.compiler.cudagraph_mark_step_begin()
