"""The documentation agrees with the code: generated pages are fresh, links lead somewhere, commands parse."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from maquette.cli.app import maquette as root_command
from maquette.families import FAMILIES
from maquette.project.settings import SECTIONS, Settings
from maquette.runs.environment import EnvironmentRecord
from maquette.runs.record import (
    Checkpoint,
    DeviceRecord,
    PictureRecord,
    RunRecord,
    Sample,
    ScheduleRecord,
)

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links_of(page: Path) -> list[str]:
    """Return the link targets of a page, those in code left out."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return LINK.findall(re.sub(r"`[^`\n]*`", "`code`", text))


def blocks_of(page: Path, *languages: str) -> Iterator[str]:
    for language, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield body


def heading_anchors(page: Path) -> set[str]:
    """Return the anchors that a Markdown renderer gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_fresh(make_docs: ModuleType) -> None:
    assert not [name_of(path) for path in make_docs.stale_pages()], "run: make docs"


def test_the_settings_page_explains_every_setting() -> None:
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*?) \|$", page, re.MULTILINE))
    unexplained = [
        name for record in SECTIONS.values() for name in record.model_fields if not rows.get(name, "").strip()
    ]
    assert not unexplained


def test_the_options_page_explains_every_option(make_docs: ModuleType) -> None:
    page = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*?) \|$", page, re.MULTILINE))
    records = make_docs.STAGES.values()
    assert not [name for record in records for name in record.model_fields if not rows.get(name, "").strip()]


def test_every_page_is_reached_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.is_file():
            reached.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links_of(page)]
    assert not [name_of(page) for page in DOCS.rglob("*.md") if page.resolve() not in reached]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in heading_anchors(path)):
            broken.append(link)
    assert not broken


def command_lines(page: Path) -> Iterator[str]:
    """Yield every `maquette …` line of a page's shell blocks, continuations joined, pipes cut off."""
    for block in blocks_of(page, "sh", "bash", "shell", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.strip().removeprefix("$ ")
            if text.startswith("maquette "):
                yield text.partition(" | ")[0]


def parse(command: click.Command, arguments: list[str], context: click.Context) -> None:
    """Let click read `arguments` without running anything or asking whether paths exist."""
    _, rest, _ = command.make_parser(context).parse_args(arguments)
    if isinstance(command, click.Group) and rest:
        name, child, rest = command.resolve_command(context, rest)
        assert child is not None
        parse(child, rest, click.Context(child, info_name=name, parent=context))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_docs_are_commands_of_the_program(page: Path) -> None:
    for line in command_lines(page):
        arguments = [
            word for word in shlex.split(line, comments=True)[1:] if word not in ("--help", "--version")
        ]
        try:
            parse(root_command, arguments, click.Context(root_command, info_name="maquette"))
        except click.UsageError as error:
            pytest.fail(f"{line!r}: {error.format_message()}")


def settings_examples() -> list[Any]:
    return [
        pytest.param(block, id=f"{name_of(page)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks_of(page, "toml"))
        if "[model]" in block
    ]


@pytest.mark.parametrize("example", settings_examples())
def test_settings_files_in_the_docs_are_accepted(example: str) -> None:
    Settings.model_validate(tomllib.loads(example))


def test_the_parity_page_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (DOCS / "parity.md").read_text(encoding="utf-8"))
    assert named
    for path, function in named:
        assert (ROOT / path).is_file(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), function


def test_the_files_page_explains_every_key_of_a_record() -> None:
    page = (DOCS / "files.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", page))
    assert set(RunRecord.model_fields) <= explained
    for part in (Checkpoint, Sample, DeviceRecord, ScheduleRecord, EnvironmentRecord, PictureRecord):
        assert {field.name for field in fields(part)} <= explained, part


def test_the_families_page_has_every_family() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| .* \| (\d+) px \|", (DOCS / "families.md").read_text(encoding="utf-8"), re.M
    )
    assert {(name, int(px)) for name, px in rows} == {
        (name, family.spec.native_resolution_px) for name, family in FAMILIES.items()
    }
