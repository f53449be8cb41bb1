"""What findings tell people to do can be done: commands and flags exist, values are right, nothing is advised that is on."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import maquette
from maquette.cli.app import COMMANDS
from maquette.kohya.dataset_toml import Positive, Share, Switch, Text, as_meant, read_dataset_file
from maquette.project.machine import Gpu, Machine
from maquette.project.request import TrainingRequest
from maquette.rules.wording import asking, savings

SOURCE = Path(maquette.__file__).parent
COMMAND = re.compile(r"(?<![\w./-])maquette ([a-z][\w-]*)([^`\n;]*)")
PROSE = frozenset({"import", "has", "batches", "flip", "picture", "shortened", "trigger"})
"""Words behind `maquette` that are no command: an import, a sentence, names of random streams."""


def texts(path: Path) -> Iterator[str]:
    """Yield every text of a module, docstrings and the fixed parts of f-strings among them, f-strings in one piece."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def commands_named() -> Iterator[tuple[str, str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for text in texts(path):
            yield from ((path.name, match[1], match[2]) for match in COMMAND.finditer(text))


def test_every_command_that_a_text_names_exists_with_its_flags() -> None:
    """`maquette models FILE` once stood in a remedy: a command that the program has never had."""
    wrong, seen = [], 0
    for module, name, rest in commands_named():
        if name in PROSE:
            continue
        command = importlib.import_module(f"maquette.cli.{name}").command if name in COMMANDS else None
        words = rest.split()
        if isinstance(command, click.Group):
            below = words[0].strip(".,:") if words and re.match(r"[A-Za-z]", words[0]) else ""
            command = command.commands.get(below) if below else command
        if command is None:
            wrong.append(f"{module}: maquette {name}{rest}")
            continue
        seen += 1
        if command.context_settings.get("ignore_unknown_options"):  # what follows is another command's
            continue
        known = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)} | {"--help"}
        told = re.findall(r"(?<!\S)--[a-z][\w-]*", re.split(r"[.:,)] ", rest)[0])
        wrong += [f"{module}: maquette {name} {flag}" for flag in told if flag not in known]
    assert not wrong, wrong
    assert seen > 40, "commands are named all over the program"


@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        ("batch_size", '"2"', "batch_size = 2."),
        ("keep_tokens", "1.0", "keep_tokens = 1."),
        ("enable_bucket", '"false"', "enable_bucket = false."),
        ("flip_aug", "1", "flip_aug = true."),
        ("caption_dropout_rate", '"0.1"', "caption_dropout_rate = 0.1."),
        ("class_tokens", "5", 'class_tokens = "5".'),
        ("batch_size", '"-2"', "for example batch_size = 1."),
        ("batch_size", '"two"', "for example batch_size = 1."),
    ],
)
def test_a_remedy_writes_the_value_that_was_meant(key: str, written: str, meant: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(f"[general]\n{key} = {written}\n", encoding="utf-8")
    _, (problem,) = read_dataset_file(path)
    assert problem.remedy == f"Write {meant}"


def test_what_cannot_be_meant_is_not_written() -> None:
    forms = [each.__metadata__[-1] for each in (Positive, Share, Switch, Text)]
    assert [as_meant(form, "7e9") for form in forms] == ["", "", "", ""]


SD_SCRIPTS = TrainingRequest(file=Path("train.sh"), trainer="sd-scripts", script="train_network.py")
MAQUETTE = TrainingRequest(file=Path("maquette.toml"), trainer="maquette")
CARD = Machine(
    system="Linux",
    gpus=(Gpu(kind="cuda", name="card", total_bytes=16 * 2**30, compute_capability=(8, 9)),),
)


def test_a_trainer_is_asked_in_its_own_words() -> None:
    config = TrainingRequest(file=Path("run.toml"), trainer="sd-scripts")
    assert asking(SD_SCRIPTS, rank=32, alpha=16.0, cache_latents=True) == (
        "--network_dim=32 --network_alpha=16 --cache_latents"
    )
    assert asking(config, rank=32, precision="bf16") == 'network_dim = 32, mixed_precision = "bf16"'
    assert (
        asking(MAQUETTE, rank=32, gradient_checkpointing=True) == "rank = 32, gradient_checkpointing = true"
    )


def test_what_is_on_is_not_advised() -> None:
    assert savings(SD_SCRIPTS, CARD) == "--gradient_checkpointing --cache_latents --mixed_precision=bf16"
    given = {"gradient_checkpointing": True, "cache_latents": True, "precision": "bf16"}
    wide = TrainingRequest(file=Path("a.sh"), trainer="sd-scripts", script="x.py", batch_size=4, **given)
    assert savings(wide, CARD) == "--train_batch_size=1 --gradient_accumulation_steps=4"
    assert savings(TrainingRequest(file=Path("a"), trainer="sd-scripts", **given), CARD) == ""
