"""Rules about how a run computes: compiled blocks."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.wording import joined

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
