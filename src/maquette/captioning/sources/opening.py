"""The sources of captions: each announced once, found by its name.

    SPEC is NAME or NAME:ARGUMENT, e.g. `template`, `wd:models/wd-eva02-large-tagger-v3`, `server:rewrite`.

A source answers for pictures and knows nothing of the strategy but what it asks for; cleaning, arranging and refusing is
done for all of them alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maquette.captioning.options import SourceOptions
from maquette.captioning.sources.chain import Chain
from maquette.captioning.sources.source import Context, Source
from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.fields import flag_of


@dataclass(frozen=True)
class Kind:
    """A source that can be chosen."""

    name: str
    summary: str
    opens: str
    """`module:function` that returns the source for (argument, context); imported when it is chosen."""
    uses: frozenset[str]
    """Names of the SourceOptions it takes."""
    is_model: bool = False
    """Whether a model looks at each picture, which takes time."""


_MODEL_TALK = frozenset({"longest_side", "temperature", "max_new_tokens", "instructions"})
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "wd",
            "WD tagger (ONNX): booru tags, quick on a CPU",
            "maquette.captioning.sources.tagger:open_source",
            frozenset({"model", "batch_size", "threshold", "character_threshold"}),
            is_model=True,
        ),
        Kind(
            "vlm",
            "a vision-language model in this process (Qwen-VL, Florence-2, …)",
            "maquette.captioning.sources.vlm:open_source",
            _MODEL_TALK | {"model", "device", "batch_size"},
            is_model=True,
        ),
        Kind(
            "server",
            "a vision-language model behind an OpenAI-compatible server (vLLM, Ollama, LM Studio)",
            "maquette.captioning.sources.server:open_source",
            _MODEL_TALK | {"url", "model", "api_key_variable", "timeout_s", "retries", "retry_wait_s"},
            is_model=True,
        ),
        Kind(
            "template",
            "a pattern filled from file names, folders and a CSV table",
            "maquette.captioning.sources.template:open_source",
            frozenset({"template", "table"}),
        ),
        Kind(
            "palette",
            "the picture's colours as words and hex values",
            "maquette.captioning.sources.palette:open_source",
            frozenset({"colours"}),
        ),
        Kind(
            "rewrite",
            "the present caption put under the strategy, without a model",
            "maquette.captioning.sources.rewrite:open_source",
            frozenset(),
        ),
    )
}


def open_sources(specs: Sequence[str], context: Context) -> Source:
    """Return the source that `specs` name; several are asked one after the other and their words joined.

    Raises ConfigError for an unknown name, an option that none of them uses, or one that cannot be opened.
    """
    chosen = [_kind(spec) for spec in specs]
    _check_options([kind for kind, _ in chosen], context.options)
    opened = [_opener(kind)(argument, context) for kind, argument in chosen]
    if len(opened) == 1:
        return opened[0]
    return Chain(opened)


def _kind(spec: str) -> tuple[Kind, str]:
    name, _, argument = spec.partition(":")
    if name not in KINDS:
        raise ConfigError(
            Problem("--source", f"'{spec}'", f"one of {', '.join(KINDS)}", did_you_mean(name, KINDS))
        )
    return KINDS[name], argument


def _opener(kind: Kind) -> Callable[[str, Context], Source]:
    module, _, function = kind.opens.partition(":")
    opener: Callable[[str, Context], Source] = getattr(importlib.import_module(module), function)
    return opener


def _check_options(kinds: Sequence[Kind], options: SourceOptions) -> None:
    used = frozenset().union(*(kind.uses for kind in kinds))
    names = " + ".join(kind.name for kind in kinds)
    problems = [
        Problem(
            flag_of(option, SourceOptions.model_fields[option]),
            f"given with --source {names}, which does not use it",
            f"a source that does: {', '.join(kind.name for kind in KINDS.values() if option in kind.uses)}",
            "Leave it out, or choose that source.",
        )
        for option in options.for_sources()
        if option not in used
    ]
    if problems:
        raise ConfigError(problems)
