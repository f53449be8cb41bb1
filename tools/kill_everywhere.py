"""Kill what writes at every file operation, and see that the next start makes what an unbroken one made.

    python tools/kill_everywhere.py                        everything, at every point
    python tools/kill_everywhere.py apply --points 20      twenty points of one of them, drawn with --seed
    python tools/kill_everywhere.py apply training:3       every point of one, three of another

A process forks, the child ends itself with SIGKILL just before its n-th change of a file, another child does what a person
would do then. `training` is killed at moments of the clock as well, several times on its way to the end.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import maquette
from maquette.rules.catalogue import RULE_MODULES

CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOST_KILLS = 8
"""Of one training on its way to the end."""


@dataclass(frozen=True)
class Scenario:
    """Something that changes files below a folder."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    again: Callable[[Path], None]
    """What a person does after the kill."""
    content: Callable[[Path], Any]
    """What must be as it is when nothing was killed."""
    modules: tuple[str, ...]
    """What it imports: done once, before anything forks."""


# --- what is killed --------------------------------------------------------------------------------------


def _pictures(folder: Path) -> None:
    from PIL import Image

    for index in range(6):
        (folder / "from" / "sub").mkdir(parents=True, exist_ok=True)
        path = folder / "from" / ("sub" if index % 2 else "") / f"p{index}.png"
        Image.effect_noise((24 + index, 24), 90).save(path)
        path.with_suffix(".txt").write_text(f"fox, pose {index}\n")


def _earlier_set(folder: Path) -> None:
    """A set that is to change: a picture of it is gone, one is another, two are new."""
    from PIL import Image

    from maquette.curating.apply import apply

    _pictures(folder)
    apply(folder / "from", ["p0.png", "p2.png", "sub/p1.png"], folder / "set")
    Image.effect_noise((30, 30), 90).save(folder / "from" / "p2.png")


def _apply(folder: Path) -> None:
    from maquette.curating.apply import apply

    apply(folder / "from", ["p2.png", "p4.png", "sub/p1.png", "sub/p3.png"], folder / "set")


def _regularize(folder: Path) -> None:
    from maquette.events import run_stage
    from maquette.regularizing.options import RegularizeOptions
    from maquette.regularizing.run import regularize_events

    options = RegularizeOptions(source=folder / "from", out=folder / "reg", class_word="fox")
    run_stage(regularize_events(None, options))


def _replace(folder: Path) -> None:
    from maquette.captioning.options import ReplaceOptions
    from maquette.captioning.replace import replace_events
    from maquette.events import run_stage

    run_stage(replace_events(folder / "from", ReplaceOptions(find="pose", replace="stance")))


def _again_and_undo(folder: Path) -> None:
    _replace(folder)
    _undo(folder)


def _undo(folder: Path) -> None:
    from maquette.project.undoing import changes_at, undo

    while changes_at(folder / "from"):
        undo(folder / "from")


def _first_state(folder: Path) -> None:
    _save(folder, 2)


def _second_state(folder: Path) -> None:
    _save(folder, 4)


def _save(folder: Path, step: int) -> None:
    import torch

    from maquette.training.config import TrialSettings
    from maquette.training.optimize import TrialOptimizer
    from maquette.training.rates import RateGroup
    from maquette.training.state import save_state

    parameter = torch.nn.Parameter(torch.full((64, 64), float(step)))
    trial = TrialSettings()
    group = RateGroup("denoiser", trial.denoiser_lr, (parameter,))
    optimizer = TrialOptimizer(trial, [group], total_steps=6)
    parameter.square().sum().backward()
    optimizer.update(0)
    save_state(folder / "state", step, "digest", {"x": parameter}, optimizer, None)


def _state(folder: Path) -> str:
    """Return whether there is a whole state, which of two it may be."""
    import torch

    from maquette.training.state import latest_state

    state = latest_state(folder / "state")
    whole = (
        state is not None and state.step in (2, 4) and bool(torch.isfinite(state.tensors["0.lora.x"]).all())
    )
    return "whole" if whole and not (state and state.passed_over) else "damaged"


def _training(folder: Path) -> None:
    from tests.conftest import make_pictures
    from tests.reference import write_tiny_base

    make_pictures(folder / "pictures", [(96, 96), (144, 72)])
    write_tiny_base(folder / "tiny.safetensors")


def _train(folder: Path) -> None:
    run = folder / "out" / "zkw"
    if (run / "run.json").is_file():
        maquette.train(resume=run)
        return
    maquette.train(
        images=folder / "pictures", base=str(folder / "tiny.safetensors"), trigger="zkw", steps=4, rank=2,
        resolution=64, bucket_step_px=16, device="cpu", precision="no", output=folder / "out", name="zkw",
        state_every_steps=1, save_every_steps=2, dropout=0.1, save_precision="fp32", cache_folder=folder / "cache",
        tensorboard=False,  # what shows curves elsewhere is begun anew by every child, for a second each
    )  # fmt: skip


def _resume_to_the_end(folder: Path) -> None:
    from maquette.runs.record import read_record

    if (
        not (folder / "out" / "zkw" / "run.json").is_file()
        or read_record(folder / "out" / "zkw").state != "finished"
    ):
        _train(folder)


def _weights(folder: Path) -> dict[str, str]:
    """Return name → hash of the tensors of every LoRA: the metadata hold times."""
    from safetensors.torch import load_file

    found = {}
    for path in sorted((folder / "out" / "zkw" / "checkpoints").glob("*.safetensors")):
        tensors = load_file(path)
        told = b"".join(key.encode() + tensors[key].numpy().tobytes() for key in sorted(tensors))
        found[path.name] = hashlib.sha256(told).hexdigest()
    return found


def _files(*names: str) -> Callable[[Path], dict[str, str]]:
    """Return what tells name → hash of the files below `names`, the program's notes about itself left out."""

    def content(folder: Path) -> dict[str, str]:
        paths = [path for name in names for path in (folder / name).rglob("*") if path.is_file()]
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
            if ".maquette" not in path.parts
        }

    return content


CURATING = ("PIL.PngImagePlugin", "maquette.curating.apply")
REGULARIZING = ("PIL.PngImagePlugin", "maquette.regularizing.run", "maquette.drawing.paper", "filelock")
CAPTIONING = ("PIL.PngImagePlugin", "maquette.captioning.replace", "maquette.project.undoing", "filelock")
STATES = ("torch", "maquette.training.state", "maquette.training.optimize")
TRAINING = (
    *STATES, "tests.conftest", "tests.reference", "maquette.api", "maquette.training.loop", "maquette.training.engine",
    "maquette.choosing.early", "maquette.families.sd1.load", "maquette.lora.adapter", "maquette.lora.kinds.lora_work",
    "maquette.training.load_test", "maquette.training.export", "maquette.training.building", "ftfy", *RULE_MODULES,
    "maquette.training.data", "maquette.rules.verdict", "maquette.families.sd1", "maquette.drawing.samples", "filelock",
    "diffusers.models.autoencoders.autoencoder_kl", "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip", "maquette.families.common.tokenizer",
)  # fmt: skip

SCENARIOS = {
    "apply": Scenario(_pictures, _apply, _apply, _files("from", "set"), CURATING),
    "apply-again": Scenario(_earlier_set, _apply, _apply, _files("from", "set"), CURATING),
    "regularize": Scenario(_pictures, _regularize, _regularize, _files("from", "reg"), REGULARIZING),
    "captions": Scenario(_pictures, _replace, _again_and_undo, _files("from"), CAPTIONING),
    "state": Scenario(_first_state, _second_state, lambda folder: None, _state, STATES),
    "training": Scenario(_training, _train, _resume_to_the_end, _weights, TRAINING),
}


# --- how it is killed ------------------------------------------------------------------------------------


class Killed(Exception):
    """Something was lost by a kill."""


def _watch(folder: Path, on_change: Callable[[int], None]) -> None:
    """Call `on_change` with the number of each change of a file below `folder`, just before it happens."""
    below, seen = str(folder), [0]

    def hook(event: str, arguments: Sequence[Any]) -> None:
        if event not in CHANGES or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        if os.fsdecode(arguments[0]).startswith(below):
            seen[0] += 1
            on_change(seen[0])

    sys.addaudithook(hook)


def _in_child(work: Callable[[], None]) -> int:
    """Return how a forked child that does `work` ended: 0, or minus the signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _told_by_child(tell: Callable[[], Any]) -> str:
    """Return the repr of what a forked child finds."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
        if _in_child(lambda: Path(file.name).write_text(repr(tell()), encoding="utf-8") and None) != 0:
            raise Killed("what is there cannot be read")
        return Path(file.name).read_text(encoding="utf-8")


def _fresh(scenario: Scenario, folder: Path) -> None:
    """Make `folder` as it is before; what is in it is made once and copied, times of files included."""
    made = folder.with_name(f"{folder.name}-made")
    shutil.rmtree(folder, ignore_errors=True)
    if not made.exists():
        folder.mkdir()
        if _in_child(lambda: scenario.prepare(folder)) != 0:
            raise Killed("it could not be prepared")
        folder.rename(made)
    shutil.copytree(made, folder)


def _whole(scenario: Scenario, folder: Path) -> tuple[str, int]:
    """Return what an unbroken run leaves, and how many changes of files it makes."""
    _fresh(scenario, folder)

    def counted() -> int:
        changes = [0]
        _watch(folder, lambda number: changes.__setitem__(0, number))
        scenario.act(folder)
        return changes[0]

    num_changes = int(_told_by_child(counted))
    if scenario.again is _again_and_undo:
        _fresh(scenario, folder)
    return _told_by_child(lambda: scenario.content(folder)), num_changes


def _require_same(scenario: Scenario, folder: Path, whole: str, when: str) -> None:
    if _in_child(lambda: scenario.again(folder)) != 0:
        raise Killed(f"{when}: it did not go on")
    if (found := _told_by_child(lambda: scenario.content(folder))) != whole:
        raise Killed(f"{when}: {found}\ninstead of {whole}")
    state_files = scenario.content is _state  # saved by no command that would clear up after another
    # A run that had finished is not started again, so that nobody takes the lock of its killed owner away.
    locks = () if scenario.again is _resume_to_the_end else ("lock", "owner.json")
    left = [path for path in folder.rglob("*") if path.suffix == ".part" or path.name in locks]
    if left and not state_files:
        raise Killed(f"{when}: {left[0]} is left")


def at_changes(name: str, folder: Path, points: int | None, draw: random.Random) -> int:
    """Kill scenario `name` before each of its changes, or before `points` of them; return how many kills that was."""
    scenario = SCENARIOS[name]
    for module in scenario.modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # or every child walks through, and copies, all that was imported
    whole, num_changes = _whole(scenario, folder)
    numbers = list(range(1, num_changes + 1))
    for number in numbers if points is None else sorted(draw.sample(numbers, min(points, num_changes))):
        _fresh(scenario, folder)

        def until(number: int = number) -> None:
            _watch(folder, lambda seen: os.kill(os.getpid(), signal.SIGKILL) if seen == number else None)
            scenario.act(folder)

        when = f"{name}, killed before change {number} of {num_changes}"
        if _in_child(until) != -signal.SIGKILL:
            raise Killed(f"{when}: it was not")
        _require_same(scenario, folder, whole, when)
    return num_changes if points is None else min(points, num_changes)


def at_moments(folder: Path, chains: int, draw: random.Random) -> int:
    """Train `chains` times, killed again and again at moments of the clock; return how many kills that was."""
    scenario, kills = SCENARIOS["training"], 0
    whole, _ = _whole(scenario, folder)
    began = time.monotonic()
    _fresh(scenario, folder)
    _in_child(lambda: scenario.act(folder))
    seconds = time.monotonic() - began
    for chain in range(chains):
        _fresh(scenario, folder)
        for _ in range(MOST_KILLS):
            moment = draw.uniform(0.02, seconds)

            def until(moment: float = moment) -> None:
                signal.setitimer(
                    signal.ITIMER_REAL, moment
                )  # SIGALRM is as sudden as SIGKILL: nobody handles it
                scenario.again(folder)

            if _in_child(until) == 0:
                break
            kills += 1
        _require_same(scenario, folder, whole, f"training, chain {chain + 1} after {kills} kills")
    return kills


def main() -> None:
    """Kill what was asked for and say how often that was; end with 1 where something was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", help=f"of {', '.join(SCENARIOS)}, with :POINTS where wanted; default: all"
    )
    parser.add_argument(
        "--points", type=int, help="kill at so many changes of files, drawn at random; default: at each"
    )
    parser.add_argument(
        "--chains", type=int, default=10, help="trainings that are killed at moments of the clock"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        try:
            for wanted in given.names or SCENARIOS:
                name, _, own = wanted.partition(":")
                kills = at_changes(name, Path(place) / name, int(own) if own else given.points, draw)
                print(f"{name}: {kills} kills, nothing lost")
                if name == "training" and given.chains:
                    kills = at_moments(Path(place) / name, given.chains, draw)
                    print(
                        f"{name}: {kills} kills at moments of {given.chains} runs, the same weights each time"
                    )
        except Killed as loss:
            sys.exit(str(loss))


if __name__ == "__main__":
    main()
