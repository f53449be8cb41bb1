"""A run trained again from its record: the same bits, or the first differing step; what changed since is refused in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import maquette
from maquette.comparing.weights import compare_weights, first_difference
from maquette.errors import MaquetteError, OutputError
from maquette.events import Artifact
from maquette.stopping import Stop, Stopped
from tests.comparing.making import asked
from tests.conftest import make_pictures

ShortRun = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A run `out/zkw` with two files, over `pictures`."""
    folder = tmp_path_factory.mktemp("home")
    make_pictures(folder / "pictures", [(64, 64), (64, 64), (96, 48)])
    maquette.train(
        folder / "pictures", base=str(tiny_base), trigger="zkw", steps=4, rank=2, resolution=64, bucket_step_px=16,
        device="cpu", precision="no", output=folder / "out", name="zkw", save_every_steps=2, dropout=0.1,
        shuffle_caption=True, tensorboard=False,
    )  # fmt: skip
    return folder


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Path:
    """A copy of the run and its pictures, which a test may change."""
    shutil.copytree(home, tmp_path / "home")
    record = tmp_path / "home" / "out" / "zkw" / "run.json"
    record.write_text(
        record.read_text(encoding="utf-8").replace(str(home), str(tmp_path / "home")), encoding="utf-8"
    )
    return record.parent


def changed(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = run / "run.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def pictures_of(run: Path) -> Path:
    return run.parent.parent / "pictures"


def refused(run: Path, **given: Any) -> str:
    with pytest.raises(MaquetteError) as caught:
        maquette.reproduce(run, dry_run=True, **given)
    return str(caught.value)


def test_captions_as_trained_and_pictures_by_content_give_the_same_bits(run: Path) -> None:
    """Whatever caption files and names say today: the record is what is trained."""
    (pictures_of(run) / "p0.txt").write_text("something else entirely")
    (pictures_of(run) / "p1.txt").unlink()
    (pictures_of(run) / "p2.png").rename(pictures_of(run) / "renamed.png")
    was = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, found = asked("reproduce", run)
    assert code == 0 and found["identical"] is True
    assert {name: each["identical"] for name, each in found["checkpoints"].items()} == {
        "zkw-step00000002.safetensors": True,
        "zkw.safetensors": True,
    }
    assert found["first_differing_step"] is None and not found["environment"] and found["steps"] == 4
    assert any("2 caption files" in note for note in found["notes"])
    assert any("another name" in note for note in found["notes"])
    again = Path(found["reproduced"])
    assert again.name == "zkw-reproduced" and again.parent == run.parent
    # The clocks, names and times in the metadata differ; the bits of the weights do not.
    assert (again / "checkpoints" / "zkw-reproduced.safetensors").read_bytes() != was[
        run / "checkpoints" / "zkw.safetensors"
    ]
    assert was == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_where_bits_differ_the_first_differing_step_and_the_environment_are_named(run: Path) -> None:
    def another(values: dict[str, Any]) -> None:
        values["settings"]["training"]["learning_rate"] *= 2
        values["environment"]["packages"]["torch"] = "0.1"

    changed(run, another)
    code, found = asked("reproduce", run, "--output", run.parent / "elsewhere")
    assert code == 1 and found["identical"] is False
    first = found["first_difference"]
    assert found["first_differing_step"] == 1 and first["lr_denoiser"]["b"] == 2 * first["lr_denoiser"]["a"]
    assert "loss" not in first, "the loss of step 1 was measured before any weight was changed"
    assert found["environment"]["packages.torch"]["a"] == "0.1"
    assert found["checkpoints"]["zkw.safetensors"]["largest_difference"] > 0
    assert Path(found["reproduced"]).parent == run.parent / "elsewhere"


def test_a_dry_run_says_that_all_is_here_and_trains_nothing(run: Path) -> None:
    was = sorted(run.parent.parent.rglob("*"))
    code, found = asked("reproduce", run, "--dry-run")
    assert (code, found["identical"], found["reproduced"], found["steps"]) == (0, None, None, 4)
    assert was == sorted(run.parent.parent.rglob("*"))


def test_everything_that_changed_since_is_refused_at_once(run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(pictures_of(run) / "p0.png")
    (pictures_of(run) / "p1.png").unlink()
    base = tmp_path / "other.safetensors"
    base.write_bytes(b"other")
    told = refused(run, base=str(base))
    assert "p0.png: its content changed since the run" in told
    assert "p1.png: it is gone" in told
    assert "other.safetensors: its content is another than the run was trained on" in told
    assert "--images" in told


def test_pictures_that_lie_elsewhere_now_are_found_by_content(run: Path) -> None:
    moved = Path(shutil.move(pictures_of(run), run.parent.parent / "moved"))
    assert "p0.png: it is gone" in refused(run)
    found = maquette.reproduce(run, dry_run=True, images=moved)
    assert found.identical is None and any("another name or folder" in note for note in found.notes)


def test_a_run_without_a_file_as_it_wrote_it_has_nothing_to_compare_with(run: Path) -> None:
    final = run / "checkpoints" / "zkw.safetensors"
    save_file({name: np.asarray(value + 1) for name, value in load_file(final).items()}, final)
    found = maquette.reproduce(run, dry_run=True)
    assert found.steps == 2 and any("no longer as the run wrote it" in each for each in found.not_compared)
    (run / "checkpoints" / "zkw-step00000002.safetensors").unlink()
    assert "no LoRA file left" in refused(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such file"):
        maquette.reproduce(tmp_path / "nothing")


@pytest.mark.slow
def test_a_run_that_was_stopped_is_reproduced_as_far_as_its_last_file(short_run: ShortRun) -> None:
    stop = Stop()

    def heard(event: object) -> None:
        if isinstance(event, Artifact) and event.kind == "checkpoint":
            stop.ask()

    with pytest.raises(Stopped):
        maquette.train(**short_run(save_every_steps=2, tensorboard=False), on_event=heard, stop=stop)
    run = Path(short_run()["output"]) / "zkw"
    found = maquette.reproduce(run)
    assert found.identical is True and found.steps == 2 and [each.step for each in found.compared] == [2]


# --- comparing -------------------------------------------------------------------------------------------


def test_weights_are_compared_bit_for_bit_whatever_the_metadata(tmp_path: Path) -> None:
    value = {"a": np.zeros(3, np.float32), "b": np.ones((2, 2), np.float16)}
    save_file(value, tmp_path / "one.safetensors", {"when": "then"})
    save_file(value, tmp_path / "two.safetensors", {"when": "now"})
    same = compare_weights("x", 1, tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    assert same.is_identical and same.largest is None and same.tensors == 2
    # -0.0 equals 0.0 and is other bits
    save_file({**value, "a": np.array([0, -0.0, 0], np.float32)}, tmp_path / "two.safetensors")
    other = compare_weights("x", 1, tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    assert other.differing == ("a",) and other.largest == 0
    save_file({"a": value["a"], "c": value["b"]}, tmp_path / "two.safetensors")
    assert compare_weights("x", 1, tmp_path / "one.safetensors", tmp_path / "two.safetensors").differing == (
        "b",
        "c",
    )


def test_the_first_differing_step_is_found_in_losses_and_in_pictures_but_not_in_clocks(
    tmp_path: Path,
) -> None:
    def rows(name: str, *values: dict[str, Any]) -> Path:
        path = tmp_path / name
        path.write_text(
            "".join(json.dumps({"step": step, **each}) + "\n" for step, each in enumerate(values, 1))
        )
        return path

    one = rows("a", {"loss": 0.5, "seconds": 1}, {"loss": 0.25, "shown": [[0, 10.0, 0.25]]}, {"loss": 0.1})
    assert first_difference(one, rows("b", {"loss": 0.5, "seconds": 9}, {"loss": 0.25})) is None
    found = first_difference(
        one, rows("c", {"loss": 0.5}, {"loss": 0.25, "shown": [[1, 10.0, 0.25]]}, {"loss": 0.2})
    )
    assert found is not None and (found.step, dict(found.values)) == (2, {"pictures": ([0], [1])})
    later = first_difference(one, rows("d", {"loss": 0.5}, {"loss": 0.25}, {"loss": 0.2}))
    assert later is not None and (later.step, later.values["loss"]) == (3, (0.1, 0.2))
    assert first_difference(one, rows("e", {"loss": 0.5}, {"loss": 0.25}, {"loss": 0.2}), up_to=2) is None
