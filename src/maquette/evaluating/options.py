"""What an evaluation is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from maquette.project.fields import Flag, Options
from maquette.project.settings import Device, Precision, StatedPrediction

MOST_SEEDS = 64
_LEAST_PX, _MOST_PX = 16, 8192


def seeds_of(value: Any) -> Any:
    """Return the seeds 1 to N for a number N, as the command line says it; a list stays."""
    if not isinstance(value, int | str):
        return value
    count = int(value) if str(value).isdigit() else 0
    if not 1 <= count <= MOST_SEEDS:
        raise ValueError(f"a number of pictures from 1 to {MOST_SEEDS}, or a list of seeds")
    return tuple(range(1, count + 1))


def strengths_of(value: Any) -> Any:
    """Return the strengths of `0.6,0.8,1`; a list stays."""
    given = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
    given = (given,) if isinstance(given, int | float) else given
    try:
        found = tuple(dict.fromkeys(float(each) for each in given))
    except (TypeError, ValueError):
        found = ()
    if not found or not all(-4 <= each <= 4 and each for each in found):
        raise ValueError("numbers from -4 to 4 with commas between them, without 0: 0.6,0.8,1")
    return found


def _size(value: Any) -> Any:
    """Return (width, height) of `768`, `832x1216` or a pair."""
    found = (
        re.fullmatch(r"(\d+)(?:\s*[x×]\s*(\d+))?", str(value).strip())
        if isinstance(value, str | int)
        else None
    )
    pair = (int(found[1]), int(found[2] or found[1])) if found else value
    if (
        not isinstance(pair, list | tuple)
        or len(pair) != 2
        or not all(isinstance(side, int) and _LEAST_PX <= side <= _MOST_PX for side in pair)
    ):
        raise ValueError(f"pixels from {_LEAST_PX} to {_MOST_PX}: 768, or 832x1216")
    return tuple(pair)


def _beside(value: Any) -> Any:
    """Return (file, strength) of each `FILE:0.7`; without a number the strength is 1."""
    found: list[tuple[Path, float]] = []
    wanted = ValueError("LoRA files, each with a strength behind a colon: ink.safetensors:0.7")
    if not isinstance(value, str | Path | list | tuple):
        raise wanted
    for each in (value,) if isinstance(value, str | Path) else value:
        if isinstance(each, list | tuple) and len(each) == 2 and isinstance(each[1], int | float):
            found.append((Path(str(each[0])), float(each[1])))
            continue
        if not isinstance(each, str | Path) or not str(each).strip():
            raise wanted
        path, _, strength = str(each).rpartition(":")
        is_number = re.fullmatch(r"-?\d*\.?\d+", strength) is not None and bool(path)
        found.append((Path(path), float(strength)) if is_number else (Path(str(each)), 1.0))
    return tuple(found)


class DrawnOptions(Options):
    """How the pictures are drawn; what is not said is the run's, else the family's."""

    negative: str | None = Field(None, description="What the pictures should not show.")
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps. Default: the run's, or 25.")
    guidance: float | None = Field(None, ge=0, description="Guidance scale (CFG).")
    sampler: str | None = Field(
        None,
        description="Sampler, by its name here, in ComfyUI or in AUTOMATIC1111: euler_ancestral, `DPM++ 2M Karras`.",
    )
    clip_skip: int | None = Field(
        None, ge=1, le=12, description="Text layer counted from the end; 1 is the last."
    )
    size: Annotated[tuple[int, int] | None, BeforeValidator(_size), Flag(metavar="PX", single=True)] = Field(
        None,
        description="Edge, or WIDTHxHEIGHT, of the pictures. Default: what was trained, else the base's own.",
    )
    batch: int | None = Field(
        None,
        ge=1,
        description="Pictures drawn together. Default: by their size, and by what a card has unused.",
    )
    prediction: StatedPrediction | None = Field(
        None, description="What the base predicts, where its file does not say: epsilon or v."
    )
    zero_terminal_snr: bool | None = Field(
        None, description="Noise schedule whose last timestep is pure noise."
    )
    device: Device | None = Field(None, description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Precision | None = Field(None, description="Arithmetic of the base.")


class EvaluateOptions(DrawnOptions):
    """What is drawn with every checkpoint."""

    suite: Literal["quick", "profile", "thirty"] | None = Field(
        None,
        description="Prompts: a few of every kind, several of every kind, or nine categories of three. Default: quick.",
    )
    prompts: Annotated[tuple[str, ...], Flag("--prompt")] = Field(
        (), description="Prompt to draw; {trigger} stands for the trigger. Without --suite, in place of one."
    )
    prompt_file: Annotated[Path | None, Flag("--prompts", "FILE")] = Field(
        None,
        description="Text file of prompts as sd-scripts reads it, one a line with --n --w --h --d --l --s.",
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(seeds_of), Flag(metavar="N", single=True)] = Field(
        (1, 2, 3, 4),
        min_length=1,
        description="Pictures per prompt, seeds 1 to N; from Python a list of seeds too. Default: 4.",
    )
    strengths: Annotated[
        tuple[float, ...], BeforeValidator(strengths_of), Flag(metavar="X,X,…", single=True)
    ] = Field(
        (1.0,), min_length=1, description="Strengths that each LoRA is drawn at: 0.6,0.8,1. Default: 1."
    )
    beside: Annotated[tuple[tuple[Path, float], ...], BeforeValidator(_beside), Flag("--with", "FILE:X")] = (
        Field(
            (), description="Another LoRA that is active too, for the base alone as well, with its strength."
        )
    )
    references: tuple[Path, ...] = Field(
        (),
        description="Pictures or folders that show the subject and were not trained on. Default: the project's references/.",
    )
    encoder: str = Field(
        "",
        description="What looks at the pictures: NAME or NAME=FOLDER, as for `curate`. Default: what suits the references.",
    )
    base: str | None = Field(None, description="The base model, for files outside a run.")
    trigger: str | None = Field(None, description="The trigger, where neither a run nor the file says it.")
    class_word: str | None = Field(
        None, description="The ordinary word for the subject: man, dog, anime character."
    )
    profile: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None, description="The subject's profile.toml. Default: the one by the run's pictures."
    )
    output: Path | None = Field(
        None, description="Folder for pictures and report. Default: the run's, or evaluations/NAME for files."
    )
