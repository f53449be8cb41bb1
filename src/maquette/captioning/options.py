"""What captioning is asked for: what captions name, where their words come from, what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from maquette.project.fields import Flag, Options

StrategyName = Literal["character", "style", "object", "detailed"]
MAX_TOKENS = 75
"""What a text encoder reads at once."""


class SourceOptions(Options):
    """What sources can be told; an option that no chosen source uses is an error."""

    url: str | None = Field(None, description="server: its address, e.g. http://127.0.0.1:11434/v1.")
    model: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="server: the model's name there. vlm, wd: a folder or hub name."
    )
    api_key_variable: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None,
        description="server: environment variable that holds the key. Default: MAQUETTE_API_KEY, if set.",
    )
    timeout_s: Annotated[float | None, Flag("--timeout", "S")] = Field(
        None, gt=0, description="server: seconds that one answer may take. Default: 120."
    )
    retries: int | None = Field(
        None, ge=0, description="server: how often a failed question is asked again. Default: 4."
    )
    retry_wait_s: Annotated[float | None, Flag("--retry-wait", "S")] = Field(
        None, ge=0, description="server: first pause before asking again, in seconds; it doubles. Default: 1."
    )
    longest_side: Annotated[int | None, Flag(metavar="PX")] = Field(
        None,
        ge=64,
        description="server, vlm: pictures are shown at most this large, in pixels. Default: 1024.",
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="server, vlm: 0 always says the likeliest. Default: 0."
    )
    max_new_tokens: int | None = Field(
        None, ge=1, description="server, vlm: the longest answer; a longer one is refused. Default: 200."
    )
    instructions: str | None = Field(
        None,
        description="server, vlm: said to the model besides its task: what the pictures have in common, what to look for.",
    )
    device: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="vlm: cuda, mps or cpu. Default: the best there is."
    )
    batch_size: int | None = Field(
        None, ge=1, description="vlm, wd: pictures looked at together. Default: 4 and 8."
    )
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="wd: least probability of a tag; lower says more and errs more. Default: 0.35.",
    )
    character_threshold: float | None = Field(
        None, ge=0, le=1, description="wd: least probability of a named character. Default: 0.85."
    )
    template: str | None = Field(
        None, description='template: e.g. "{trigger}, {framing}, {view}, {pose}, {background}".'
    )
    table: Annotated[Path | None, Flag(metavar="CSV")] = Field(
        None, description="template: table with a column `file`; its columns are fields."
    )
    colours: int | None = Field(None, ge=1, le=32, description="palette: colours named. Default: 5.")

    def for_sources(self) -> dict[str, Any]:
        """Return what was said to sources."""
        return {name: value for name, value in self.given().items() if name in SourceOptions.model_fields}


class WritingOptions(Options):
    """Which caption files, and whether they are written."""

    dry_run: bool = Field(False, description="Show what would be written; write nothing.")
    caption_extension: Annotated[str | None, Flag(metavar=".EXT")] = Field(
        None, description="Ending of caption files. Default: .txt, or the project's."
    )


class CaptionOptions(SourceOptions, WritingOptions):
    """What captions name, and where the words come from."""

    strategy: StrategyName | None = Field(
        None,
        description="What captions name: see --explain. Default: what suits the kind that the profile says.",
    )
    source: Annotated[tuple[str, ...], Flag(metavar="SPEC")] = Field(
        min_length=1,
        description="Where the words come from: wd, vlm, server, template, palette, rewrite; NAME:ARGUMENT gives a model. "
        "Several are asked one after the other for the same caption.",
    )
    profile: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None, description="The subject's profile. Default: the profile.toml by the pictures."
    )
    trigger: str | None = Field(None, description="The trigger word, where there is no profile.")
    overwrite: bool = Field(False, description="Also ask for pictures that have a caption already.")
    preview: int = Field(
        10, ge=0, description="Show so many captions first; a terminal asks before any is written. 0: none."
    )
    limit: int | None = Field(None, ge=1, description="Caption at most N pictures.")
    workers: int = Field(4, ge=1, le=64, description="Questions to a server at once.")
    max_tokens: int = Field(
        MAX_TOKENS,
        ge=1,
        description="Refuse longer captions; more than 75 needs a trainer set to 150 or 225.",
    )


class ReplaceOptions(WritingOptions):
    """What is replaced in every caption."""

    find: str = Field(description="Text to replace in every caption.")
    replace: str = Field(description="What it becomes; empty takes it out.")
    regex: bool = Field(
        False, description="--find is a regular expression; --replace may name its groups (\\1)."
    )
    whole_word: bool = Field(False, description="Only where --find stands as a word of its own.")
    ignore_case: bool = Field(False, description="Capital letters do not matter to --find.")
