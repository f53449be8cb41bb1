"""The study in its database: who is proposed, what is refused, what a kill leaves, what a seed repeats.

Trials are not trained here: their losses come of a formula, so that the study itself is tried, over a real SQLite.
"""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest

from maquette.errors import ConfigError
from maquette.searching.halving import goes_on, rungs_of
from maquette.searching.options import STARTS
from maquette.searching.records import Point, SearchTrial
from maquette.searching.storage import open_storage, require_optuna
from maquette.searching.study import (
    SearchStudy,
    StudyPlan,
    begin_study,
    changed_plan,
    plan_in,
    require_plan,
)
from tests.searching.making import TOY, toy_basis, toy_space

require_optuna()


def open_study(folder: Path, text: str = TOY, **plan: object) -> SearchStudy:
    """Return the study in `folder`, begun where it is not there, as another process would open it."""
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    asked = StudyPlan(study="s", project=str(folder), created_at="now", space=text, **plan)  # type: ignore[arg-type]
    begin_study(storage, asked, toy_basis(), toy_space(text))
    known = require_plan(storage, "s")
    return SearchStudy(storage, known, toy_basis(), toy_space(known.space))


def test_a_trial_that_warms_up_at_a_rung_is_compared_at_the_others_alone(tmp_path: Path) -> None:
    text = "[space]\nwarmup_steps = { choose = [0, 3] }\nlr_scheduler = { choose = ['cosine'] }\n"
    study = open_study(tmp_path, text, trials=6, finalists=0)
    while (trial := study.propose()) is not None:
        rungs = study.rungs(trial.number)
        expected = {
            None: (20,),
            0: (3, 7, 20),
            3: (7, 20),
        }  # the baseline's warm-up of 5 is none of the space
        assert rungs == expected[trial.params.get("warmup_steps")]  # type: ignore[index]
        run(study, trial.number)
    for each in study.optuna.trials:
        assert max(each.intermediate_values, default=0) <= 2
        if each.state.name == "COMPLETE":
            assert 2 in each.intermediate_values


def loss_of(trial: SearchTrial, share: float = 1.0) -> float:
    """The formula: best at a rank of 8 and a rate of 1e-3; it falls as training goes on, and seeds move it a little."""
    rank = math.log2(trial.settings.get("rank", 8) / 8)
    rate = math.log10(trial.settings.get("learning_rate", 1.5e-3) / 1e-3)
    return 1 + 0.1 * rank**2 + rate**2 + (1 - share) + 0.001 * ((trial.seed or 0) % 5)


def run(study: SearchStudy, number: int) -> None:
    """Take a trial over its rungs to its end."""
    trial = study.trial(number)
    rungs = study.rungs(number)
    for step in rungs:
        if not study.measured(number, Point(step=step, loss=loss_of(trial, step / rungs[-1]))):
            study.prune(number)
            return
    study.finish(number, loss_of(trial), seconds=1.0, step=rungs[-1])


def search(study: SearchStudy) -> None:
    while (trial := study.propose()) is not None:
        run(study, trial.number)


def test_the_baseline_is_first_and_refused_proposals_cost_nothing(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=9, seed=1, finalists=0)
    search(study)
    record = study.record()
    assert record.baseline == 0
    assert record.trial(0).role == "baseline"
    assert record.trial(0).settings == {}
    assert sum(record.by_state().values()) == 9
    refused = [each for each in record.trials if each.state == "refused"]
    assert len(refused) == record.pruned_by_constraint > 0
    assert all(each.refused_by == ("refused_1",) and not each.points for each in refused)
    assert all(float(each.params["learning_rate"] or 0) <= 1.6e-3 for each in record.searched if each.params)
    assert [each.role for each in record.searched].count("start") == STARTS - 1
    assert study.is_over


def test_optuna_sees_refused_proposals_as_infeasible(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=8, seed=1, finalists=0)
    search(study)
    loaded = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    for each in study.trials():
        constraints = loaded.trials[each.number].constraints
        broken = [name for name, value in constraints.items() if value > 0]
        assert broken == list(each.refused_by)
        assert loaded.trials[each.number].state.is_finished()
    assert loaded.best_trial.value == min(each.value for each in study.trials() if each.value is not None)


def test_the_best_and_the_baseline_are_trained_with_further_seeds(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=4, seed=3, finalists=2, finalist_seeds=2)
    search(study)
    trials = study.trials()
    finalists = [each for each in trials if each.role == "finalist"]
    best = study.ranked([each for each in trials if each.role != "finalist"])[:2]
    first = toy_basis().settings.training.seed
    expected = {
        (number, first + offset) for number in (0, *(each.number for each in best)) for offset in (1, 2)
    }
    assert {(each.of, each.seed) for each in finalists} == expected
    for each in finalists:
        assert each.params == study.trial(each.of or 0).params
        assert each.settings == study.trial(each.of or 0).settings
    record = study.record()
    assert record.comparison is not None
    assert record.comparison.seeds == 2
    assert record.beats_baseline in (True, False, None)


def test_a_seed_repeats_the_search_and_another_does_not(tmp_path: Path) -> None:
    proposed = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        study = open_study(tmp_path / name, trials=7, seed=seed, finalists=0)
        search(study)
        proposed.append([each.params for each in study.trials()])
    assert proposed[0] == proposed[1]
    assert proposed[0] != proposed[2]


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("random", marks=pytest.mark.slow)])
def test_a_search_that_is_reopened_after_every_step_proposes_the_same(tmp_path: Path, sampler: str) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "torn").mkdir()
    whole = open_study(tmp_path / "whole", trials=6, seed=2, sampler=sampler, finalists=1, finalist_seeds=1)
    search(whole)
    while True:
        torn = open_study(tmp_path / "torn", trials=6, seed=2, sampler=sampler, finalists=1, finalist_seeds=1)
        begun = torn.unfinished()
        trial = begun[0] if begun else torn.propose()
        if trial is None:
            break
        if len(trial.points) < 1:
            torn.measured(trial.number, Point(step=torn.rungs(trial.number)[0], loss=loss_of(trial, 1 / 9)))
            continue  # killed after the first rung
        run(torn, trial.number)
    assert torn.trials() == whole.trials()


def test_a_proposal_that_was_cut_off_is_completed_to_the_same_values(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, cut = (open_study(tmp_path / name, trials=8, seed=4, finalists=0) for name in ("whole", "cut"))
    for _ in range(6):
        for study in (whole, cut):
            trial = study.propose()
            assert trial is not None
            run(study, trial.number)
    expected = whole.propose()
    half = cut.optuna.ask()  # killed when one of its values was written, and nothing of ours
    half.suggest_categorical("network_dim", (2, 4, 8, 16))
    again = open_study(tmp_path / "cut", trials=8, seed=4, finalists=0)
    found = again.unfinished()
    assert expected is not None
    assert [each.params for each in again.trials()][: len(whole.trials())] == [
        each.params for each in whole.trials()
    ]
    assert [each.number for each in found] in ([expected.number], [])


def test_more_trials_go_on_where_fewer_ended(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=5, seed=1, finalists=0)
    search(study)
    assert study.is_over
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    changed_plan(storage, require_plan(storage, "s"), trials=8)
    longer = open_study(tmp_path)
    assert not longer.is_over
    search(longer)
    assert sum(longer.record().by_state().values()) == 8


def test_a_failed_trial_counts_and_the_search_goes_on(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=6, seed=1, finalists=0)
    while (trial := study.propose()) is not None:
        if trial.number % 2:
            study.fail(trial.number, "its loss is no number")
        else:
            run(study, trial.number)
    record = study.record()
    assert sum(record.by_state().values()) == 6
    assert record.by_state()["failed"] >= 1
    assert {each.error for each in record.trials if each.state == "failed"} == {"its loss is no number"}


def test_the_baseline_lies_in_the_space_for_the_sampler_where_it_does(tmp_path: Path) -> None:
    text = (
        "[space]\nrank = { choose = [4, 8, 16] }\nlearning_rate = { low = 1e-4, high = 1e-2, log = true }\n"
    )
    study = open_study(tmp_path, text, trials=3)
    trial = study.propose()
    assert trial is not None
    assert trial.params == {"rank": 8, "learning_rate": 1.5e-3}


def test_constraints_that_leave_nothing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maquette.searching.study.MOST_REFUSALS", 5)
    study = open_study(tmp_path, "refuse = 'rank > 0'\n[space]\nrank = { choose = [4, 8] }\n", trials=3)
    assert study.propose() is not None
    with pytest.raises(ConfigError, match="in a row"):
        study.propose()


def test_a_study_of_another_name_or_program_is_told(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    optuna.create_study(storage=storage, study_name="theirs")
    assert plan_in(storage, "nobody") is None
    with pytest.raises(ConfigError, match="another program"):
        plan_in(storage, "theirs")
    with pytest.raises(ConfigError, match="'theirs'"):
        require_plan(storage, "their")
    with pytest.raises(ConfigError, match="--storage"):
        open_storage("nonsense://x")


# --- successive halving ----------------------------------------------------------------------------------


def test_rungs_are_shares_of_a_trials_own_length() -> None:
    assert rungs_of(90) == (10, 30, 90)
    assert rungs_of(2) == (1, 2)
    assert rungs_of(1) == (1,)
    assert rungs_of(90, reduction=1) == (90,)
    assert rungs_of(90, warmup=6) == (30, 90)
    assert rungs_of(90, warmup=5) == (10, 30, 90)
    assert rungs_of(90, warmup=80) == (90,)


def test_the_best_third_goes_on() -> None:
    assert goes_on(9.0, [])
    assert goes_on(9.0, [1.0])
    assert not goes_on(9.0, [1.0, 2.0])
    assert goes_on(0.5, [1.0, 2.0])
    assert goes_on(1.5, [1.0, 2.0, 3.0])
    assert not goes_on(2.5, [1.0, 2.0, 3.0])
    assert not goes_on(math.nan, [])
    assert goes_on(9.0, [1.0, 2.0, 3.0], reduction=1)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_proposal_that_is_killed_half_way_is_completed_to_the_same_values(
    tmp_path: Path, sampler: str
) -> None:
    found = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        study = open_study(tmp_path / name, trials=7, seed=5, finalists=0, sampler=sampler)
        for _ in range(3):
            if name == "killed":
                study.optuna.ask()  # takes what is queued, the baseline, or a number; nothing is drawn yet
                begun = optuna.trial.Trial(study.optuna, study.optuna.get_trials()[-1]._trial_id)
                if study.optuna.get_trials()[-1].number:
                    begun.suggest_categorical("network_dim", (2, 4, 8, 16))
                study = open_study(tmp_path / name)
                study.unfinished()
            else:
                study.propose()
        found.append([(each.params, each.state) for each in study.trials()[:3]])
    assert found[0] == found[1]
