"""Which settings mattered: a planted one comes first, by either method, and too few trials say nothing."""

from __future__ import annotations

import pytest

from maquette.searching.importances import FEWEST, Method, importances
from maquette.searching.space_file import parse_space
from tests.searching.planted import SPACE, planted_study

PARAMETERS = parse_space(SPACE, "space.toml").parameters


@pytest.mark.parametrize("method", ["fANOVA", "PED-ANOVA"])
def test_the_setting_that_decides_is_first_and_shares_are_of_one_whole(method: Method) -> None:
    study = planted_study(trials=40)
    found = importances(study.trials, PARAMETERS, "minimize", method=method, resamples=3)
    assert found.method == method and found.trials >= FEWEST
    assert found.found[0].name == "learning_rate"
    assert sum(each.share for each in found.found) == pytest.approx(1.0)
    assert all(0 <= each.low <= each.high <= 1 for each in found.found)
    assert {each.name for each in found.found} <= {each.name for each in PARAMETERS}


def test_of_too_few_or_equal_trials_nothing_is_said() -> None:
    study = planted_study(trials=40)
    done = [each for each in study.trials if each.state == "finished" and each.of is None]
    few = importances(done[: FEWEST - 1], PARAMETERS, "minimize")
    assert few.method is None and not few.found and str(FEWEST) in few.problem
    alike = importances([done[0]] * 8, PARAMETERS, "minimize")
    assert alike.method is None and alike.problem
