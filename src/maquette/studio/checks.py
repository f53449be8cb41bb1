"""Checks of the opened projects: one at a time for each, on a thread of its own, however many pages look on."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.checking.run import check_events
from maquette.errors import MaquetteError
from maquette.events import Progress, run_stage

LOGGER = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Running:
    """A check that is at work, or what kept the last one from its end."""

    is_over: bool = False
    done: int = 0
    total: int = 0
    unit: str = ""
    problems: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "running": not self.is_over,
            **{name: vars(self)[name] for name in ("done", "total", "unit", "problems")},
        }


class Checks:
    """The checks that are at work. What one found is kept by the check itself (`project.noted`)."""

    def __init__(self) -> None:
        self._known: dict[Path, Running] = {}
        self._lock = threading.Lock()

    def state(self, project: Path) -> Running:
        """Return how far the check of a project is; one that is over where none is at work."""
        with self._lock:
            return self._known.get(project, Running(is_over=True))

    def begin(self, project: Path) -> Running:
        """Begin a check of a project, unless one is at work; return how far it is."""
        with self._lock:
            found = self._known.get(project)
            if found is not None and not found.is_over:
                return found
            running = self._known[project] = Running()
        threading.Thread(target=self._check, args=(project, running), name="check", daemon=True).start()
        return running

    def _check(self, project: Path, running: Running) -> None:
        def hear(event: object) -> None:
            if isinstance(event, Progress) and event.unit == "picture":
                running.done, running.total, running.unit = event.done, event.total or 0, event.unit

        try:
            run_stage(check_events([project]), hear)
        except MaquetteError as error:
            running.problems = [vars(problem) for problem in error.problems]
        except Exception:
            LOGGER.exception("The check of %s failed.", project)
            running.problems = [
                {
                    "where": "the check",
                    "given": "ended by a fault of the program",
                    "required": "",
                    "remedy": "The terminal that runs `maquette studio` shows the trace.",
                }
            ]
        finally:
            running.is_over = True
