"""Writes the generated pages: the commands from their --help, the settings from their records, the rules from their
docstrings, the table of planted faults from the suite that plants them.

    python tools/make_docs.py            write the pages
    python tools/make_docs.py --check    write nothing; exit 1 and name the pages that are stale

Pages depend on the code alone: the width is fixed, and nothing of the machine or the moment enters.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from pydantic import BaseModel

from maquette.captioning.options import CaptionOptions
from maquette.checking.options import CheckOptions
from maquette.choosing.options import CompareRunsOptions, SelectOptions, VoteOptions
from maquette.cli.app import maquette as cli
from maquette.comparing.options import ReproduceOptions, RunsOptions
from maquette.curating.options import CurateOptions
from maquette.deploying.options import DeployOptions
from maquette.encoders import load_encoder
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.validate_options import ValidateOptions
from maquette.importing.options import ImportOptions
from maquette.masking.options import MasksOptions
from maquette.measuring.copying import CopyingMeasurer
from maquette.measuring.drift import DriftMeasurer
from maquette.measuring.embedder import Embedder
from maquette.measuring.headlines import HEADLINES, WEIGHTS
from maquette.measuring.looks import FirstLook
from maquette.measuring.memorization import GAP_MEASURE
from maquette.measuring.memorization import MEASURE as MEMORIZATION
from maquette.measuring.protocol import Measure
from maquette.measuring.style import StyleMeasurer
from maquette.measuring.technical import TechnicalMeasurer
from maquette.measuring.training_likeness import TrainingLikenessMeasurer
from maquette.measuring.variety import VarietyMeasurer
from maquette.measuring.world import MEASURES as WORLD_MEASURES
from maquette.planning.init_options import InitOptions
from maquette.planning.options import PlanOptions
from maquette.project.fields import Options, flag_of
from maquette.project.form import UNITS
from maquette.project.settings import SECTIONS
from maquette.regularizing.options import RegularizeOptions
from maquette.rules.catalogue import GROUPS, all_rules
from maquette.rules.explain import markdown_index, markdown_page
from maquette.searching.options import SearchOptions
from maquette.toolbox.options import (
    CompareOptions,
    ConvertOptions,
    ExtractOptions,
    InspectOptions,
    MergeOptions,
    PruneOptions,
    ResizeOptions,
    StripOptions,
)

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
RULES = ROOT / "docs" / "rules"
WIDTH_CHARS = 100
NOTICE = "<!-- Written by tools/make_docs.py from the code. Change the code, then run `make docs`. -->\n"
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "multiple of {}",
}
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
NUMERIC = ("integer", "number")
STAGES: dict[str, type[Options]] = {
    "init": InitOptions,
    "curate": CurateOptions,
    "caption": CaptionOptions,
    "masks": MasksOptions,
    "regularize": RegularizeOptions,
    "check": CheckOptions,
    "plan": PlanOptions,
    "search": SearchOptions,
    "evaluate": EvaluateOptions,
    "select": SelectOptions,
    "vote": VoteOptions,
    "compare": CompareRunsOptions,
    "validate": ValidateOptions,
    "deploy": DeployOptions,
    "runs": RunsOptions,
    "import": ImportOptions,
    "reproduce": ReproduceOptions,
    "lora_inspect": InspectOptions,
    "lora_convert": ConvertOptions,
    "lora_merge": MergeOptions,
    "lora_resize": ResizeOptions,
    "lora_extract": ExtractOptions,
    "lora_compare": CompareOptions,
    "lora_strip_metadata": StripOptions,
    "lora_prune_blocks": PruneOptions,
}


def main() -> int:
    """Write or check every page; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Write the generated pages of docs/reference/ and docs/rules/."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check_only = parser.parse_args().check
    stale = stale_pages()
    for path, text in stale.items():
        if not check_only:
            write_page(path, text)
        print(f"{'stale' if check_only else 'written'}: {path.relative_to(ROOT)}")
    if stale and check_only:
        print("Run: make docs")
    return 1 if stale and check_only else 0


def write_page(path: Path, text: str | None) -> None:
    """Write a page, or remove one that nothing stands for any more."""
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def stale_pages() -> dict[Path, str | None]:
    """Return every page whose file is missing, differs from the code or has no source, with the text it should have."""
    pages: dict[Path, str | None] = {
        REFERENCE / "cli.md": cli_page(cli),
        REFERENCE / "settings.md": settings_page(SECTIONS),
        REFERENCE / "options.md": options_page(STAGES),
        REFERENCE / "measures.md": measures_page(),
        **rule_pages(),
    }
    pages |= {path: None for path in RULES.glob("*.md") if path not in pages}
    return {
        path: text
        for path, text in pages.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


ANCHORS = {
    "base": "what the base alone scores",
    "low": "the measure's low end",
    "high": "the measure's high end",
    "ceiling": "what the references score among themselves, else the measure's high end",
}


def measures_page() -> str:
    """Return the page of measures and of the numbers that scorecards make of them."""
    lines = [
        NOTICE,
        "# Measures and scorecards",
        "",
        "What `maquette evaluate` measures, and what a scorecard's numbers mean. `maquette evaluate RUN --json` gives them as",
        "`checkpoints`: name → measure → `value`, `low`, `high` (95 %).",
        "",
        "## Measures",
        "",
    ]
    for measure in known_measures():
        lines += [f"### {measure.title} (`{measure.name}`)", "", f"{capital(measure.definition)}", ""]
        facts = {
            "Formula": measure.formula,
            "Range": f"{measure.low:g} to {measure.high:g}, {measure.direction} is better",
            "Looked at by": measure.encoder,
            "Blind to": measure.blind_to,
            "Least": ""
            if measure.least is None
            else f"{measure.least:g}: below it, the card says what fails",
        }
        lines += [f"- {name}: {value}" for name, value in facts.items() if value] + [""]
    lines += [
        "## Headlines",
        "",
        "A headline is a measure over the prompts of some roles. On the common scale 0 and 1 are anchored, so that more is",
        "always better and headlines can be weighed against each other.",
        "",
        "| headline | measure | prompts | 0 is | 1 is | counts towards |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{each.name}` | `{each.measure}` | {', '.join(each.roles)} | {ANCHORS[each.zero]} | {ANCHORS[each.one]} "
        f"| {each.aspect or 'nothing: it warns'} |"
        for each in HEADLINES
    ]
    weights = ", ".join(f"{name} {weight:g}" for name, weight in WEIGHTS.items())
    lines += [
        "",
        f"The score weighs the aspects: {weights}. An aspect's headlines count",
        "alike, each cut to 0 to 1; what was not measured is left out of the sum. A failed floor is",
        "said beside the score and never hidden by it.",
        "",
    ]
    return "\n".join(lines)


def known_measures() -> list[Measure]:
    """Return every measure, those of the small world's judge under their own names' first meaning."""
    embedder = Embedder(load_encoder("world"))
    nothing = embedder.of_pictures([])
    look = FirstLook(folder=Path(), looks=())
    measurers = (VarietyMeasurer(embedder, nothing, 4), DriftMeasurer(embedder, look))
    told = [*WORLD_MEASURES, *(measure for each in measurers for measure in each.measures)]
    told = [
        replace(measure, encoder="") if measure.name in ("variety", "drift") else measure for measure in told
    ]
    one = np.ones((2, embedder.encoder.dims), np.float32)
    training = TrainingLikenessMeasurer(embedder, one, one).measures
    told += [
        replace(measure, encoder="", blind_to="", formula="as identity, over sets of as many pictures")
        for measure in training
    ]
    style = Embedder(load_encoder("style", "cpu"))
    told += StyleMeasurer(style, np.ones((2, style.encoder.dims), np.float32), look).measures
    return [*told, *CopyingMeasurer.measures, *TechnicalMeasurer.measures, MEMORIZATION, GAP_MEASURE]


def capital(text: str) -> str:
    """Return a sentence with its first letter large."""
    return text[:1].upper() + text[1:]


def rule_pages() -> dict[Path, str]:
    """Return a page for each rule, the list of all, and the table of what was planted to prove them."""
    rules = all_rules()
    pages = {RULES / f"{code}.md": f"{NOTICE}\n{markdown_page(rule)}" for code, rule in rules.items()}
    pages[RULES / "index.md"] = "\n".join(
        [
            NOTICE,
            "# Rules\n",
            f"The {len(rules)} rules that `maquette check` runs. How to use it: [checking](../checking.md). "
            "How each was proved: [planted faults](planted.md).\n",
            markdown_index(rules),
        ]
    )
    pages[RULES / "planted.md"] = planted_page()
    return pages


def planted_page() -> str:
    """Return the table of planted faults and close calls, rule by rule."""
    sys.path.insert(0, str(ROOT))
    suite = importlib.import_module("tests.planted.test_planted")
    parts = [
        NOTICE,
        "# Planted faults\n",
        "The suite `tests/planted` begins with clean material (a kohya folder with its script, a dataset TOML, a "
        "project, a bare folder, a log, a LoRA file), on which no rule may speak. Each line below is one copy with "
        "exactly that change: a *fault* must raise its rule and no other (others in brackets where the same fault "
        "breaks them too), a *close call* must raise nothing at all. `make test` proves every line.\n",
    ]
    for group, title in GROUPS.items():
        rows = sorted(
            (planted for planted in suite.PLANTED if planted.code.startswith(group)),
            key=lambda planted: (planted.code, planted.kind != "fault"),
        )
        if rows:
            parts += [f"## {title}\n", "| rule | | what was changed | in |", "| --- | --- | --- | --- |"]
            parts += [planted_row(planted) for planted in rows]
            parts.append("")
    return "\n".join(parts)


def planted_row(planted: Any) -> str:
    """Return one line of the table."""
    also = f" ({', '.join(sorted(planted.also))})" if planted.also else ""
    text = planted.description.replace("|", "\\|")
    return f"| [{planted.code}]({planted.code}.md){also} | {planted.kind} | {text} | {planted.start} |"


def cli_page(root: click.Command) -> str:
    """Return the page of all commands: a heading and the help of each, in the order that --help lists."""
    parts = [
        NOTICE,
        "# Commands\n",
        "The help of every command, as `--help` prints it. "
        "What scripts may rely on: [scripts](../scripts.md). "
        "What each setting means: [settings](settings.md).\n",
    ]
    for context in walk_commands(root):
        parts += [f"## `{context.command_path}`\n", f"```text\n{help_text(context)}\n```\n"]
    return "\n".join(parts)


def walk_commands(command: click.Command, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a context for `command` and, depth first, for everything below it that --help shows."""
    name = command.name if parent else "maquette"
    # The command's own context settings carry its spelling of --help, which children inherit.
    settings = {**command.context_settings, "terminal_width": WIDTH_CHARS, "max_content_width": WIDTH_CHARS}
    # click keeps the first help option that a command made, spelt as its caller then had it.
    command._help_option = None
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if hasattr(command, "list_commands"):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None and not child.hidden:
                yield from walk_commands(child, context)


def help_text(context: click.Context) -> str:
    """Return the help of a command without trailing spaces."""
    return "\n".join(line.rstrip() for line in context.get_help().strip().splitlines())


def settings_page(sections: Mapping[str, type[BaseModel]]) -> str:
    """Return the page of all settings: one table for each section of maquette.toml."""
    parts = [
        NOTICE,
        "# Settings\n",
        "Every key of `maquette.toml`, by table. A key's name is also its flag: `learning_rate` is "
        "`--learning-rate`; a flag wins over the file. Unknown keys are errors.\n",
    ]
    for name, record in sections.items():
        parts += [f"## `[{name}]`\n", section_intro(record), section_table(record)]
    return "\n".join(parts)


def options_page(stages: Mapping[str, type[Options]]) -> str:
    """Return the page of the stages' options: one table for each function of the package."""
    parts = [
        NOTICE,
        "# Options\n",
        "What each stage takes beside its folder or run: from Python as keywords of its function, or as one record "
        "(`options=`); on the command line as flags. Unknown names are errors. How commands are called: "
        "[commands](cli.md).\n",
    ]
    for name, record in stages.items():
        where = f"`{record.__module__}.{record.__name__}`"
        parts += [f"## `maquette.{name}`\n", f"{section_intro(record).strip()} Record: {where}.\n"]
        parts.append(section_table(record, with_flags=True))
    return "\n".join(parts)


def section_intro(record: type[BaseModel]) -> str:
    """Return the record's docstring as a sentence, without the table's name: the heading gives that."""
    text = " ".join((record.__doc__ or "").split())
    text = text.partition(": ")[2] if text.startswith("`[") else text
    return f"{text[:1].upper()}{text[1:]}\n"


def section_table(record: type[BaseModel], *, with_flags: bool = False) -> str:
    """Return a Markdown table of the record's fields."""
    properties = record.model_json_schema()["properties"]
    heads = ["key", *(["flag"] if with_flags else []), "value", "default", "meaning"]
    rows = [heads, ["---"] * len(heads)]
    for name, field in record.model_fields.items():
        schema = properties[name]
        default = "**required**" if field.is_required() else default_text(schema.get("default"))
        flag = [f"`{flag_of(name, field)}`"] if with_flags else []
        rows.append([f"`{name}`", *flag, value_text(name, schema), default, field.description or ""])
    lines = (" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows)
    return "".join(f"| {line} |\n" for line in lines)


def default_text(value: Any) -> str:
    """Return a default as TOML spells it; a dash where the meaning says what happens without one."""
    if value is None or value == "" or value == []:
        return "—"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def value_text(name: str, schema: Mapping[str, Any]) -> str:
    """Return what may be written: the type with its unit, or the choices, and the bounds."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    return " or ".join(option_text(option, unit) for option in options)


def option_text(option: Mapping[str, Any], unit: str) -> str:
    """Return one alternative of a value."""
    if "const" in option:
        return f"`{json.dumps(option['const'])}`"
    if "enum" in option:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in option["enum"])
    if option.get("format") == "path":
        return "path"
    if option.get("type") == "array":
        return array_text(option)
    kind = option.get("type", "value")
    noun = f"{TYPES.get(kind, kind)} of {unit}" if unit and kind in NUMERIC else TYPES.get(kind, kind)
    bounds = (form.format(plain(option[key])) for key, form in BOUNDS.items() if key in option)
    return ", ".join([noun, *bounds])


def plain(number: float) -> str:
    """Return a bound without a needless fraction: 8, 0.5, 4294967296."""
    return str(int(number)) if number == int(number) else str(number)


def array_text(option: Mapping[str, Any]) -> str:
    """Return the wording of a list: a fixed number of items, or any number."""
    items = option.get("prefixItems") or [option.get("items", {})]
    noun = TYPES.get(items[0].get("type", ""), "value")
    return f"{len(items)} × {noun}" if "prefixItems" in option else f"list of {noun}"


if __name__ == "__main__":
    sys.exit(main())
