"""Whether evaluating sees what is wrong with a run, and selecting the better checkpoint, measured where the truth is known.

    python benchmarks/judging.py --work DIR --output benchmarks/results/

Kinds of runs on the small world whose fault is known because it was built in (KINDS), several seeds each, five checkpoints
a run. Each is evaluated on a suite as large as the quick one of `maquette evaluate`, with its memorisation measured on eight
pictures that were held out, and its checkpoint chosen as `maquette select` does. Then every checkpoint draws a larger hidden
set of prompts and seeds, which says how good it really is:

    regret    the best checkpoint's score on the hidden set less that of the chosen one, by `select`, by the last checkpoint, by
              the lowest validation loss
    wrong     a verdict "better than the runner-up" where the hidden set has the runner-up ahead
    faults    for each fault the measure that should see it: how many faulty runs lie below 95 % of the sound ones

What is in --work already is neither trained nor drawn again, so the script may be stopped at any moment. Nothing here says
anything about real models.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from circumstances import circumstances
from PIL import ImageOps

from maquette import families
from maquette.choosing.decide import decide, held_out_losses, reading_of
from maquette.choosing.rivals import LAST, LOWEST_VALIDATION_LOSS, rivals_of
from maquette.evaluating.first_look import LookCheckpoint, LookPlan, first_look
from maquette.evaluating.memorizing import memorizing
from maquette.events import run_stage
from maquette.files import write_json
from maquette.lora.files import read_lora
from maquette.measuring.copying import CopyingMeasurer
from maquette.measuring.drift import DriftMeasurer
from maquette.measuring.embedder import Embedder
from maquette.measuring.looks import FLOOR, FirstLook, LookPrompt, read_first_look
from maquette.measuring.measure import measured
from maquette.measuring.scorecards import Scorecards, scorecards_of
from maquette.measuring.variety import VarietyMeasurer
from maquette.measuring.world import WorldMeasurer
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge as judge_run
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.training.loop import run_job
from maquette.training.prepare import prepare
from maquette.world.attributes import Character, Scene
from maquette.world.captions import VIEW_TAGS, caption, subject
from maquette.world.cast import BARE_PROMPT, SCENES, TOVAKI, TRIGGER
from maquette.world.pack import base_path, load_judge
from maquette.world.renderer import render

STEPS, RANK, BATCH, RATE = 320, 8, 4, 1.5e-3
"""The demo's."""
CHECKPOINTS, HELD_OUT, DRAW_STEPS = 5, 8, 8
STRANGER = Character(
    hair_style="spiky",
    hair_color="green",
    skin="dark",
    top_color="red",
    bottom_kind="pants",
    bottom_color="black",
    left_glove="blue",
)

Picture = tuple[Any, str]
"""A training picture and its caption."""


def shown(scene: Scene, strategy: str = "pose", name: str | None = TRIGGER) -> Picture:
    """Return the character in a scene, captioned."""
    return render(TOVAKI, scene, 64), caption(TOVAKI, scene, name=name, strategy=strategy)


def plain(strategy: str = "pose", count: int = 15) -> list[Picture]:
    """Return the cast's pictures."""
    return [shown(scene, strategy) for scene in SCENES[:count]]


def mirrored() -> list[Picture]:
    """Return them with every second one mirrored under the caption of the whole: what flip augmentation shows."""
    return [
        (ImageOps.mirror(picture), text) if place % 2 else (picture, text)
        for place, (picture, text) in enumerate(plain())
    ]


def with_stranger() -> list[Picture]:
    """Return them with a third of the pictures showing somebody else under the trigger."""
    return [
        (render(STRANGER, scene, 64), text) if place % 3 == 0 else (picture, text)
        for place, ((picture, text), scene) in enumerate(zip(plain(), SCENES, strict=True))
    ]


def one_room() -> list[Picture]:
    """Return them before one wall that no caption names."""
    scenes = [replace(scene, background="green") for scene in SCENES]
    return [(render(TOVAKI, s, 64), f"{subject(TRIGGER)}, {s.pose}, {VIEW_TAGS[s.view]}") for s in scenes]


def front_only() -> list[Picture]:
    """Return pictures of one view and pose, which no caption names."""
    walls = ("gray", "blue", "green", "yellow", "pink", "purple")
    scenes = [Scene(background=wall, shift=shift) for wall in walls for shift in (-1.0, 1.0)]
    return [(render(TOVAKI, s, 64), f"{subject(TRIGGER)}, {s.background} background") for s in scenes]


@dataclass(frozen=True)
class Kind:
    """How runs of one kind are made, and which measure should see what is wrong with them."""

    pictures: Callable[[], list[Picture]] = plain
    settings: Mapping[str, Any] = field(default_factory=dict)
    seen_by: str | None = None
    """A headline of the scorecard, or "memorisation"; None of a sound kind."""


KINDS: dict[str, Kind] = {
    "sound": Kind(settings={"steps": 160}),
    "sound, lower rank": Kind(settings={"steps": 160, "rank": 4, "alpha": 4}),
    "too short": Kind(settings={"steps": 20}, seen_by="identity_bare"),
    "rate too low": Kind(settings={"learning_rate": RATE / 30, "text_encoder_lr": RATE / 30}, seen_by="identity_bare"),
    "rate too high": Kind(settings={"learning_rate": RATE * 8, "text_encoder_lr": RATE * 8}, seen_by="adherence"),
    "far too long": Kind(settings={"steps": 960}, seen_by="memorisation"),
    "three pictures": Kind(pictures=lambda: plain(count=3), seen_by="memorisation"),
    "appearance in captions": Kind(pictures=lambda: plain("detailed"), seen_by="identity_bare"),
    "trigger alone in captions": Kind(pictures=lambda: plain("trigger"), seen_by="adherence"),
    "mirrored": Kind(pictures=mirrored, seen_by="asymmetry"),
    "stranger among them": Kind(pictures=with_stranger, seen_by="identity"),
    "one room": Kind(pictures=one_room, seen_by="adherence"),
    "one view and pose": Kind(pictures=front_only, seen_by="identity_novel"),
    "kept in the trigger": Kind(
        settings={"preservation": 8.0, "preservation_every": 3, "text_encoder_lr": 4e-3}, seen_by=None
    ),
}  # fmt: skip
"""Leak and bleed are faults of every plain run of the small world; "kept in the trigger" is the kind that does not have them."""


def unseen() -> list[Scene]:
    """Return every scene that the cast's pictures lack, in a fixed order of chance."""
    known = {(scene.view, scene.pose, scene.background) for scene in SCENES}
    views, poses = ("front", "left", "right", "back"), ("standing", "arms wide", "arms up", "jumping")
    walls = ("gray", "blue", "green", "yellow", "pink", "purple")
    rest = [each for each in itertools.product(views, poses, walls) if each not in known]
    random.Random(4).shuffle(rest)
    shifts = random.Random(5)
    return [Scene(view=v, pose=p, background=w, shift=shifts.uniform(-1.5, 1.5)) for v, p, w in rest]


def asked(scene: Scene, name: str | None = TRIGGER) -> str:
    """Return a prompt for a scene."""
    return caption(TOVAKI, scene, name=name, strategy="pose")


_FREE = unseen()
HELD, SUITE_SCENES, HIDDEN_SCENES = _FREE[:HELD_OUT], _FREE[8:14], _FREE[14:26]
EDITS = ("short blue hair", "green hat", "black pants", "blue shirt")
HANDS = ("arms wide", "arms up", "jumping")
"""Poses that show both hands."""
FEW = 2
"""Seeds of a prompt; the trigger alone, on which a headline stands by itself, has more."""


def shows_hands(pose: str) -> LookPrompt:
    """Return a prompt that tells whether the glove is on its side."""
    text = f"{subject(TRIGGER)}, {pose}, front view"
    return LookPrompt(text=text, role="asymmetry", num_seeds=HANDS_SEEDS)


def asked_for(scenes: Sequence[Scene], role: str) -> Iterator[LookPrompt]:
    """Yield a prompt for each scene."""
    return (LookPrompt(text=asked(scene), role=role, num_seeds=FEW) for scene in scenes)


def edited(scenes: Sequence[Scene]) -> Iterator[LookPrompt]:
    """Yield a prompt for each scene that asks for other looks than the character's."""
    texts = (f"{asked(scene)}, {edit}" for scene, edit in zip(scenes, EDITS, strict=False))
    return (LookPrompt(text=text, role="edit", num_seeds=FEW) for text in texts)


HANDS_SEEDS = 4
SUITE = (
    LookPrompt(text=BARE_PROMPT, role="bare"),
    *asked_for(SUITE_SCENES[:3], "pose"),
    *edited(SUITE_SCENES[3:5]),
    *asked_for(SUITE_SCENES[3:6], "novel"),
    replace(shows_hands(HANDS[0]), num_seeds=FEW),
    LookPrompt(text=asked(SUITE_SCENES[0], None), role="leak", num_seeds=FEW),
    LookPrompt(text=asked(SUITE_SCENES[1], "belomi"), role="bleed", num_seeds=FEW),
    LookPrompt(
        text=f"{subject()}, spiky black hair, red shirt, {SUITE_SCENES[2].pose}", role="drift", num_seeds=FEW
    ),
)
"""As many pictures of each role as a quick suite of `maquette evaluate` has, and two more poses."""
HIDDEN = (
    LookPrompt(text=BARE_PROMPT, role="bare"),
    *asked_for(HIDDEN_SCENES[:6], "pose"),
    *edited(HIDDEN_SCENES[:4]),
    *asked_for(HIDDEN_SCENES[6:], "novel"),
    *(shows_hands(pose) for pose in HANDS),
)
SUITE_SEEDS, HIDDEN_SEEDS = (1, 2, 3, 4), tuple(range(101, 109))


def main() -> None:
    """Train, evaluate, choose, draw the hidden set, and write the result."""
    parser = argparse.ArgumentParser(
        description="Measure evaluating and selecting on runs whose faults are known."
    )
    parser.add_argument("--work", type=Path, required=True, help="kept: what is there is not done again")
    parser.add_argument("--output", type=Path, help="folder for a result file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14, 15])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    rows = [row for kind in arguments.kinds for row in rows_of(arguments.work, kind, arguments.seeds)]
    result = {
        **circumstances("judging", load="nothing here is a time"), "seeds": arguments.seeds,
        "prompts": {"suite": [each.text for each in SUITE], "hidden": [each.text for each in HIDDEN]},
        "choosing": choosing(rows), "faults": faults(rows), "rows": rows,
    }  # fmt: skip
    print(json.dumps({"choosing": result["choosing"], "faults": result["faults"]}, indent=1))
    if arguments.output:
        write_json(arguments.output / f"judging-{result['date']}-{os.cpu_count()}core-cpu.json", result)


def rows_of(work: Path, name: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return one row a run of a kind, from `work` where it is there."""
    folder = work / name.replace(",", "").replace(" ", "-")
    missing = [seed for seed in seeds if not (folder / f"row-{seed}.json").exists()]
    if missing:
        runs = train(folder, KINDS[name], missing)
        for seed, run in zip(missing, runs, strict=True):
            write_json(folder / f"row-{seed}.json", {"kind": name, "seed": seed, **row_of(work, run)})
            print(f"{name}, seed {seed}", flush=True)
    runs = finished(folder / "runs")
    rows = [json.loads((folder / f"row-{seed}.json").read_text(encoding="utf-8")) for seed in seeds]
    return [row | decision_of(runs[row["seed"]]) for row in rows]


def train(folder: Path, kind: Kind, seeds: Sequence[int]) -> list[RunFolder]:
    """Train a kind with every seed in one pass; return the trials' folders."""
    images, held = folder / "images", folder / "held"
    for place, pictures in ((images, kind.pictures()), (held, [shown(scene) for scene in HELD])):
        place.mkdir(parents=True, exist_ok=True)
        for number, (picture, text) in enumerate(pictures):
            picture.save(place / f"{number:02d}.png")
            (place / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    steps = kind.settings.get("steps", STEPS)
    settings = [
        load_settings(
            None,
            {
                "images": images, "base": str(base_path()), "trigger": TRIGGER, "class_word": "character", "resolution": 64,
                "rank": RANK, "alpha": RANK, "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE,
                "text_encoder_lr": RATE, "warmup_steps": min(20, steps // 4), "seed": seed, "device": "cpu",
                "precision": "no", "output": folder / "runs", "name": "run", "state_every_steps": 0,
                "save_every_steps": steps // CHECKPOINTS, "validation_images": [held], "validation_timesteps": 8,
                **kind.settings,
            },
        )
        for seed in seeds
    ]  # fmt: skip
    trained = finished(folder / "runs")
    missing = [each for each in settings if each.training.seed not in trained]
    if missing:
        with prepare(missing[0], judge=judge_run, trials=missing, next_name=True) as job:
            run_stage(run_job(job))
    trained = finished(folder / "runs")
    return [trained[seed] for seed in seeds]


def finished(folder: Path) -> dict[int, RunFolder]:
    """Return the runs of a kind that came to their end, by seed."""
    found = {}
    for place in sorted(path.parent for path in folder.glob("**/run.json")):
        record = read_record(place)
        if record.state == "finished":
            found[record.settings.training.seed] = RunFolder(place)
    return found


def row_of(work: Path, folder: RunFolder) -> dict[str, Any]:
    """Return what evaluating and selecting say of a run, and what the hidden set says of every checkpoint."""
    record = read_record(folder.path)
    checkpoints = [
        LookCheckpoint(label=f"step {entry.step}", step=entry.step, path=folder.path / entry.path)
        for entry in sorted(record.checkpoints, key=lambda entry: entry.step)
    ]
    model = families.load(base_path())
    look = look_at(model, checkpoints, SUITE, SUITE_SEEDS, folder.path / "suite", record)
    states = [read_lora(each.path).state for each in checkpoints]
    memory = run_stage(memorizing(model, record, look.columns[1:], states)).found
    cards = scorecards_of(
        look, beside={label: {"memorisation": each.score()} for label, each in memory.items()}
    )
    hidden_look = look_at(model, checkpoints, HIDDEN, HIDDEN_SEEDS, folder.path / "hidden", record)
    truth = {card.column.label: total(card) for card in scorecards_of(hidden_look).cards if not card.is_floor}
    last = cards.cards[-1].column.label
    return {
        "truth": truth,
        "measures": numbers(cards, last),
        "suite": {card.column.label: total(card) for card in cards.cards if not card.is_floor},
        "memorised": memory[last].is_found if last in memory else None,
        "memory": {
            label: {"area": each.area.mean, "chance": each.chance, "excess": each.excess}
            for label, each in memory.items()
        },
    }


def decision_of(folder: RunFolder) -> dict[str, Any]:
    """Return what selecting decides over what lies there measured: a rule that changed needs no picture drawn again."""
    look, record = read_first_look(folder.path / "suite" / "first_look.json"), read_record(folder.path)
    cards = scorecards_of(look)
    losses = held_out_losses(record.validation)
    decision = decide(cards, reading_of(look, cards), losses)
    assert decision is not None
    rivals = {each.rule: each.label for each in rivals_of(decision, (), record.validation)}
    runner_up = decision.runner_up
    return {
        "chosen": decision.chosen.label,
        "by_loss_of": list(decision.by_loss_of),
        "losses": losses,
        "runner_up": runner_up.other.label if runner_up else None,
        "distinguishable": decision.distinguishable,
        "last": rivals[LAST],
        "lowest_validation_loss": rivals.get(LOWEST_VALIDATION_LOSS),
    }


def look_at(
    model: Any, checkpoints: Sequence[LookCheckpoint], prompts: Any, seeds: Any, folder: Path, record: Any
) -> FirstLook:
    """Draw and measure prompts with every checkpoint and with the base alone."""
    plan = LookPlan(
        prompts=prompts, seeds=seeds, width_px=64, height_px=64, steps=DRAW_STEPS, guidance=3.0,
        sampler="dpmpp_2m", batch=48,
    )  # fmt: skip
    look = run_stage(first_look(model, checkpoints, plan, folder))
    embedder = Embedder(_encoder())
    references = embedder.of_pictures([shown(scene)[0] for scene in HELD])
    training = [Path(each.path) for each in record.dataset.subject]
    measurers = [
        WorldMeasurer(load_judge(), TOVAKI),
        VarietyMeasurer(embedder, references, FEW),
        DriftMeasurer(embedder, look),
        CopyingMeasurer(training),
    ]
    return run_stage(measured(look, measurers))


def _encoder() -> Any:
    from maquette.encoders import load_encoder

    return load_encoder("world")


def total(card: Any) -> float | None:
    """Return a card's score."""
    return None if card.total is None else card.total.mean


def numbers(cards: Scorecards, label: str) -> dict[str, float]:
    """Return every headline of one checkpoint on the common scale, where more is better; the base's place is 0 or 1."""
    return {
        name: round(score.normalised.mean, 4)
        for name, score in cards.card(label).scores.items()
        if score.normalised is not None and label != FLOOR
    }


# --- what it amounts to ----------------------------------------------------------------------------------------


def choosing(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean regret of each rule over all runs, and how often a verdict was wrong or left open."""
    regrets: dict[str, list[float]] = {"chosen": [], "last": [], "lowest_validation_loss": []}
    wrong = clear = 0
    for row in rows:
        truth = {label: value for label, value in row["truth"].items() if value is not None}
        if not truth:
            continue
        for rule, found in regrets.items():
            if row[rule] in truth:
                found.append(max(truth.values()) - truth[row[rule]])
        if row["distinguishable"] and row["runner_up"] in truth:
            clear += 1
            wrong += truth[row["runner_up"]] > truth[row["chosen"]]
    return {
        "runs": len(rows),
        "regret": {rule: round(statistics.fmean(found), 4) for rule, found in regrets.items() if found},
        "told_apart": clear,
        "told_apart_wrongly": wrong,
    }


def faults(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each fault the share of its runs whose measure lies below 95 % of the sound runs' (more is better)."""
    sound = [row for row in rows if row["kind"].startswith("sound")]
    found = []
    for name, kind in KINDS.items():
        own = [row for row in rows if row["kind"] == name]
        if kind.seen_by is None or not own or not sound:
            continue
        limit = low_end([row["measures"].get(kind.seen_by) for row in sound])
        values = [row["measures"].get(kind.seen_by) for row in own]
        told = [value for value in values if value is not None]
        found.append(
            {
                "kind": name, "measure": kind.seen_by, "sound_low_end": limit, "values": told,
                "seen": sum(value < limit for value in told) if limit is not None else None, "runs": len(own),
                "memorisation_found": sum(bool(row["memorised"]) for row in own),
            }
        )  # fmt: skip
    false = sum(bool(row["memorised"]) for row in sound)
    return [*found, {"kind": "sound", "memorisation_found": false, "runs": len(sound)}]


def low_end(values: Sequence[float | None]) -> float | None:
    """Return the value below which 5 % of the sound runs lie; the least of a few."""
    told = sorted(value for value in values if value is not None)
    return told[int(0.05 * len(told))] if told else None


if __name__ == "__main__":
    main()
