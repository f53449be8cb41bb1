"""Laws of the first look's record: it is complete, is read back as written, and chooses by its numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maquette.errors import ConfigError, LoraError, OutputError
from maquette.evaluating.first_look import LookCheckpoint, LookPlan, first_look
from maquette.evaluating.verdict import verdict_of
from maquette.events import Artifact, Event, Progress, run_stage
from maquette.measuring.looks import FLOOR, FirstLook, LookPrompt, Measure, choose, read_first_look
from tests.drawing.bases import write_strong

from .making import facts_of, look_of

PLAN = LookPlan(
    prompts=(LookPrompt(text="zkw", role="bare"), LookPrompt(text="zkw, standing")),
    seeds=(3, 1),
    width_px=64,
    height_px=64,
    steps=2,
    guidance=3.0,
    batch=4,
)


def run_look(model: Any, checkpoints: list[LookCheckpoint], folder: Path, **options: Any) -> FirstLook:
    return run_stage(first_look(model, checkpoints, options.pop("plan", PLAN), folder, **options))


def test_everything_is_drawn_and_written(base: Any, tmp_path: Path) -> None:
    paths = write_strong(base, tmp_path, (2, 3))
    checkpoints = [
        LookCheckpoint(label=f"step {n}", step=n, path=path)
        for n, path in zip((100, 200), paths, strict=True)
    ]

    events: list[Event] = []
    look = run_stage(first_look(base, checkpoints, PLAN, tmp_path / "look"), events.append)
    assert look.checkpoints() == (FLOOR, "step 100", "step 200")
    assert look.prompts() == ("zkw", "zkw, standing") and look.seeds("zkw") == (3, 1)
    drawn = {
        entry.checkpoint: Image.open(look.folder / entry.path).tobytes()
        for entry in look.looks
        if entry.seed == 1
    }
    assert len(set(drawn.values())) == 3, "each LoRA draws something else"
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done) and done[-1] == 12
    assert {event.path.name for event in events if isinstance(event, Artifact)} == {
        "grid.png",
        "first_look.json",
    }
    assert read_first_look(look.folder / "first_look.json") == look
    with Image.open(look.folder / "grid.png") as grid:
        assert grid.width > 3 * 192 and grid.height > 4 * 192, "small pictures are enlarged to be seen"


def test_columns_are_the_same_however_they_are_packed(base: Any, tmp_path: Path) -> None:
    """Three columns in one batch, or one after the other."""
    paths = write_strong(base, tmp_path, (2, 3))
    checkpoints = [
        LookCheckpoint(label=f"step {n}", step=n, path=path)
        for n, path in zip((100, 200), paths, strict=True)
    ]
    packed = run_look(base, checkpoints, tmp_path / "packed")
    single = run_look(base, checkpoints, tmp_path / "single", plan=LookPlan(**{**vars(PLAN), "batch": 1}))
    for one, other in zip(packed.looks, single.looks, strict=True):
        assert one == other
        pictures = [Image.open(look.folder / entry.path) for look, entry in ((packed, one), (single, other))]
        levels = [abs(a - b) for a, b in zip(*(picture.tobytes() for picture in pictures), strict=True)]
        assert max(levels) <= 1


def test_the_model_is_left_as_it_was(base: Any, tmp_path: Path) -> None:
    [path] = write_strong(base, tmp_path, (2,))
    before = {name: value.clone() for name, value in base.denoiser.state_dict().items()}
    run_look(base, [LookCheckpoint(label="a", step=1, path=path)], tmp_path / "look")
    assert all(value.equal(before[name]) for name, value in base.denoiser.state_dict().items())
    assert not any("forward" in target.module.__dict__ for target in base.lora_targets())


def test_a_lora_of_another_model_is_refused_before_drawing(bases: dict[str, Any], tmp_path: Path) -> None:
    [path] = write_strong(bases["sdxl"], tmp_path, (2,))
    with pytest.raises(LoraError):
        run_look(bases["sd1"], [LookCheckpoint(label="a", step=1, path=path)], tmp_path / "look")
    assert not (tmp_path / "look").exists()


def test_plans_that_cannot_be_shown_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        LookPlan(prompts=(), seeds=(1, 1), width_px=64, height_px=64)
    assert [problem.where for problem in caught.value.problems] == ["prompts", "seeds"]


def test_what_is_no_first_look_is_said(tmp_path: Path) -> None:
    (tmp_path / "first_look.json").write_text(json.dumps({"look_version": 99}), encoding="utf-8")
    with pytest.raises(OutputError, match="look_version: 99 — 1"):
        read_first_look(tmp_path / "first_look.json")


def test_the_best_mean_is_chosen_and_the_undecided_are_named(tmp_path: Path) -> None:
    look = look_of(
        tmp_path,
        {
            FLOOR: [0.1, 0.2, 0.1, 0.2],
            "step 100": [0.3, 0.2, 0.3, 0.2],
            "step 200": [0.8, 0.6, 0.9, 0.7],
            "step 300": [0.9, 0.5, 0.8, 0.7],
        },
    )
    choice = choose(look, measure="identity")
    assert choice is not None
    assert (choice.checkpoint, choice.undecided) == ("step 200", ("step 300",))
    change = look.summary("step 200", "bare", "identity").change  # type: ignore[union-attr]
    assert change is not None and change.mean == pytest.approx(0.6)
    assert choose(look, measure="beauty") is None


@pytest.mark.parametrize(
    ("after", "outcome"),
    [([0.8, 0.7, 0.9], "learned"), ([0.2, 0.1, 0.3], "unclear"), ([0.02, 0.0, 0.03], "worse")],
)
def test_the_verdict_follows_from_the_interval(tmp_path: Path, after: list[float], outcome: str) -> None:
    verdict = verdict_of(facts_of(tmp_path, look_of(tmp_path, {FLOOR: [0.2, 0.15, 0.25], "step 100": after})))
    assert verdict.outcome == outcome
    assert verdict.checkpoint == "step 100"
    assert "0.20" in verdict.headline and verdict.floor is not None and verdict.ratio is not None


def test_without_a_judge_the_verdict_claims_nothing(tmp_path: Path) -> None:
    look = look_of(tmp_path, {FLOOR: [0.0], "step 100": [0.0]}, measures=())
    for facts in (facts_of(tmp_path, look), facts_of(tmp_path, None)):
        verdict = verdict_of(facts)
        assert verdict.outcome == "unjudged" and "4 steps" in verdict.headline
        assert "judge" in verdict.sentences[0] and verdict.score is None
        assert "loss" not in verdict.headline


def test_a_leak_is_said(tmp_path: Path) -> None:
    """A LoRA that draws its subject without being asked learned too much; the verdict does not keep it back."""
    bare = look_of(tmp_path, {FLOOR: [0.2, 0.1, 0.2], "step 100": [0.8, 0.9, 0.8]})

    def with_class_prompts(scores: list[float]) -> FirstLook:
        other = look_of(tmp_path, {FLOOR: [0.2, 0.1, 0.2], "step 100": scores}, prompt="a character")
        strangers = tuple(replace(entry, role="leak") for entry in other.looks)
        return replace(bare, looks=bare.looks + strangers)

    leaking = verdict_of(facts_of(tmp_path, with_class_prompts([0.7, 0.8, 0.7])))
    clean = verdict_of(facts_of(tmp_path, with_class_prompts([0.1, 0.2, 0.2])))
    assert (leaking.outcome, clean.outcome) == ("flawed", "learned")
    assert leaking.headline.endswith("but it draws the subject without the trigger, too.")
    assert "It leaks" in leaking.sentences[0] and "0.17 to 0.73" in leaking.sentences[0]
    assert not any("leak" in sentence for sentence in (clean.headline, *clean.sentences))
    assert leaking.score == clean.score
    slight = verdict_of(facts_of(tmp_path, with_class_prompts([0.4, 0.3, 0.4])))
    assert slight.outcome == "flawed" and slight.headline.endswith("but it leaks without the trigger.")


def test_pictures_that_are_not_good_leave_no_tick(tmp_path: Path) -> None:
    """A measure that asks for a least share of good pictures speaks in the headline, whatever was learned."""
    share = Measure(
        name="clean", title="Clean heads", definition="a share.", least=0.75, lack="heads are smeared"
    )
    look = look_of(tmp_path, {FLOOR: [0.2, 0.1, 0.2, 0.1], "step 100": [0.8, 0.9, 0.8, 0.9]})

    def with_clean(*good: float) -> FirstLook:
        judged = tuple(
            replace(
                entry,
                scores={**entry.scores, "clean": 1.0 if entry.checkpoint == FLOOR else good[entry.seed - 1]},
            )
            for entry in look.looks
        )
        return replace(look, looks=judged, measures=(*look.measures, share))

    smeared = verdict_of(facts_of(tmp_path, with_clean(1.0, 0.0, 0.0, 0.0)))
    assert smeared.outcome == "flawed"
    assert smeared.headline == "The LoRA learned “zkw” (identity 0.15 → 0.85), but 3 of 4 heads are smeared."
    assert "3 of 4 heads are smeared (0 with the base alone)" in smeared.sentences[0]
    assert verdict_of(facts_of(tmp_path, with_clean(1.0, 1.0, 1.0, 0.0))).outcome == "learned"


def test_the_trigger_word_alone_is_the_trigger_word_alone(tmp_path: Path) -> None:
    scores = {FLOOR: [0.2, 0.1, 0.2], "step 100": [0.8, 0.9, 0.8]}
    alone = verdict_of(facts_of(tmp_path, look_of(tmp_path, scores)))
    with_class_word = verdict_of(facts_of(tmp_path, look_of(tmp_path, scores, prompt="zkw character")))
    assert any("Drawn from the trigger word alone, “zkw”," in sentence for sentence in alone.sentences)
    assert any("Drawn from “zkw character”," in sentence for sentence in with_class_word.sentences)
    assert not any("alone, " in sentence for sentence in with_class_word.sentences)


def test_a_prompt_may_take_fewer_seeds_than_the_plan() -> None:
    few = LookPrompt(text="zkw, sitting", num_seeds=1)
    plan = LookPlan(prompts=(*PLAN.prompts, few), seeds=(5, 6), width_px=64, height_px=64)
    assert [(prompt.text, seed) for prompt, seed in plan.cells()][-3:] == [
        ("zkw, standing", 5),
        ("zkw, standing", 6),
        ("zkw, sitting", 5),
    ]
