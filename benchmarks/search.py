"""What a search is worth on the small world: packed TPE, TPE one trial after another, and packed random search.

    python benchmarks/search.py --work DIR --output benchmarks/results/

Each method searches the same space with the same seeds, first 20 trials and then, with the search's own `--resume`, up to 60. Of
its best settings after 20 and after 60 trials, and of the project's own, one asks again with seeds that chose nothing: on the
character that was searched on, and on a second one that no search saw. Less is better: the value is the loss of held-out
pictures at fixed noise.

    equal trials    the best so far after so many trials, packed less sequential: what asking in batches costs
    equal time      the best so far after so many seconds of the processor, which other work on the machine does not stretch
    fresh           the mean loss of the best settings over further seeds, on either character, less the project's own
    scores          with --scores: of packed TPE's best settings, what the scorecards say of the second character's pictures

An interval is Student's 95 % over the seeds of the search, of differences within a seed: the first trials of a seed are the same
in every method that learns. What lies in --work is not done again, so the script may be stopped at any moment; a search that was
killed is gone on with. `search_curves.py` makes the figures and the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from judging import HELD, STRANGER

from maquette.demo.project import write_demo_project
from maquette.events import Progress, run_stage
from maquette.files import write_atomic, write_json
from maquette.project.config_file import CONFIG_NAME, load_settings, with_changes
from maquette.project.settings import Settings
from maquette.rules.verdict import judge
from maquette.runs.record import RunRecord, read_record
from maquette.searches import search_stage
from maquette.searching.basis import trial_settings
from maquette.searching.director import ended_run
from maquette.searching.judging import judged
from maquette.searching.options import SearchOptions
from maquette.searching.places import is_study, study_folder
from maquette.searching.records import RESULTS_NAME, SearchTrial, StudyRecord, read_study
from maquette.searching.study import searched
from maquette.searching.verdict import best_of
from maquette.training.pack import PackTrial, run_pack
from maquette.world.attributes import Character
from maquette.world.captions import caption
from maquette.world.cast import SCENES, TOVAKI, TRIGGER
from maquette.world.renderer import render

STEPS, PACK = 120, 8
TRIALS = (20, 60)
SEEDS = (1, 2, 3)
FRESH_SEEDS = (101, 102, 103, 104, 105)
BASELINE, SCORE = "baseline", "score.json"
SPACE = """
safety = false
refuse = "learning_rate > 4e-3 and lr_warmup_steps < 10"

[space]
network_dim = { choose = [4, 8, 16, 32] }
network_alpha_ratio = { low = 0.25, high = 0.9, step = 0.05 }
network_dropout = { choose = [0.0, 0.05, 0.1] }
learning_rate = { low = 2e-4, high = 1e-2, log = true }
text_encoder_lr = { low = 2e-4, high = 1e-2, log = true }
lr_scheduler = { choose = ["cosine_with_restarts", "cosine", "constant_with_warmup"] }
min_snr_gamma = { choose = [0, 5, 10] }
lr_warmup_steps = { choose = [3, 6, 12, 24] }
"""
"""The usual space at a toy's rates and ranks. Length and batch stay the project's: every trial is given the same."""


@dataclass(frozen=True)
class Method:
    """How settings are searched."""

    name: str
    sampler: str
    pack: int


METHODS = (
    Method("packed TPE", "tpe", PACK),
    Method("sequential TPE", "tpe", 1),
    Method("packed random", "random", PACK),
)
CHARACTERS: dict[str, tuple[str, Character]] = {"first": (TRIGGER, TOVAKI), "second": ("belomi", STRANGER)}
"""Trigger and looks; the searches see the first alone."""


def study_name(method: Method, seed: int) -> str:
    """Return the name of a search's study."""
    return f"{method.name.replace(' ', '-')}-{seed}"


# --- projects --------------------------------------------------------------------------------------------


def project_of(work: Path, character: str) -> Path:
    """Return the project of a character: fifteen pictures, eight more held out. It is written once."""
    folder = work / character
    if not (folder / CONFIG_NAME).exists():
        trigger, looks = CHARACTERS[character]
        write_demo_project(folder, seed=1, steps=STEPS)
        for place in (folder / "images").iterdir():
            place.unlink()
        for name, scenes in (("images", SCENES), ("held", HELD)):
            (folder / name).mkdir(exist_ok=True)
            for number, scene in enumerate(scenes):
                render(looks, scene, 64).save(folder / name / f"{number:02d}.png")
                told = caption(looks, scene, name=trigger, strategy="pose")
                (folder / name / f"{number:02d}.txt").write_text(told, encoding="utf-8")
        config = folder / CONFIG_NAME
        text = config.read_text(encoding="utf-8").replace(TRIGGER, trigger)
        text = text.replace("batch_size = 4", "batch_size = 1")
        validation = '[validation]\nvalidation_images = ["held"]\nvalidation_timesteps = 4\n\n'
        write_atomic(config, text.replace("[saving]", f"{validation}[saving]"))
    return folder


# --- searches --------------------------------------------------------------------------------------------


def search(work: Path, method: Method, seed: int, trials: int) -> None:
    """Search up to so many trials in this process, and note the processor's seconds at every change."""
    project, name = project_of(work, "first"), study_name(method, seed)
    folder = study_folder(project, name)
    begun = is_study(folder)
    given: dict[str, Any] = {"trials": trials, "study": name}
    if not begun:
        space = write_atomic(work / "space.toml", SPACE)
        given |= {
            "pack": method.pack,
            "seed": seed,
            "space": space,
            "sampler": method.sampler,
            "finalists": 0,
        }
    clock = Clock(work / "clocks" / f"{name}.jsonl")
    for event in search_stage(project, SearchOptions(**given), resume=begun):
        if isinstance(event, Progress):
            clock.note(read_study(folder))
    clock.note(read_study(folder))


class Clock:
    """Seconds of a search, those of its earlier sessions included, written down whenever something changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        before = clock_of(path)
        self.spent = {name: before[-1][name] if before else 0.0 for name in ("cpu_s", "wall_s")}
        self.began = time.monotonic()
        self.ended = {number for line in before for number in line["ended"]}

    def note(self, record: StudyRecord) -> None:
        """Write down which trials ended since."""
        fresh = [each.number for each in record.trials if each.is_over and each.number not in self.ended]
        self.ended |= set(fresh)
        used = os.times()
        line = {
            "cpu_s": self.spent["cpu_s"]
            + used.user
            + used.system
            + used.children_user
            + used.children_system,
            "wall_s": self.spent["wall_s"] + time.monotonic() - self.began,
            "ended": fresh,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def clock_of(path: Path) -> list[dict[str, Any]]:
    """Return what was noted of a search; a line that a kill cut off is passed over."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def found(work: Path, method: Method, seed: int, trials: int) -> list[SearchTrial] | None:
    """Return the first trials of a search; None while they are not all over."""
    folder = study_folder(project_of(work, "first"), study_name(method, seed))
    if not (folder / RESULTS_NAME).exists():
        return None
    known = searched(read_study(folder).trials)[:trials]
    return known if len(known) == trials and all(each.is_over for each in known) else None


# --- further seeds ---------------------------------------------------------------------------------------


class Handing:
    """Hands out trials that are known beforehand (`training.pack.Director`)."""

    def __init__(self, trials: Sequence[PackTrial]) -> None:
        self.left = list(trials)

    def next(self, free: int) -> Sequence[PackTrial]:
        given, self.left = self.left[:free], self.left[free:]
        return given

    def measured(self, trial: PackTrial, step: int, loss: float, error: float | None) -> bool:
        return True

    def finished(self, trial: PackTrial, record: RunRecord) -> None:
        print(f"  {trial.folder.parent.name} {trial.name}: {loss_of(record):.4f}", flush=True)

    def failed(self, trial: PackTrial, problem: str) -> None:
        raise RuntimeError(f"{trial.folder}: {problem}")

    def beat(self, trials: Sequence[PackTrial]) -> Sequence[int]:
        return ()


def retrain(work: Path, character: str, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    """Train settings with every fresh seed, those that are not trained yet, eight at once."""
    shared, _ = trial_settings(load_settings(project_of(work, character)))
    trials = [
        fresh_trial(work, character, shared, name, changes, seed)
        for name, changes in wanted.items()
        for seed in FRESH_SEEDS
    ]
    missing = [each for each in trials if ended_run(each.folder) is None]
    if missing:
        missing = [
            PackTrial(number=n, name=each.name, settings=each.settings, folder=each.folder, rungs=(STEPS,))
            for n, each in enumerate(missing)
        ]
        run_stage(run_pack(shared, Handing(missing), places=PACK, judge=judge))


def fresh_folder(work: Path, character: str, name: str, seed: int) -> Path:
    """Return the folder of a run with a further seed."""
    return work / "fresh" / character / name / f"seed-{seed}"


def fresh_trial(
    work: Path, character: str, shared: Settings, name: str, changes: Mapping[str, Any], seed: int
) -> PackTrial:
    """Return settings with a further seed as a pack trains them."""
    folder = fresh_folder(work, character, name, seed)
    place = {"seed": seed, "output": folder.parent, "name": folder.name}
    settings = with_changes(shared, {**changes, **place})
    return PackTrial(number=0, name=folder.name, settings=settings, folder=folder)


def score(work: Path, wanted: Sequence[str]) -> None:
    """Draw with the second character's runs of some settings, and write down their scores."""
    for name in wanted:
        for seed in FRESH_SEEDS:
            folder = fresh_folder(work, "second", name, seed)
            if ended_run(folder) is not None and not (folder / SCORE).exists():
                found = judged(folder).score
                write_json(folder / SCORE, {"score": found})
                print(f"  {name} seed {seed}: score {found}", flush=True)


def scores_of(work: Path, name: str) -> dict[int, float]:
    """Return the scores of settings on the second character by their further seeds, those that were drawn."""
    places = {seed: fresh_folder(work, "second", name, seed) / SCORE for seed in FRESH_SEEDS}
    return {
        seed: json.loads(each.read_text(encoding="utf-8"))["score"]
        for seed, each in places.items()
        if each.exists()
    }


def loss_of(record: RunRecord) -> float:
    """Return the validation loss at a run's end."""
    assert record.validation
    return record.validation.points[-1].loss


def recommended(work: Path, seeds: Sequence[int], trials: int) -> dict[str, dict[str, Any]]:
    """Return the settings that each search finds best after so many trials, and the project's own, by name."""
    wanted: dict[str, dict[str, Any]] = {BASELINE: {}}
    for seed in seeds:
        for method in METHODS:
            known = found(work, method, seed, trials)
            best = best_of(known, "minimize") if known else None
            if best is not None:
                wanted[best_name(method, seed, best)] = dict(best.settings)
    return wanted


def bests_of(work: Path, method: Method, seeds: Sequence[int]) -> list[str]:
    """Return the names of a method's best settings after the most trials, one a seed."""
    found_of = [(seed, found(work, method, seed, TRIALS[-1])) for seed in seeds]
    return [
        best_name(method, seed, best)
        for seed, known in found_of
        if known and (best := best_of(known, "minimize"))
    ]


def best_name(method: Method, seed: int, best: SearchTrial) -> str:
    """Return by which name a search's best trial is trained again: the same one after 20 and 60 trials is trained once."""
    return BASELINE if best.role == "baseline" else f"{study_name(method, seed)}-trial-{best.number:03d}"


def fresh_losses(work: Path, character: str, name: str) -> dict[int, float]:
    """Return the losses of settings by their further seeds, those that are trained."""
    records = {seed: fresh_folder(work, character, name, seed) for seed in FRESH_SEEDS}
    return {seed: loss_of(read_record(folder)) for seed, folder in records.items() if ended_run(folder)}


# --- all of it -------------------------------------------------------------------------------------------


def plan(seeds: Sequence[int]) -> Iterator[tuple[int, int, Method]]:
    """Yield every search in an order that leaves whole seeds wherever it is cut off."""
    for trials in TRIALS:
        for seed in seeds:
            for method in METHODS:
                yield trials, seed, method


def main() -> None:
    """Search, train again, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="kept: what is there is not done again")
    parser.add_argument("--output", type=Path, help="folder for a result file and the figure")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only-look", action="store_true", help="train nothing; tell what --work holds")
    parser.add_argument("--scores", action="store_true", help="draw with the second character's runs too")
    parser.add_argument("--load", default="quiet")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "SEED", "TRIALS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    work: Path = given.work.resolve()
    if given.one:
        name, seed, trials = given.one
        method = next(each for each in METHODS if each.name == name)
        return search(work, method, int(seed), int(trials))
    if not given.only_look:
        for trials, seed, method in plan(given.seeds):
            if found(work, method, seed, trials) is None:
                began = time.monotonic()
                one = ["--work", str(work), "--one", method.name, str(seed), str(trials)]
                subprocess.run([sys.executable, __file__, *one], check=True, stderr=subprocess.DEVNULL)
                print(
                    f"{method.name}, seed {seed}, {trials} trials: {time.monotonic() - began:.0f} s",
                    flush=True,
                )
        for trials in reversed(TRIALS):
            for character in reversed(CHARACTERS):
                retrain(work, character, recommended(work, given.seeds, trials))
    if given.scores:
        score(work, [BASELINE, *bests_of(work, METHODS[0], given.seeds)])
    from search_curves import report

    report(work, given)


if __name__ == "__main__":
    main()
