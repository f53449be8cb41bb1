"""Sample prompts of another trainer keep all that each says; what cannot be drawn here is left by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.drawing.samples import sample_requests
from maquette.elsewhere.runs import runs_of
from maquette.families import FAMILIES
from maquette.kohya.prompt_tables import prompts_of_file
from maquette.planning.takeover import Taken, take_over
from maquette.project.config_file import load_settings
from maquette.reading import Unreadable

SPEC = FAMILIES["sd1"].spec
LINES = """\
# mine
mk, portrait --n blurry --w 768 --h 513 --d 5 --l 6 --s 20 --ss k_euler
mk, full body --n blurry --d 6 --s 20

mk --n blurry --d 7 --s 20 --fs 3 --wide 9
"""


def taken(folder: Path, name: str, text: str, more: str = "") -> Taken:
    (folder / name).write_text(text, encoding="utf-8")
    script = folder / "train.sh"
    script.write_text(
        f"accelerate launch train_network.py --network_dim=8 --resolution=512,512 --sample_prompts={name} "
        f"--sample_every_n_epochs=1 {more}\n"
    )
    return take_over(runs_of(script).requests[0], SPEC)


def test_what_all_say_is_a_setting_and_the_rest_stays_with_its_prompt(tmp_path: Path) -> None:
    found = taken(tmp_path, "prompts.txt", LINES, "--sample_sampler=euler_a")
    samples = load_settings(None, {"base": "", **found.settings()}).samples
    assert samples.sample_prompts == (
        "mk, portrait --w 768 --h 512 --l 6 --ss euler", "mk, full body", "mk",
    )  # fmt: skip
    assert (samples.negative_prompt, samples.sample_steps, samples.sample_seed) == ("blurry", 20, 5)
    assert samples.sampler == "euler_ancestral", "of those that name none"
    assert {"--fs in the sample prompts", "--wide 9 in the sample prompts"} <= found.left.keys()


def test_they_are_drawn_as_they_say(tmp_path: Path) -> None:
    values = taken(tmp_path, "prompts.txt", LINES).settings()
    first, second, third = sample_requests(load_settings(None, {"base": "", **values}), SPEC, 8)
    assert (first.width_px, first.height_px, first.guidance, first.sampler) == (768, 512, 6.0, "euler")
    assert (second.width_px, second.height_px, second.sampler) == (512, 512, SPEC.default_sampler)
    assert [each.seed for each in (first, second, third)] == [5, 6, 7]
    assert {(each.negative, each.steps) for each in (first, second, third)} == {("blurry", 20)}
    assert third.prompt == "mk"


@pytest.mark.parametrize("name", ["prompts.toml", "prompts.json"])
def test_a_table_of_prompts_says_what_lines_say(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": "mk, portrait", "seed": 3, "scale": 6.5}, {"prompt": "mk", "width": 768}]
    common = {"negative_prompt": "blurry", "sample_steps": 12}
    if name.endswith(".json"):
        text = json.dumps([*({**common, **row} for row in rows), "mk, hat --n blurry --s 12"])
    else:
        text = "[prompt]\nnegative_prompt = 'blurry'\nsample_steps = 12\n"
        text += "".join(
            "[[prompt.subset]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items())
            for row in [*rows, {"prompt": "mk, hat"}]
        )
    samples = load_settings(None, {"base": "", **taken(tmp_path, name, text).settings()}).samples
    assert samples.sample_prompts == (
        "mk, portrait --d 3 --l 6.5",
        "mk --w 768 --h 512",
        "mk, hat",
    )
    assert (samples.negative_prompt, samples.sample_steps) == ("blurry", 12)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", "[prompt]\nwidth = 5\n"),
        ("p.json", '{"prompt": "mk"}'),
        ("p.json", "[3]"),
        ("p.toml", "= 1"),
    ],
)
def test_what_is_no_table_of_prompts_is_left_in_words(name: str, text: str, tmp_path: Path) -> None:
    found = taken(tmp_path, name, text)
    assert "sample_prompts" not in found.values and str(tmp_path / name) in found.left
    with pytest.raises(Unreadable):
        prompts_of_file(tmp_path / name)


def test_a_line_that_would_be_drawn_as_words_is_left_out_and_said(tmp_path: Path) -> None:
    found = taken(tmp_path, "prompts.txt", "mk, portrait \u2013w 768\nmk --ss pndm\n --n blurry\n")
    assert found.settings()["sample_prompts"] == ("mk",)
    assert {"sample prompt 1", "--ss pndm in the sample prompts"} <= found.left.keys()
