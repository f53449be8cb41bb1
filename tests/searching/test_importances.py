"""Which settings mattered: a planted one comes first, by either method, and too few trials say nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maquette.searching.importances import FEWEST, Method, importances
from maquette.searching.space_file import parse_space
from maquette.searching.standing import standing
from tests.searching.planted import SPACE, planted_study

PARAMETERS = parse_space(SPACE, "space.toml").parameters


@pytest.mark.parametrize("method", ["fANOVA", "PED-ANOVA"])
def test_the_setting_that_decides_is_first_and_shares_are_of_one_whole(method: Method) -> None:
    study = planted_study(trials=40)
    found = importances(study, PARAMETERS, method=method, resamples=3)
    assert found.method == method and found.trials >= FEWEST
    assert found.found[0].name == "learning_rate"
    assert sum(each.share for each in found.found) == pytest.approx(1.0)
    assert all(0 <= each.low <= each.high <= 1 for each in found.found)
    assert {each.name for each in found.found} <= {each.name for each in PARAMETERS}


def test_of_too_few_or_equal_trials_nothing_is_said() -> None:
    study = planted_study(trials=40)
    done = tuple(each for each in study.trials if each.state == "finished" and each.of is None)
    few = importances(replace(study, trials=done[: FEWEST - 1]), PARAMETERS)
    assert few.method is None and not few.found and str(FEWEST) in few.problem
    equal = tuple(replace(done[0], number=number) for number in range(8))
    alike = importances(replace(study, trials=equal), PARAMETERS)
    assert alike.method is None and alike.problem


def test_where_most_trials_were_ended_early_their_places_tell() -> None:
    """The three best are kept; all others lose their value and their later points, as halving leaves them."""
    study = planted_study(trials=40)
    done = sorted(
        (each for each in study.trials if each.state == "finished" and each.of is None),
        key=lambda each: each.value or 0.0,
    )
    cut = [replace(each, state="pruned", value=None, points=each.points[:2]) for each in done[3:]]
    halved = replace(study, trials=(*done[:3], *cut))
    stand = standing(halved)
    assert stand.is_place and len(stand.values) == len(done)
    assert [stand.values[each.number] for each in done[:3]] == [1, 2, 3]
    behind = sorted(cut, key=lambda each: each.points[-1].loss)
    assert [stand.values[each.number] for each in behind] == list(range(4, len(done) + 1))
    found = importances(halved, PARAMETERS, resamples=0)
    assert found.of_places and found.found[0].name == "learning_rate"
    assert not standing(study).is_place
