"""Commands that can do several things: which of them was asked for, and which flags would do nothing in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click
from click.core import ParameterSource

from maquette.errors import ConfigError, Problem
from maquette.project.fields import Section


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing that a command does. Options go by the names of the command's parameters."""

    asked_by: tuple[str, ...] = ()
    """Any of these options asks for it; none: what the command does when nothing else is asked for."""
    heeds: tuple[str, ...] = ()
    """Further options that mean something in it."""


def names_of(*records: type[Section]) -> tuple[str, ...]:
    """Return the names of the options that records bring."""
    return tuple(name for record in records for name in record.model_fields)


def chosen_task(tasks: Sequence[Task], given: Iterable[str]) -> Task:
    """Return the task that `given` asks for; an option that another of those asked for heeds does not ask for its own.

    Raises ConfigError where two are asked for, none is, or an option would do nothing in the one that is.
    """
    source_of = click.get_current_context().get_parameter_source
    said = [name for name in given if source_of(name) is ParameterSource.COMMANDLINE]
    asked = [task for task in tasks if _asks(task, said)]
    asked = [task for task in asked if not any(_serves(task, other, said) for other in asked)]
    task = asked[0] if asked else next((task for task in tasks if not task.asked_by), None)
    if task is None:
        raise ConfigError(_nothing_asked(tasks))
    rivals = [name for other in asked[1:] for name in _asks(other, said)]
    idle = [name for name in said if name not in (*task.asked_by, *task.heeds)]
    beside = f" together with {flags_of(_asks(task, said))}" if task.asked_by else ""
    if rivals:
        one_of = Problem(flags_of(rivals), f"given{beside}", "one task at a time", "Give one of them.")
        raise ConfigError(one_of)
    if idle:
        raise ConfigError(
            Problem(flags_of([name]), f"given{beside}", "a task that heeds it", "Leave it out.")
            for name in idle
        )
    return task


def flags_of(names: Iterable[str]) -> str:
    """Return parameters of the running command as a person writes them: `--keep, --reject`."""
    spelled = {each.name: each.opts[0] for each in click.get_current_context().command.params}
    return ", ".join(spelled[name] for name in names)


def _asks(task: Task, said: Sequence[str]) -> list[str]:
    return [name for name in task.asked_by if name in said]


def _serves(task: Task, other: Task, said: Sequence[str]) -> bool:
    return other is not task and set(_asks(task, said)) <= set(other.heeds)


def _nothing_asked(tasks: Sequence[Task]) -> Problem:
    command = click.get_current_context().command.name
    wanted = "; ".join(flags_of(task.asked_by) for task in tasks)
    return Problem(
        f"maquette {command}", "nothing to do", f"one of: {wanted}", f"See maquette {command} --help."
    )
