"""Rules about how a run computes: compiled blocks, CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.footprint.run import device_of
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest
from maquette.rules.wording import device_words, joined

GRAPHS = "reduce-overhead"
DROPOUTS = ("dropout", "rank_dropout", "module_dropout")


@rule("SET044", "compiled-blocks-with-dropout", "error", since="0.2")
def compiled_blocks_with_dropout(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """`compile_blocks` is on together with a dropout of the adapter.

    Why: What is dropped follows from the seed and the step, so that a run resumes to the same weights. A compiled block knows one
    step: it would be compiled anew at each, minutes for a step of seconds.
    Found by: compile_blocks with dropout, rank_dropout or module_dropout above 0.
    Do: Leave the dropout at 0, or compile_blocks off.
    Fault: `compile_blocks = true` and `dropout = 0.1`
    Instead: `compile_blocks = true`
    Source: training/kernels.py.
    """
    dropped = [name for name in DROPOUTS if getattr(request, name)]
    if request.compile_blocks and dropped:
        yield report(
            request.file,
            request.said("compile_blocks"),
            f"compile_blocks with {joined(dropped)}: each step would be compiled anew.",
            f"Set {joined(dropped)} to 0, or leave compile_blocks off.",
        )


@rule("ENV026", "cuda-graphs-without-cuda", "error", since="0.2")
def cuda_graphs_without_cuda(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """`compile_mode = "reduce-overhead"` asks for CUDA graphs on a device that has none.

    Why: torch would compile the blocks without graphs and say nothing: what was asked for would not be there.
    Found by: compile_mode against the device that the run would use.
    Do: Leave compile_mode out: `compile_blocks` alone works on a processor too.
    Fault: `compile_mode = "reduce-overhead"` on a processor
    Instead: `compile_mode = "default"`
    Source: PyTorch's documentation of torch.compile.
    """
    device = device_of(request, machine)
    if request.compile_mode == GRAPHS and device not in ("cuda", "rocm"):
        yield report(
            request.file,
            request.said("compile_mode"),
            f"compile_mode {GRAPHS} replays CUDA graphs, and the run would use {device_words(request, machine)}.",
            "Leave compile_mode out.",
        )


@rule("SET047", "compile-mode-without-compiling", "warning", since="0.2")
def compile_mode_without_compiling(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """`compile_mode` is set and nothing is compiled.

    Why: It says how blocks are compiled; without `compile_blocks` none are, and the run is no faster.
    Found by: a compile_mode other than default while compile_blocks is off.
    Do: Turn compile_blocks on, or leave compile_mode out.
    Fault: `compile_mode = "reduce-overhead"` alone
    Instead: `compile_blocks = true` and `compile_mode = "reduce-overhead"`
    Source: Maquette's own settings.
    """
    if request.compile_mode not in (None, "default") and not request.compile_blocks:
        yield report(
            request.file,
            request.said("compile_mode"),
            f"compile_mode {request.compile_mode} has no effect: compile_blocks is off.",
            "Set compile_blocks, or leave compile_mode out.",
        )
