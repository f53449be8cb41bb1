"""Finds where source code outside `families/` asks which family a base model is of, however it spells the question."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from maquette.families import FAMILIES

SPECS = tuple(family.spec for family in FAMILIES.values())
NAMES = frozenset(re.sub(r"[\W_]", "", spec.name).lower() for spec in SPECS)
IDENTITIES = frozenset(
    text.lower()
    for spec in SPECS
    for text in (spec.name, spec.title, spec.modelspec_architecture, spec.ss_base_model_version)
)
SCRIPTS = frozenset(script for spec in SPECS for script in spec.training_scripts)
LORA_PREFIX = re.compile(r"lora_(unet|te\d?)_?")
ASKING = re.compile(r"\.family$|^family$|\.spec\.name$")


def disguises(
    tree: ast.Module, *, knows_scripts: bool = False, knows_prefixes: bool = False, knows_keys: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield (line, what it does) of every place that names a family.

    Sentences may name one (rules and messages do); single words, however put together, may not. `knows_scripts`: the file
    speaks of a foreign trainer, whose scripts go by families. `knows_prefixes`: it reads names in LoRA files.
    `knows_keys`: it reads files whose keys other programs named after families (`sdxl_no_half_vae`).
    """
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in prose:
            continue
        for text in spelled(node):
            if text in SCRIPTS:
                if not knows_scripts:
                    yield line_of(node), f"names the script {text!r}"
            elif text.lower() in IDENTITIES or (" " not in text and names_a_family(text)):
                if knows_keys:
                    continue
                yield line_of(node), f"spells the family {text!r}"
            elif LORA_PREFIX.fullmatch(text) and not knows_prefixes:
                yield line_of(node), f"knows the prefix {text!r}"
        for name in identifiers(node):
            if names_a_family(name) and not knows_scripts:
                yield line_of(node), f"is called {name!r}"
        if isinstance(node, ast.Compare) and compares_a_family(node):
            yield node.lineno, f"compares {ast.unparse(node)}"


def spelled(node: ast.AST) -> Iterator[str]:
    """Yield the text that a node spells: a constant, an f-string, a sum or a join of texts; what is unknown in it is left out."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr() | ast.BinOp(op=ast.Add()):
            yield "".join(_pieces(node))
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str() as glue), attr="join"),
            args=[ast.List() | ast.Tuple() as parts],
        ):
            yield glue.join("".join(_pieces(part)) for part in parts.elts)


def _pieces(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=values):
            for value in values:
                yield from _pieces(value)
        case ast.FormattedValue(value=value):
            yield from _pieces(value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from _pieces(left)
            yield from _pieces(right)


def identifiers(node: ast.AST) -> Iterator[str]:
    """Yield the name that a node gives or uses."""
    for field in ("id", "attr", "arg", "name"):
        if isinstance(name := getattr(node, field, None), str) and not isinstance(node, ast.alias):
            yield name


def names_a_family(text: str) -> bool:
    """Return whether one word of `text`, or two that stand side by side, is a family's name."""
    words = [word for word in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", text) if word]
    plain = [word.lower() for word in words]
    return bool(NAMES & {*plain, *(first + second for first, second in pairwise(plain))})


def compares_a_family(node: ast.Compare) -> bool:
    """Return whether a model's family is held against a text that stands in the code."""
    sides = [node.left, *node.comparators]
    asked = any(ASKING.search(ast.unparse(side)) for side in sides)
    return asked and any(any(True for _ in _texts(side)) for side in sides)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        for element in node.elts:
            yield from _texts(element)
    else:
        yield from spelled(node)


def line_of(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))
