"""The rule about files of sample prompts."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.findings.records import Finding, Severity
from maquette.findings.registry import Report, rule
from maquette.kohya.options import BUCKET_GRID_PX, CHOICES
from maquette.kohya.prompts import MEANT, OPTIONS, Prompt, PromptFile
from maquette.project.request import TrainingRequest
from maquette.rules.wording import joined

VAE_GRID_PX = 8
SAMPLE_SIZE_PX = 512
"""What sd-scripts draws at where a prompt says no size, whatever the base."""

MUCH_LARGER = 1.25
"""A run that trains at so many times that size shows something else than its samples."""


@rule("SET025", "sample-prompts-misread", "warning", since="0.2")
def sample_prompts_misread(
    file: PromptFile, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """A line of the prompt file does not say to the trainer what it says to a reader.

    Why: sd-scripts cuts a line at ` --` and knows options of one or two letters. Two hyphens that a word processor has made a
    dash, a single hyphen or a missing space leave the option in the prompt, where it is drawn as words; `--width 1024` is passed
    over without a word, and the picture comes out at 512 px. Samples then mislead about the whole run.
    Found by: dashes, single hyphens and missing spaces before an option; options that do not exist and values that are no
    number; samplers that are not known (DDIM is used); sizes that are no multiple of 8 (rounded down) or of the network's 64
    (SDXL 32: a hint); no size where the run trains at 640 px or more; a file that sd-scripts cannot open (an error).
    Do: Write ` --n blurry --w 1024 --h 1024 --d 1 --l 7 --s 28` behind the prompt.
    Fault: `zkw_fox, portrait –w 1024`
    Instead: `zkw_fox, portrait --w 1024`
    Source: sd-scripts 48d368fa (line_to_prompt_dict, load_prompts, sample_image_inference).
    """
    if file.unreadable:
        yield report(
            file.path,
            "",
            f"{_capital(file.unreadable)}.",
            "Save it as UTF-8 text, NAME.txt.",
            severity="error",
        )
        return
    for prompt in file.prompts:
        for message, remedy, severity in (*_misread(prompt), *_sizes(prompt, request)):
            yield report(file.path, f"line {prompt.line}", message, remedy, severity=severity)
    yield from _default_size(file, request, report)


Fault = tuple[str, str, Severity]


def _misread(prompt: Prompt) -> Iterator[Fault]:
    if prompt.not_split:
        given = f"{joined(prompt.not_split)} {'is' if len(prompt.not_split) == 1 else 'are'} drawn as part of the prompt."
        yield given, "Write two hyphens with a space before them: --n, --w, --h.", "warning"
    for each in prompt.unknown:
        name, _, value = each.partition(" ")
        if not name:
            given = (
                f"'{value}' stands behind a lone --: sd-scripts cuts it off the prompt and passes it over."
            )
            yield given, "Write a comma for the --.", "warning"
        elif name.lower() in OPTIONS:
            given = f"--{name} {value}: no value that sd-scripts can read, so it is passed over."
            yield given, "Write a number, or remove it.", "warning"
        else:
            meant = MEANT.get(name.lower())
            known = ", ".join(f"--{option}" for option in ("n", "w", "h", "d", "l", "s", "ss"))
            yield (
                f"sd-scripts knows no --{name} and passes it over.",
                f"Write --{meant}." if meant else f"It knows {known}.",
                "warning",
            )
    sampler = prompt.values.get("ss")
    if sampler is not None and sampler not in CHOICES["sample_sampler"]:
        given = f"The sampler {sampler} is not known, and DDIM is used."
        yield given, f"Known: {', '.join(CHOICES['sample_sampler'])}.", "warning"


def _sizes(prompt: Prompt, request: TrainingRequest | None) -> Iterator[Fault]:
    grid = BUCKET_GRID_PX.get(request.script or "") if request is not None else None
    for option in ("w", "h"):
        size = int(prompt.values[option]) if prompt.values.get(option, "").isdigit() else 0
        if size and size % VAE_GRID_PX:
            drawn = max(64, size // VAE_GRID_PX * VAE_GRID_PX)
            given = f"--{option} {size} is no multiple of {VAE_GRID_PX}: it is drawn at {drawn} px."
            yield given, f"Write --{option} {drawn}.", "warning"
        elif size and grid is not None and size % grid:
            near = max(grid, round(size / grid) * grid)
            given = (
                f"--{option} {size} is no multiple of {grid}: the U-Net stretches its inner levels to fit."
            )
            yield given, f"Write --{option} {near}.", "hint"


def _default_size(file: PromptFile, request: TrainingRequest | None, report: Report) -> Iterator[Finding]:
    size = max(request.resolution_wh or (0, 0)) if request is not None else 0
    silent = [prompt.line for prompt in file.prompts if not {"w", "h"} & prompt.values.keys()]
    if size >= SAMPLE_SIZE_PX * MUCH_LARGER and silent:
        where = f"line {silent[0]}" + (f" and {len(silent) - 1} more" if len(silent) > 1 else "")
        given = f"No size is said: samples are drawn at {SAMPLE_SIZE_PX} px, and the run trains at {size}."
        yield report(file.path, where, given, f"Add --w {size} --h {size}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
