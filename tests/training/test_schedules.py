"""Learning-rate tables against the reference trainer's."""

import json
import re
from pathlib import Path

import pytest

from maquette.training.schedules import ScheduleShape, learning_rate_factor

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lr_tables.json").read_text())


@pytest.mark.parametrize("title", GOLDEN["tables"])
def test_every_rate_is_the_reference_s_to_the_last_bit(title: str) -> None:
    name, warmup, options = re.fullmatch(r"(\w+) warmup=(\d+) (\{.*\})", title).groups()
    given = json.loads(options.replace("'", '"'))
    shape = ScheduleShape(
        total_steps=GOLDEN["steps"],
        warmup_steps=int(warmup),
        cycles=given.get("lr_scheduler_num_cycles", 1),
        power=given.get("lr_scheduler_power", 1.0),
        # The tables were made with rates on the parameter groups, so the optimizer's own rate was AdamW's 1e-3.
        base_lr=1e-3,
    )
    rates = [
        GOLDEN["base_lr"] * learning_rate_factor(name, step, shape) for step in range(GOLDEN["steps"] + 1)
    ]
    assert rates == GOLDEN["tables"][title]
