"""The rules that concern a run, asked before its base model is loaded: errors stop it, warnings are said.

They judge the facts that the run was prepared from. Of pictures these tell what decoding tells; what only measuring
finds is left to `maquette check`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from maquette import families
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.repeats import Schedule
from maquette.dataset.subject_guess import subject_of
from maquette.errors import Problem
from maquette.events import Message
from maquette.families.protocol import ModelInfo
from maquette.findings.records import Finding, worst_first
from maquette.findings.registry import RULES, Rule, run_rules
from maquette.project.machine import Gpu, Machine
from maquette.project.profile import Kind, Profile
from maquette.project.profile_file import profile_near
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.project.settings import Settings
from maquette.project.subject import Subject
from maquette.rules.catalogue import all_rules
from maquette.training.prepare import Verdict
from maquette.words.reading import TokenCounter

GROUPS = ("ENV", "SET", "MOD", "STP", "CAP", "PIC")
NEVER_STOP = ("PIC", "STP005")
"""What is on a picture that can be trained on is for its owner to judge: it is said, however grave."""
IMPOSSIBLE = ("ENV", "SET", "MOD")
"""Groups whose errors stop a run even where the project silences them: it could not do what it was asked to."""


def judge(
    settings: Settings,
    *,
    info: ModelInfo | None = None,
    schedule: Schedule | None = None,
    facts: DatasetFacts | None = None,
) -> Verdict:
    """Return what stops the run that `settings` describe, and what its user should know.

    info, schedule, facts: as far as they could be worked out; facts of pictures that can be trained on. Raises
    ConfigError for a profile that cannot be read.
    """
    profile = profile_near(settings.dataset.images)
    found = heard(settings, GROUPS, machine_here(), info, schedule, facts, profile)
    stops = [each for each in found if each.severity == "error" and not each.code.startswith(NEVER_STOP)]
    return Verdict(
        problems=tuple(_problem(each) for each in stops),
        messages=tuple(_message(each) for each in found if each not in stops),
    )


def remarks(
    settings: Settings, facts: DatasetFacts, groups: tuple[str, ...] = ("STP", "CAP", "PIC")
) -> tuple[Message, ...]:
    """Return what the rules of `groups` say of a dataset alone, errors too, for stages that it does not stop."""
    return tuple(_message(each) for each in heard(settings, groups, facts))


def on_trigger(trigger: str, kind: Kind | None = None) -> tuple[Finding, ...]:
    """Return what the rules say of a trigger word alone, before there is anything else."""
    subject = Subject(triggers=(trigger,), kind=kind, origin="flag", place="--trigger")
    found, _ = run_rules(concerning_a_run(("CAP",)), {Subject: subject, TokenCounter: clip_tokens()})
    return tuple(worst_first(found))


def heard(
    settings: Settings, groups: tuple[str, ...], *known: Any, with_hints: bool = False
) -> list[Finding]:
    """Return the errors and warnings about what is known of a run that its project does not silence, worst first."""
    request = request_of(settings, UNSAVED)
    facts: dict[type, Any] = {type(fact): fact for fact in (request, *known) if fact is not None}
    subject = subject_of(facts.get(Profile), request, facts.get(DatasetFacts), clip_tokens())
    facts |= {Subject: subject} if subject is not None else {}
    found, _ = run_rules(concerning_a_run(groups), facts)
    ignored = settings.check.ignore_rules
    return [
        each
        for each in worst_first(found)
        if (with_hints or each.severity != "hint") and not _is_silenced(each, ignored)
    ]


def clip_tokens() -> TokenCounter:
    """Return how CLIP sees words, which is enough to tell an invented one."""
    tokenizer = families.tokenizer(None)
    return TokenCounter(count=lambda text: len(tokenizer.encode(text)), pieces=tokenizer.pieces)


def concerning_a_run(groups: tuple[str, ...] = GROUPS) -> list[Rule]:
    """Return the rules that are asked before a run, in the order of their codes."""
    return [rule for code, rule in all_rules().items() if code.startswith(groups)]


def _is_silenced(finding: Finding, names: tuple[str, ...]) -> bool:
    if finding.severity == "error" and finding.code.startswith(IMPOSSIBLE):
        return False
    rule = RULES[finding.code]
    return any(rule.code.startswith(name.upper()) or rule.name == name.lower() for name in names if name)


def _problem(finding: Finding) -> Problem:
    return _without_file(finding).as_problem()


def _message(finding: Finding) -> Message:
    where = _without_file(finding).where
    text = f"{where}: {finding.message}" if where else finding.message
    return Message(f"{text} {finding.remedy} ({finding.code})", "warning")


def _without_file(finding: Finding) -> Finding:
    """Return it without the settings' file, which may be no file at all."""
    return replace(finding, path=None) if finding.path == UNSAVED else finding


def machine_here() -> Machine:
    """Return this machine, with exactly the accelerators that torch can use: it is the one that trains."""
    import torch

    from maquette.project.machine_look import look_at_machine

    machine = look_at_machine()
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        seen = [gpu for gpu in machine.gpus if gpu.kind == "cuda"]
        gpus = seen if len(seen) == count else [_cuda_card(index) for index in range(count)]
    elif torch.backends.mps.is_available():
        gpus = [gpu for gpu in machine.gpus if gpu.kind == "mps"] or [
            Gpu(kind="mps", name="Apple silicon", total_bytes=0)
        ]
    else:
        gpus = []
    return replace(machine, gpus=tuple(gpus))


def _cuda_card(index: int) -> Gpu:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return Gpu(
        kind="cuda",
        name=properties.name,
        total_bytes=properties.total_memory,
        compute_capability=(properties.major, properties.minor),
    )
