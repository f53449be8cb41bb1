"""Conditions over a trial's values, as a line of TOML says them: `learning_rate > 1.2e-4 and optimizer_type == 'AdamW8bit'`.

Numbers, texts, names, `+ - * /`, comparisons (chained ones too), `in`, `and`, `or`, `not`, `abs`, `min`, `max`. The line is read
as a tree of these and nothing else; it is never run as a program.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Values = Mapping[str, Any]
LONGEST = 2000
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda one, several: one in several,
    ast.NotIn: lambda one, several: one not in several,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max}


class Unreadable(ValueError):
    """A line that is no condition: what is wrong with it, in words."""


@dataclass(frozen=True)
class Expression:
    """A condition that was read."""

    text: str
    tree: ast.expr = field(compare=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it asks for, each once."""
        functions = {id(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        named = [node for node in ast.walk(self.tree) if isinstance(node, ast.Name)]
        return tuple(dict.fromkeys(node.id for node in named if id(node) not in functions))

    def compared_texts(self) -> tuple[tuple[str, str], ...]:
        """Return each text that a name is compared with, with that name."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                named = [side.id for side in sides if isinstance(side, ast.Name)]
                texts = [
                    part.value
                    for side in sides
                    for part in (side.elts if isinstance(side, ast.Tuple | ast.List) else (side,))
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                found += [(name, text) for name in named for text in texts]
        return tuple(found)

    def holds(self, values: Values) -> bool:
        """Return whether it holds for `values`. Texts are compared without regard to capitals; None counts as 0."""
        return bool(_value(self.tree, values))


def parse_expression(text: str) -> Expression:
    """Return the condition that `text` says. Raises Unreadable."""
    if len(text) > LONGEST:
        raise Unreadable(f"it has more than {LONGEST} letters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"it cannot be read ({getattr(error, 'msg', None) or 'no condition'})") from None
    _require_plain(tree)
    return Expression(text.strip(), tree)


def _require_plain(tree: ast.expr) -> None:
    """Raise Unreadable for anything but what this module's first lines list."""
    allowed = (
        ast.BoolOp, ast.boolop, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, *_ARITHMETIC, ast.Compare, *_COMPARISONS,
        ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List, ast.Call,
    )  # fmt: skip
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise Unreadable(f"'{type(node).__name__}' is nothing that a condition may hold")
        if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | bool):
            raise Unreadable(f"{node.value!r} is no number, text or truth value")
        if isinstance(node, ast.Call) and not _is_known_call(node):
            raise Unreadable(f"only {', '.join(_FUNCTIONS)} may be called")


def _is_known_call(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and bool(node.args)
        and not node.keywords
    )


def _value(node: ast.expr, values: Values) -> Any:
    match node:
        case ast.Constant(value=value):
            return value.casefold() if isinstance(value, str) else value
        case ast.Name(id=name):
            value = values[name]
            return 0 if value is None else value.casefold() if isinstance(value, str) else value
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _value(inner, values)
        case ast.UnaryOp(op=sign, operand=inner):
            return -_value(inner, values) if isinstance(sign, ast.USub) else +_value(inner, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, values), _value(right, values))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_value(part, values) for part in parts)
        case ast.Compare(left=first, ops=ops, comparators=rest):
            sides = [_value(each, values) for each in (first, *rest)]
            return all(
                _COMPARISONS[type(op)](one, other)
                for op, one, other in zip(ops, sides, sides[1:], strict=False)
            )
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(each, values) for each in args))
    raise AssertionError(ast.dump(node))
