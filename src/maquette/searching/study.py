"""A study in its database: proposals, what became of them, and the record that is made of both.

The database is the truth, so that a search goes on from it wherever it is killed: a trial is Optuna's, `proposal` and `progress`
beside it are ours. Each step is written before the next, and doing one twice changes nothing: a proposal that was cut off is
completed to the same values, a trial that was running is taken up where its own run's state is.

    proposal   role, settings, seed, rungs, folder; refused_by     once
    progress   points, step, seconds, score, pictures, error        as it goes
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.config_file import with_changes
from maquette.project.settings import Settings
from maquette.project.validation import checked
from maquette.reading import FileKind
from maquette.searching.constraints import broken
from maquette.searching.halving import RUNGS, goes_on, rungs_of
from maquette.searching.names import warmup_of
from maquette.searching.options import STARTS
from maquette.searching.paired import Behind, Pictures, Rival, pictures_of
from maquette.searching.records import (
    TRIALS,
    Direction,
    Objective,
    Point,
    Role,
    SearchTrial,
    StudyRecord,
    StudyState,
    TrialState,
    Value,
)
from maquette.searching.sampling import SeededSampler
from maquette.searching.space import Parameter, Space
from maquette.searching.verdict import best_of

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from maquette.searching.basis import Basis

PLAN, PROPOSAL, PROGRESS, SECONDS = "maquette", "proposal", "progress", "seconds"
MOST_REFUSALS = 1000
"""In a row: a space of which next to nothing is left."""
FILE = FileKind("a study that Maquette began", "Begin another one under its own --study.")


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What a study is asked for, as it was begun."""

    study: str
    project: str
    created_at: str
    space: str
    settings_digest: str = ""
    """Of the settings that its trials share."""
    objective: Objective = "loss"
    seed: int = 0
    pack: int = 1
    sampler: str = "tpe"
    trials: int = 20
    finalists: int = 2
    finalist_seeds: int = 3
    reduction: int = 3
    paired_level: float = 0.0
    budget_hours: float | None = None
    """After so long nothing new is begun but the finalists."""


@dataclass(frozen=True, kw_only=True)
class _Proposal:
    role: Role
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    rungs: tuple[int, ...] = ()
    refused_by: tuple[str, ...] = ()
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Progress:
    points: tuple[Point, ...] = ()
    step: int = 0
    seconds: float | None = None
    score: float | None = None
    pictures: dict[str, Any] | None = None
    behind: dict[str, Any] | None = None
    error: str | None = None
    worker: str | None = None
    ended_s: float | None = None


class SearchStudy:
    """One study; several processes may hold the same one."""

    def __init__(
        self,
        storage: BaseStorage,
        plan: StudyPlan,
        basis: Basis,
        space: Space,
        *,
        alone: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """`alone`: held while something is proposed, so that workers do not propose the same place twice."""
        import optuna

        self.plan, self.basis, self.space, self.alone = plan, basis, space, alone
        self.optuna = optuna.load_study(
            study_name=plan.study, storage=storage, sampler=SeededSampler(plan.sampler, plan.seed)
        )
        self.at_work: Callable[[], float] | None = None
        """Says for how long anybody searched, where several may."""
        self._ids: dict[int, int] = {}
        self._began = time.monotonic()
        self._seconds_before = float(self.optuna.user_attrs.get(SECONDS, 0.0))

    # --- what is proposed --------------------------------------------------------------------------------

    def propose(self) -> SearchTrial | None:
        """Return a new trial to train, None where there is none now. Refused proposals are told to the sampler and passed over.

        Raises ConfigError where the constraints leave next to nothing of the space.
        """
        with self.alone():
            self._complete()
            if not self._is_wanted():
                return None
            for _ in range(MOST_REFUSALS):
                found = self._settled(self.optuna.ask())
                if found.state != "refused":
                    return found
        raise ConfigError(
            Problem(
                "[refuse]",
                f"{MOST_REFUSALS} proposals in a row were refused",
                "constraints that leave something of the space",
                "Widen [space] or loosen [refuse].",
            )
        )

    def _is_wanted(self) -> bool:
        """Return whether there is something to propose now; finalists are queued once the search itself is over."""
        trials = self.trials()
        if any(each.state == "waiting" for each in trials) or not self._has_enough(trials):
            return True
        missing = self._missing_finalists(trials)
        for trial, seed in missing:
            self._queue(trial.params, role="finalist", of=trial.number, seed=seed)
        return bool(missing)

    def _has_enough(self, trials: Sequence[SearchTrial]) -> bool:
        """Return whether no further settings are to be tried: all that were asked for are, or the time is up."""
        hours = self.plan.budget_hours
        return len(searched(trials)) >= self.plan.trials or (
            hours is not None and self.seconds >= hours * 3600
        )

    def _complete(self) -> None:
        """Finish proposals that were cut off: the same values come of the same number."""
        import optuna

        for each in self.optuna.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            proposal = _proposal(each)
            if proposal is None or proposal.refused_by:
                self._settled(optuna.trial.Trial(self.optuna, each._trial_id))

    def _settled(self, trial: optuna.Trial) -> SearchTrial:
        """Return a trial with its settings, refused where a constraint speaks against it."""
        given = trial.user_attrs
        role: Role = given.get("role", "search")
        if role == "search" and self._is_start(trial.number):
            role = "start"
        params = self._suggested(trial, given.get("params"))
        settings = self.settings(params, given.get("seed"))
        refused = self._refused_by(settings, params) if role in ("start", "search") else ()
        steps = self.basis.schedule(settings).steps
        proposal = _Proposal(
            role=role,
            settings=_plain(self.space.changes(self.basis.settings, params)),
            seed=settings.training.seed,
            rungs=rungs_of(steps, self.plan.reduction, warmup_of(settings, steps)),
            refused_by=refused,
            of=given.get("of"),
        )
        trial.set_user_attr(PROPOSAL, asdict(proposal))
        if refused:
            self._refuse(trial, refused)
        return self.trial(trial.number)

    def _is_start(self, number: int) -> bool:
        """Return whether a proposal is drawn at random: too few trials were finished to learn from."""
        if self.plan.sampler == "random":
            return True
        told = [
            each for each in self.trials() if each.number != number and each.state in ("finished", "pruned")
        ]
        return len(told) < STARTS

    def _suggested(self, trial: optuna.Trial, queued: Mapping[str, Value] | None) -> dict[str, Value]:
        """Return the values of a trial; of a queued one those that it was queued with, perhaps none."""
        found: dict[str, Value] = {}
        for each in self.space.parameters:
            wanted = (
                each.only_if is None or each.only_if.holds(found) if queued is None else each.name in queued
            )
            if wanted:
                found[each.name] = _suggest(trial, each)
        return found

    def _refused_by(self, settings: Settings, params: Mapping[str, Value]) -> tuple[str, ...]:
        return broken(self.space.constraints, {**self.basis.values(settings), **params})

    def _refuse(self, trial: optuna.Trial, refused: Sequence[str]) -> None:
        import optuna

        known = trial.constraints
        for each in self.space.constraints:
            if each.name not in known:
                trial.set_constraint(each.name, 1.0 if each.name in refused else -1.0)
        self.optuna.tell(trial.number, state=optuna.trial.TrialState.PRUNED, skip_if_finished=True)

    def _missing_finalists(self, trials: Sequence[SearchTrial]) -> list[tuple[SearchTrial, int]]:
        """Return what is still to be trained with which further seed: the best settings and the baseline."""
        if any(not each.is_over for each in searched(trials)):
            return []
        best = self.ranked(trials)[: self.plan.finalists]
        if not best or not self.plan.finalists:
            return []
        baseline = next(
            (each for each in trials if each.role == "baseline" and each.state == "finished"), None
        )
        known = {(each.of, each.seed) for each in trials if each.role == "finalist"}
        first = self.basis.settings.training.seed
        found = []
        for offset in range(1, self.plan.finalist_seeds + 1):
            for each in (*([baseline] if baseline else ()), *best):
                if (each.number, first + offset) not in known:
                    found.append((each, first + offset))
        return found

    def _queue(self, params: Mapping[str, Value], **attributes: Any) -> None:
        self.optuna.enqueue_trial(dict(params), {**attributes, "params": dict(params)})

    def ranked(self, trials: Sequence[SearchTrial]) -> list[SearchTrial]:
        """Return the finished trials of the search, the best first, without the baseline."""
        done = [each for each in trials if each.role in ("start", "search") and each.value is not None]
        sign = 1 if self.direction == "minimize" else -1
        return sorted(done, key=lambda each: (sign * (each.value or 0.0), each.number))

    @property
    def direction(self) -> Direction:
        return "minimize" if self.plan.objective == "loss" else "maximize"

    def settings(self, params: Mapping[str, Value], seed: int | None = None) -> Settings:
        """Return the settings of a trial."""
        found = self.space.settings(self.basis.settings, params)
        return found if seed is None else with_changes(found, {"seed": seed})

    # --- what becomes of it ------------------------------------------------------------------------------

    def measured(self, number: int, point: Point) -> bool:
        """Write down a trial's loss at a rung; return whether it goes on. The baseline and finalists always do."""
        trials = self.optuna.get_trials(deepcopy=False)
        trial, proposal = trials[number], _proposed(trials[number])
        known = _progress(trial)
        points = (*(each for each in known.points if each.step != point.step), point)
        self._write_progress(trial, replace(known, points=points, step=point.step))
        rung = RUNGS - _before_the_end(proposal, point.step)
        if rung not in trial.intermediate_values and not trial.state.is_finished():
            # Optuna takes more for better where the objective is a score: then the loss is told as its opposite.
            value = point.loss if self.direction == "minimize" else -point.loss
            self.optuna._storage.set_trial_intermediate_value(trial._trial_id, rung, value)
        if proposal.role in ("baseline", "finalist") or point.step == proposal.rungs[-1]:
            return True
        before_the_end = _before_the_end(proposal, point.step)
        found = [_loss_at(each, before_the_end) for each in trials if each.number != number]
        return goes_on(point.loss, [loss for loss in found if loss is not None], self.plan.reduction)

    def prune(
        self,
        number: int,
        seconds: float | None = None,
        *,
        step: int | None = None,
        score: float | None = None,
        behind: Behind | None = None,
    ) -> None:
        """Write down that a trial was ended since it fell behind: by its loss, or by what of its pictures was drawn."""
        told = None if behind is None else asdict(behind)
        self._end(number, "PRUNED", None, seconds=seconds, step=step, score=score, behind=told)

    def finish(
        self,
        number: int,
        value: float,
        *,
        seconds: float | None = None,
        step: int = 0,
        score: float | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        """Write down what a trial came to."""
        shown = None if pictures is None else pictures.to_json()
        self._end(number, "COMPLETE", value, seconds=seconds, step=step, score=score, pictures=shown)

    def rival_of(self, number: int) -> Rival | None:
        """Return the best trial so far, that a trial's pictures are held against; None of the baseline and of further seeds,
        which are drawn in full, and while there is none.
        """
        if not self.plan.paired_level or self.trial(number).role not in ("start", "search"):
            return None
        best = best_of(self.trials(), self.direction)
        shown = None if best is None else _progress(self._frozen(best.number)).pictures
        if best is None or shown is None:
            return None
        return Rival(trial=best.number, pictures=pictures_of(shown), level=self.plan.paired_level)

    def fail(self, number: int, error: str) -> None:
        """Write down that a trial could not be trained, and why. The sampler passes it over."""
        self._end(number, "FAIL", None, error=error)

    def _end(self, number: int, state: str, value: float | None, **progress: Any) -> None:
        import optuna

        said = {name: each for name, each in progress.items() if each is not None}
        self.note(number, ended_s=round(self.seconds, 3), **said)
        self.optuna.tell(number, value, state=optuna.trial.TrialState[state], skip_if_finished=True)

    def note(self, number: int, **progress: Any) -> None:
        """Write down how far a trial is: step, seconds, worker."""
        trial = self._frozen(number)
        self._write_progress(trial, replace(_progress(trial), **progress))

    def _write_progress(self, trial: optuna.trial.FrozenTrial, progress: _Progress) -> None:
        if not trial.state.is_finished():
            self.optuna._storage.set_trial_user_attr(trial._trial_id, PROGRESS, asdict(progress))

    # --- what is known -----------------------------------------------------------------------------------

    def trials(self) -> list[SearchTrial]:
        """Return every trial as the database has it."""
        return [self._read(each) for each in self.optuna.get_trials(deepcopy=False)]

    def trial(self, number: int) -> SearchTrial:
        """Return one trial as the database has it."""
        return self._read(self._frozen(number))

    def rungs(self, number: int) -> tuple[int, ...]:
        """Return the steps at which a trial is measured."""
        return _proposed(self._frozen(number)).rungs

    def unfinished(self) -> list[SearchTrial]:
        """Return the trials that were begun and are not over: somebody trains them, or did."""
        with self.alone():
            self._complete()
        return [each for each in self.trials() if each.state == "running"]

    @property
    def is_over(self) -> bool:
        """Whether everything that was asked for is trained."""
        trials = self.trials()
        asked = self._has_enough(trials) and all(each.is_over for each in trials)
        return asked and not self._missing_finalists(trials)

    @property
    def seconds(self) -> float:
        """Seconds in which the search was at work, earlier sessions included."""
        if self.at_work is not None:
            return self.at_work()
        return self._seconds_before + time.monotonic() - self._began

    def keep_seconds(self) -> None:
        """Write down how long the search was at work."""
        self.optuna.set_user_attr(SECONDS, round(self.seconds, 3))

    def record(self, state: StudyState = "running") -> StudyRecord:
        """Return the study as a record, with its answer so far."""
        from maquette.searching.verdict import with_verdict

        trials = tuple(self.trials())
        over = sum(each.is_over and each.state != "refused" for each in trials)
        seconds = self.seconds
        plan = self.plan
        return with_verdict(
            StudyRecord(
                study=plan.study,
                project=plan.project,
                created_at=plan.created_at,
                space=plan.space,
                objective=plan.objective,
                direction=self.direction,
                seed=plan.seed,
                pack=plan.pack,
                sampler=plan.sampler,
                halving=plan.reduction,
                paired_level=plan.paired_level,
                trials_asked=plan.trials,
                state=state,
                trials=trials,
                baseline=next((each.number for each in trials if each.role == "baseline"), None),
                seconds=round(seconds, 3),
                trials_per_hour=round(over / seconds * 3600, 2) if over and seconds > 0 else None,
                pruned_by_constraint=sum(each.state == "refused" for each in trials),
            )
        )

    def _shown(self, name: str, value: Any) -> Any:
        parameter = next((each for each in self.space.parameters if each.name == name), None)
        return value if parameter is None else _on_grid(parameter, value)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        storage = self.optuna._storage
        if number not in self._ids:
            self._ids[number] = storage.get_trial_id_from_study_id_trial_number(self.optuna._study_id, number)
        return storage.get_trial(self._ids[number])

    def _read(self, trial: optuna.trial.FrozenTrial) -> SearchTrial:
        proposal = _proposal(trial) or _Proposal(role=trial.user_attrs.get("role", "search"))
        progress = _progress(trial)
        state = _state(trial, proposal)
        queued = dict(trial.user_attrs.get("params", {}))
        behind = progress.behind or {}
        return SearchTrial(
            number=trial.number,
            role=proposal.role,
            state=state,
            params={name: self._shown(name, value) for name, value in (trial.params or queued).items()},
            settings=proposal.settings,
            refused_by=proposal.refused_by,
            points=progress.points,
            value=trial.value if state == "finished" else None,
            score=progress.score,
            seed=trial.user_attrs.get("seed", proposal.seed),
            seconds=progress.seconds,
            ended_s=progress.ended_s,
            step=progress.step,
            steps=proposal.rungs[-1] if proposal.rungs else None,
            folder=None if state in ("waiting", "refused") else folder_of(trial.number),
            error=progress.error,
            behind=behind.get("trial"),
            chance=behind.get("chance"),
            pairs=behind.get("pairs"),
            of=trial.user_attrs.get("of"),
            worker=progress.worker,
        )


def searched(trials: Sequence[SearchTrial]) -> list[SearchTrial]:
    """Return those that count among the trials asked for."""
    return [each for each in trials if each.state != "refused" and each.role != "finalist"]


# --- beginning and opening -------------------------------------------------------------------------------


def begin_study(storage: BaseStorage, plan: StudyPlan, basis: Basis, space: Space) -> None:
    """Write a new study into `storage`, with the project's own settings as its first trial. One that was begun stays."""
    import optuna

    direction: Direction = "minimize" if plan.objective == "loss" else "maximize"
    study = optuna.create_study(
        storage=storage, study_name=plan.study, direction=direction, load_if_exists=True
    )
    if PLAN not in study.user_attrs:
        study.set_user_attr(PLAN, asdict(plan))
    if not study.get_trials(deepcopy=False):
        params = space.params_of(basis.settings) or {}
        study.enqueue_trial(params, {"role": "baseline", "params": params})


def plan_in(storage: BaseStorage, name: str) -> StudyPlan | None:
    """Return what the study of that name in `storage` was asked for; None where there is none."""
    import optuna

    known = {
        each.study_name: each for each in optuna.get_all_study_summaries(storage, include_best_trial=False)
    }
    if name not in known:
        return None
    given = known[name].user_attrs.get(PLAN)
    if given is None:
        raise ConfigError(Problem("--study", f"'{name}' is another program's", FILE.required, FILE.remedy))
    return checked(StudyPlan, given, f"study {name}", FILE)


def require_plan(storage: BaseStorage, name: str) -> StudyPlan:
    """Return the plan of a study. Raises ConfigError where there is none of that name."""
    import optuna

    found = plan_in(storage, name)
    if found is None:
        known = optuna.get_all_study_names(storage)
        remedy = did_you_mean(name, known) if known else "Begin one: maquette search PROJECT"
        raise ConfigError(Problem("--study", f"'{name}' is not there", "a study that was begun", remedy))
    return found


def changed_plan(storage: BaseStorage, plan: StudyPlan, **changes: Any) -> StudyPlan:
    """Return the plan with another number of trials, places or hours, and write it down."""
    import optuna

    changed = replace(plan, **changes)
    if changed != plan:
        optuna.load_study(study_name=plan.study, storage=storage).set_user_attr(PLAN, asdict(changed))
    return changed


def folder_of(number: int) -> str:
    """Return a trial's folder below its study's."""
    return f"{TRIALS}/{number:03d}"


def trial_run(study: SearchStudy, folder: Path, number: int) -> tuple[Settings, Path]:
    """Return the whole settings of a trial, and the folder of its run below the study's `folder`."""
    trial = study.trial(number)
    place = folder / folder_of(number)
    settings = study.settings(trial.params, trial.seed)
    return with_changes(settings, {"output": place.parent, "name": place.name}), place


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.choices)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return trial.suggest_int(
            parameter.name, int(parameter.low), int(parameter.high), step=step, log=parameter.log
        )
    found = trial.suggest_float(
        parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
    )
    return _on_grid(parameter, found)


def _on_grid(parameter: Parameter, value: Any) -> Any:
    """Return a value without the last bits that sums of steps leave: 0.3, not 0.30000000000000004."""
    return round(value, 12) if parameter.kind == "float" and parameter.step else value


def _before_the_end(proposal: _Proposal, step: int) -> int:
    """Return which rung `step` is, counted from the end: a trial that is warming up at a rung does not have it."""
    return len(proposal.rungs) - 1 - proposal.rungs.index(step)


def _loss_at(trial: optuna.trial.FrozenTrial, before_the_end: int) -> float | None:
    proposal = _proposal(trial)
    if proposal is None or proposal.role == "finalist" or before_the_end >= len(proposal.rungs):
        return None
    step = proposal.rungs[-1 - before_the_end]
    return next((each.loss for each in _progress(trial).points if each.step == step), None)


def _proposal(trial: optuna.trial.FrozenTrial) -> _Proposal | None:
    given = trial.user_attrs.get(PROPOSAL)
    if given is None:
        return None
    return _Proposal(**{**given, "rungs": tuple(given["rungs"]), "refused_by": tuple(given["refused_by"])})


def _proposed(trial: optuna.trial.FrozenTrial) -> _Proposal:
    found = _proposal(trial)
    assert found is not None, f"trial {trial.number} was not proposed"
    return found


def _progress(trial: optuna.trial.FrozenTrial) -> _Progress:
    given = trial.user_attrs.get(PROGRESS, {})
    points = tuple(Point(**each) for each in given.get("points", ()))
    return _Progress(**{**given, "points": points})


def _state(trial: optuna.trial.FrozenTrial, proposal: _Proposal) -> TrialState:
    if proposal.refused_by:
        return "refused"
    names: dict[str, TrialState] = {
        "WAITING": "waiting", "RUNNING": "running", "PRUNED": "pruned", "COMPLETE": "finished", "FAIL": "failed"
    }  # fmt: skip
    return names[trial.state.name]


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}
