"""Measurers see every picture once, in sets of one column and prompt, and what they say is written beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from maquette.errors import DatasetError
from maquette.events import Event, Progress, run_stage
from maquette.measuring.looks import FLOOR, Look, SetScore, read_first_look
from maquette.measuring.measure import measured
from maquette.measuring.protocol import Measure, PictureMeasurer
from tests.evaluating.making import look_of


class Redness(PictureMeasurer):
    """The red of the first pixel, and how many pictures came together."""

    measures = (Measure(name="red", title="Red", definition="red.", high=255.0),)

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        assert len({(look.checkpoint, look.prompt) for look in looks}) == 1
        return [{"red": float(picture.getpixel((0, 0))[0])} for picture in pictures]  # type: ignore[index]

    def score_set(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> Mapping[str, float]:
        return {"many": float(len(pictures))}

    def ceilings(self) -> Mapping[str, float]:
        return {"red": 200.0}


def test_scores_stand_with_their_pictures(tmp_path: Path) -> None:
    look = look_of(tmp_path, {FLOOR: [0.1, 0.2], "step 100": [0.3, 0.4]}, measures=())
    events: list[Event] = []
    found = run_stage(measured(look, [Redness()]), events.append)
    assert [entry.scores["red"] for entry in found.looks] == [0.0, 0.0, 60.0, 60.0]
    assert found.sets == tuple(
        SetScore(checkpoint=name, prompt="zkw", role="bare", measure="many", value=2.0)
        for name in (FLOOR, "step 100")
    )
    assert found.ceilings == {"red": 200.0}
    assert [event.done for event in events if isinstance(event, Progress)] == [2, 4]
    assert read_first_look(tmp_path / "first_look.json") == found


def test_a_picture_that_is_gone_is_said(tmp_path: Path) -> None:
    look = look_of(tmp_path, {FLOOR: [0.1]}, measures=())
    (tmp_path / look.looks[0].path).unlink()
    with pytest.raises(DatasetError, match=r"1\.png"):
        run_stage(measured(look, [Redness()]))
