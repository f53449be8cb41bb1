"""The stages as functions of the package: keywords by the fields of their records, a record, or both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import maquette
from maquette.checking.options import CheckOptions
from maquette.errors import ConfigError
from tests.conftest import make_pictures


@pytest.mark.parametrize(
    ("stage", "given", "meant"),
    [
        (maquette.init, {"imagse": "x", "base": "y", "trigger": "z"}, "images"),
        (maquette.curate, {"tagret": 40}, "target"),
        (maquette.caption, {"strategy": "style", "source": "wd", "tempalte": "x"}, "template"),
        (maquette.regularize, {"out": "x", "coutn": 3}, "count"),
        (maquette.check, {"selcet": "CAP"}, "select"),
        (maquette.plan, {"target_step": 800}, "target_steps"),
        (maquette.plan, {"rnak": 8}, "rank"),
        (maquette.train, {"rnak": 8}, "rank"),
        (maquette.evaluate, {"seed": 3}, "seeds"),
        (maquette.deploy, {"comfui": "x"}, "comfyui"),
    ],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_name(
    stage: Callable[..., Any], given: dict[str, Any], meant: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        stage(tmp_path, **given)


def test_keywords_win_over_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    folder = make_pictures(tmp_path / "p", [(64, 64)])
    wanted = CheckOptions(select=("CAP",))
    ran = [maquette.check(folder, options=wanted, select=name).rules_run for name in (None, "PIC", ["PIC"])]
    assert ran[0] and all(code.startswith("CAP") for code in ran[0])
    assert ran[1] == ran[2] and all(code.startswith("PIC") for code in ran[1])
