"""The rule about files of other programs in which nothing can be checked."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.elsewhere.kinds import START_FROM_IT, ForeignFile
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule


@rule("CHK010", "file-of-another-program", "error", since="0.2")
def file_of_another_program(file: ForeignFile, report: Report) -> Iterator[Finding]:
    """The file belongs to another program, and nothing in it can be checked.

    Why: A workflow, a notebook or a list of captions has an ending that settings have too. Judged as settings it would get
    findings that mean nothing, and no finding at all would look like a clean bill.
    Found by: marks in its content: ComfyUI workflows, notebooks, accelerate's default_config.yaml, metadata copied out of a
    LoRA, lists of pictures with captions, lists of concepts, backends and folders of other trainers, settings for whole
    models.
    Do: Give what the message names instead.
    Fault: `maquette check default_config.yaml`
    Instead: `maquette check train.sh`
    Source: the programs' own files: kohya_ss, OneTrainer, ai-toolkit, SimpleTuner, diffusion-pipe, ComfyUI, accelerate,
    datasets on the Hugging Face hub.
    """
    if file.kind.read is None:
        remedy = file.kind.then or START_FROM_IT
        yield report(file.path, "", f"It is {file.kind.title}: nothing in it can be checked.", remedy)
