"""Laws of prompt files: what is written is drawn, and what would not be drawn as it is written is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.drawing.samplers import sampler_named
from maquette.errors import ConfigError
from maquette.evaluating.first_look import LookPlan
from maquette.evaluating.prompt_files import planned_prompts
from maquette.families import FAMILIES


def written(folder: Path, text: str) -> Path:
    path = folder / "prompts.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_option_is_drawn_with(tmp_path: Path) -> None:
    text = "# a comment\n{trigger}\n\n{trigger} outdoors --n blurry, grey --w 64 --h 96 --d 7 --l 4.5 --s 12 --ss euler_a\n"
    bare, full = planned_prompts(written(tmp_path, text), "zkw")
    plan = LookPlan(prompts=(bare, full), seeds=(1, 2), width_px=64, height_px=64)
    assert [(prompt.text, seed) for prompt, seed in plan.cells()] == [
        ("zkw", 1),
        ("zkw", 2),
        ("zkw outdoors", 7),
    ]
    assert bare.role == "bare"
    request = plan.request(full, 7)
    assert (request.negative, request.width_px, request.height_px) == ("blurry, grey", 64, 96)
    assert (request.seed, request.guidance, request.steps, request.sampler) == (7, 4.5, 12, "euler_a")
    assert plan.request(bare, 1).steps == plan.steps


def test_lines_that_differ_in_their_seed_are_one_prompt(tmp_path: Path) -> None:
    [both] = planned_prompts(written(tmp_path, "zkw --d 3\nzkw --d 5\nzkw --d 3"), "zkw")
    assert both.seeds == (3, 5)
    with pytest.raises(ConfigError, match="twice with different settings"):
        planned_prompts(written(tmp_path, "zkw --s 3\nzkw --s 5"), "zkw")


def test_what_would_not_be_drawn_as_written_is_an_error(tmp_path: Path) -> None:
    text = "zkw --q 3\nzkw –n ugly\nzkw --cn pose.png\nzkw two --w 63\n --s 4\n"
    with pytest.raises(ConfigError) as caught:
        planned_prompts(written(tmp_path, text), "zkw")
    told = [str(problem) for problem in caught.value.problems]
    for line, part in ((1, "--q 3"), (2, "–n"), (3, "--cn pose.png"), (4, "multiple of 8")):
        assert any(f"line {line}" in each and part in each for each in told), (line, told)
    for name, content in (("none.txt", None), ("prompts.toml", ""), ("empty.txt", "# nothing\n")):
        path = tmp_path / name
        if content is not None:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=name):
            planned_prompts(path, "zkw")


@pytest.mark.parametrize(
    ("called", "ours"),
    [
        ("Euler a", "euler_ancestral"),
        ("euler_a", "euler_ancestral"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("dpmpp_2m karras", "dpmpp_2m_karras"),
        ("Euler", "euler"),
        ("DDIM", "ddim"),
        ("unipc", "unipc"),
        ("no such", "no such"),
    ],
)
def test_samplers_have_the_names_that_people_know(called: str, ours: str) -> None:
    spec = FAMILIES["sd1"].spec
    found = sampler_named(spec, called)
    assert found == ours or spec.samplers_elsewhere[found] == spec.samplers_elsewhere[ours]
