"""Frames of a real film: every scene is there, the sharp frames are taken, an interrupted film goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from maquette.curating.options import CurateOptions
from maquette.curating.run import curate_events
from maquette.curating.video import find_scenes, frames_events
from maquette.errors import DatasetError, OutputError
from maquette.events import Progress, run_stage
from maquette.world.attributes import Scene
from maquette.world.cast import TOVAKI
from maquette.world.renderer import render
from tests.curating.making import contents, curate, names_of, save, stranger

av = pytest.importorskip("av")
pytest.importorskip("scenedetect")

FPS, SCENE_S = 12, 3
PEOPLE = (TOVAKI, stranger(1), TOVAKI)
BACKGROUNDS = ("blue", "yellow", "green")


def write_film(path: Path, *, blurred: bool = True) -> Path:
    """Write three scenes of three seconds; somebody walks by, blurred in all but each second's fifth frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = 192
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for who, background in zip(PEOPLE, BACKGROUNDS, strict=True):
            for number in range(FPS * SCENE_S):
                shift = 4 * number / (FPS * SCENE_S) - 2
                image = render(who, Scene(background=background, shift=shift), 192)
                if blurred and number % FPS != 5:
                    image = image.filter(ImageFilter.GaussianBlur(3))
                frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
                for packet in stream.encode(frame):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "walk.mp4")


def test_scenes_begin_where_the_film_cuts(film: Path) -> None:
    starts = [start for start, _ in find_scenes(film)]
    assert starts == pytest.approx([0, 3, 6], abs=2 / FPS)


def test_the_sharpest_frame_of_each_second_is_taken(film: Path, tmp_path: Path) -> None:
    assert run_stage(frames_events([film], tmp_path, every_s=1.0)) == 9
    seconds = sorted(float(path.stem.split("m")[-1].rstrip("s")) for path in tmp_path.rglob("*.png"))
    sharp = [scene * SCENE_S + second + 5 / FPS for scene in range(3) for second in range(3)]
    assert seconds == pytest.approx(sharp, abs=1.5 / FPS)


def test_an_interrupted_film_goes_on_where_it_stopped(film: Path, tmp_path: Path) -> None:
    run_stage(frames_events([film], tmp_path / "whole", every_s=1.0))
    for event in frames_events([film], tmp_path / "parts", every_s=1.0):
        if isinstance(event, Progress):
            break
    record = json.loads((tmp_path / "parts" / "walk" / "frames.json").read_text())
    assert (record["done"], record["frames"]) == (1, 3)
    assert run_stage(frames_events([film], tmp_path / "parts", every_s=1.0)) == 6
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert run_stage(frames_events([film], tmp_path / "parts", every_s=1.0)) == 0


def test_frames_of_another_film_are_not_mixed_in(film: Path, tmp_path: Path) -> None:
    run_stage(frames_events([film], tmp_path, every_s=1.0))
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="one in 1 s"):
        run_stage(frames_events([film], tmp_path, every_s=0.5))
    assert contents(tmp_path) == before


def test_a_film_is_curated_in_one_go(film: Path, tmp_path: Path) -> None:
    references = tmp_path / "references"
    for number, view in enumerate(("front", "left", "right")):
        save(render(TOVAKI, Scene(view=view), 96), references / f"{number}.png")
    found = curate(tmp_path / "frames", videos=[film], every_s=1.0, references=[references], encoder="world")
    assert (found.frames, found.counts["pictures"]) == (9, 9)
    assert {name[:10] for name in names_of(found.kept)} <= {"walk_s0001", "walk_s0003"}
    assert found.kept
    assert not any("s0002" in name for name in names_of(found.kept) | names_of(found.review))


def test_what_is_no_film_is_refused_before_anything_is_written(film: Path, tmp_path: Path) -> None:
    save(Image.new("RGB", (8, 8)), tmp_path / "still.png").rename(tmp_path / "fake.mp4")
    (tmp_path / "text.mp4").write_text("no film at all")
    with pytest.raises(DatasetError) as caught:
        list(
            curate_events(
                tmp_path / "out", CurateOptions(videos=(tmp_path / "text.mp4", tmp_path / "none.mp4"))
            )
        )
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "out").exists()
