"""Telling a person who is elsewhere that a job has ended: on the desktop, or at an address of the web.

Where to is written in `notify.toml` of the state folder, which this user alone may read: an address that takes messages is as
good as a key. It stands in no ledger, no log and no error.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Annotated

from pydantic import Field

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.files import state_folder, write_atomic
from maquette.jobs.records import Job
from maquette.jobs.settling import MOST_STRIKES
from maquette.project.fields import Flag, Options
from maquette.reading import FileKind, read_table
from maquette.spoken import printable
from maquette.web import Address, Http, NoAnswer, Refusal

NAME = "notify.toml"
FILE = FileKind("notifications as TOML", "Repair it, or write it anew: maquette queue notify --help")
WEBHOOK = "--webhook"
PATIENCE_S = 10.0


class NotifyOptions(Options):
    """How a person hears that a job has ended."""

    desktop: bool = Field(False, description="Say it on this computer's desktop (notify-send, macOS).")
    webhook: Annotated[str, Flag(metavar="URL")] = Field(
        "",
        description="Send it as JSON to this address: `text`, `content` (as chats read it) and `job`. It may be secret.",
    )
    failures_only: bool = Field(False, description="Only of jobs that failed.")


def read_notify() -> NotifyOptions:
    """Return how this user wants to hear of jobs; by default not at all. Raises ConfigError."""
    path = state_folder() / NAME
    return NotifyOptions(**read_table(path, FILE)) if path.is_file() else NotifyOptions()


def write_notify(options: NotifyOptions) -> Path:
    """Keep how this user wants to hear of jobs. Raises ConfigError for an address that is none."""
    if options.webhook:
        _address(options.webhook)
    path = state_folder() / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    # JSON's text and truth values are TOML's.
    lines = [
        f"desktop = {str(options.desktop).lower()}",
        f'webhook = "{options.webhook}"',
        f"failures_only = {str(options.failures_only).lower()}",
    ]
    write_atomic(path, "\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def is_told(job: Job, options: NotifyOptions) -> bool:
    """Return whether a person wants to hear of how a job stands."""
    failed = job.state == "failed" or (job.state == "interrupted" and job.strikes >= MOST_STRIKES)
    return failed or (job.state == "done" and not options.failures_only)


def notify(job: Job, options: NotifyOptions | None = None) -> list[str]:
    """Tell of a job that ended, where that is wanted; return in words what could not be told."""
    try:
        wanted = options or read_notify()
    except MaquetteError as error:
        return [str(each) for each in error.problems]
    if not is_told(job, wanted):
        return []
    text = text_of(job)
    troubles = [_on_the_desktop(text)] if wanted.desktop else []
    troubles += [_to_the_web(wanted.webhook, text, job)] if wanted.webhook else []
    return [each for each in troubles if each]


def say_something(options: NotifyOptions) -> list[str]:
    """Tell that telling works; return in words what did not."""
    text = "maquette: this is where you hear of jobs"
    troubles = [_on_the_desktop(text)] if options.desktop else []
    troubles += [_to_the_web(options.webhook, text)] if options.webhook else []
    return [each for each in troubles if each]


def text_of(job: Job) -> str:
    """Return one line: what ended, and how."""
    about = job.run or job.project
    told = f"maquette {job.kind}" + (f" {about.name}" if about else "") + f": {job.state}"
    return printable(f"{told} ({job.error})" if job.error else told).replace("\n", " ")[:400]


def _on_the_desktop(text: str) -> str:
    if shutil.which("notify-send"):
        command = ["notify-send", "--app-name=Maquette", "Maquette", text]
    elif shutil.which("osascript"):
        # The text is handed over beside the program, so that nothing in it is run.
        script = (
            "on run argv",
            "display notification (item 1 of argv) with title (item 2 of argv)",
            "end run",
        )
        command = ["osascript", *(part for line in script for part in ("-e", line)), text, "Maquette"]
    else:
        return "not told on the desktop: neither notify-send nor osascript is here"
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not told on the desktop: {type(error).__name__}"
    return f"not told on the desktop: {command[0]} ended with {done.returncode}" if done.returncode else ""


def _to_the_web(url: str, text: str, job: Job | None = None) -> str:
    names = ("id", "kind", "state", "progress", "run", "project", "error")
    told = None if job is None else {name: job.to_json()[name] for name in names}
    try:
        http = Http(_address(url), timeout_s=PATIENCE_S, retries=2, longest_s=PATIENCE_S)
        try:
            http.send("", {"text": text, "content": text, "job": told})
        finally:
            http.close()
    except Refusal as refusal:
        return f"not told at the webhook: it answered HTTP {refusal.status}"
    except (NoAnswer, ConfigError):
        return "not told at the webhook: it cannot be reached"
    return ""


def _address(url: str) -> Address:
    try:
        return Address.parse(url, where=WEBHOOK, required="", remedy="")
    except ConfigError as error:
        # Not as it was given: what is nearly an address is nearly as secret.
        required = "https://HOST/PATH without a name, password or query"
        raise ConfigError(
            Problem(WEBHOOK, "it is no such address", required, "Give it as the chat shows it.")
        ) from error
