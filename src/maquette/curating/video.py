"""Frames out of a film: the sharpest of every few seconds of each scene, as PNG beside each other.

Scenes are found by PySceneDetect, frames are decoded by PyAV (the extra `video`). FOLDER/NAME/ receives the frames of
NAME.mp4 and a frames.json, which says what is done: an interrupted film goes on with the scene it stopped in.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from maquette.errors import DatasetError, MissingExtra, OutputError, Problem
from maquette.events import Finished, Message, Progress, Stage, Started
from maquette.files import replacing, write_json
from maquette.project.validation import read_as
from maquette.reading import FileKind

DEFAULT_EVERY_S = 2.0
RECORD_NAME = "frames.json"
AGAIN = "Move the folder away and take the frames again."
FILE = FileKind("a frames.json", AGAIN, OutputError, damaged=AGAIN)
EDGE_FRAMES = 2
"""Frames left out at both ends of a scene, which compression blends with the neighbour."""
SAMPLE_BYTES = 1 << 20

Scene = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """What a film is known by."""

    name: str
    bytes: int
    sample: str
    """A hash of its size and both ends."""


@dataclass(kw_only=True)
class Record:
    """A film's frames.json."""

    schema: Literal[1] = 1
    video: Film
    every_s: float
    scenes: list[Scene]
    done: int = 0
    """Scenes that are finished."""
    frames: int = 0

    def write(self, place: Path) -> None:
        """Write it into the film's folder."""
        write_json(place / RECORD_NAME, asdict(self))


def check_films(films: Sequence[Path]) -> None:
    """Raise MissingExtra without the extra `video`, DatasetError for what is no film."""
    for package in ("av", "scenedetect"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("reading films (--video)", "video")
    problems = [
        Problem(str(film), "no such file", "a film", "Correct the path.")
        for film in films
        if not film.is_file()
    ]
    problems += [_unreadable(film, error) for film in films if film.is_file() and (error := _trouble(film))]
    stems = [film.stem for film in films]
    problems += [
        Problem(str(film), "named like another film", "names that differ", "Rename one of them.")
        for film in films
        if stems.count(film.stem) > 1
    ]
    if problems:
        raise DatasetError(problems)


def frames_events(films: Sequence[Path], folder: Path, *, every_s: float = DEFAULT_EVERY_S) -> Stage[int]:
    """Take the frames of `films` into `folder`/NAME/; return how many were taken now."""
    taken = 0
    for film in films:
        place = folder / film.stem
        record = _known_record(place, film, every_s)
        if record is None:
            yield Started("scenes", None, "scene")
            record = Record(video=_fingerprint(film), every_s=every_s, scenes=find_scenes(film))
            record.write(place)
            yield Finished("scenes")
        if record.done == len(record.scenes):
            yield Message(f"{film.name}: its {record.frames} frames are there already.")
            continue
        yield Started("frames", len(record.scenes), "scene")
        for done, paths in _take(film, record, place):
            taken += len(paths)
            yield Progress("frames", done, len(record.scenes), "scene", {"frames": record.frames})
        yield Finished("frames")
    return taken


def find_scenes(film: Path) -> list[Scene]:
    """Return where the film's scenes begin and end, in seconds; a film without cuts is one scene."""
    from scenedetect import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        AdaptiveDetector,
        SceneManager,
        open_video,
    )

    video = open_video(str(film), backend="pyav")
    manager = SceneManager()
    manager.add_detector(AdaptiveDetector())
    manager.detect_scenes(video, show_progress=False)
    scenes = manager.get_scene_list(start_in_scene=True)
    return [(round(start.seconds, 4), round(end.seconds, 4)) for start, end in scenes]


def _take(film: Path, record: Record, place: Path) -> Iterator[tuple[int, list[Path]]]:
    """Write each unfinished scene's frames; yield how many scenes are done, and the frames."""
    import av

    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number in range(record.done, len(record.scenes)):
            paths = [
                _write_frame(place, number, second, image)
                for second, image in _sharpest(container, stream, record.scenes[number], record.every_s)
            ]
            record.done, record.frames = number + 1, record.frames + len(paths)
            record.write(place)
            yield record.done, paths


def _sharpest(container: Any, stream: Any, scene: Scene, every_s: float) -> Iterator[tuple[float, Any]]:
    """Yield the sharpest frame of each window of a scene, with its second. One frame at a time is kept."""
    import numpy as np

    from maquette.dataset.measure_pixels import VIEW_PX, sharpness, shrunk

    start, end = scene
    edge_s = EDGE_FRAMES / float(stream.average_rate or 25)
    if end - start > 4 * edge_s:
        start, end = start + edge_s, end - edge_s
    windows = max(1, round((end - start) / every_s))
    length = (end - start) / windows
    container.seek(max(0, int(start / stream.time_base)), stream=stream, backward=True)
    window, best, kept = 0, -1.0, None
    for frame in container.decode(stream):
        if frame.time is None or frame.time < start - 1e-6:
            continue
        if frame.time >= end - 1e-6:
            break
        place = min(windows - 1, int((frame.time - start) / length))
        if place != window and kept is not None:
            yield kept
            best, kept = -1.0, None
        window = place
        grey_HW = frame.to_ndarray(format="gray")
        value = sharpness(shrunk(np.ascontiguousarray(grey_HW), VIEW_PX))
        if value > best:
            best, kept = value, (float(frame.time), frame.to_image())
    if kept is not None:
        yield kept


def _write_frame(place: Path, number: int, second: float, image: Any) -> Path:
    minutes, rest = divmod(second, 60)
    path = place / f"{place.name}_s{number + 1:04d}_{int(minutes):03d}m{rest:05.2f}s.png"
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", compress_level=3)
    return path


def _known_record(place: Path, film: Path, every_s: float) -> Record | None:
    """Return what is known of a film's frames; OutputError when the folder holds those of another film or pace."""
    path = place / RECORD_NAME
    if not path.exists():
        if place.is_dir() and any(place.iterdir()):
            raise OutputError(
                Problem(
                    str(place), "a folder that holds something else", "a new folder", "Rename film or folder."
                )
            )
        return None
    known = read_as(Record, path, FILE)
    if known.video.sample != _fingerprint(film).sample or known.every_s != every_s:
        given = f"the frames of {known.video.name}, one in {known.every_s:g} s"
        raise OutputError(
            Problem(
                str(place),
                given,
                f"a folder for {film.name}, one in {every_s:g} s",
                "Move that folder away first.",
            )
        )
    return known


def _fingerprint(film: Path) -> Film:
    """Return name, size, and a hash of size and both ends: films are too long to be read whole for this."""
    size = film.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with film.open("rb") as file:
        digest.update(file.read(SAMPLE_BYTES))
        file.seek(max(0, size - SAMPLE_BYTES))
        digest.update(file.read(SAMPLE_BYTES))
    return Film(name=film.name, bytes=size, sample=digest.hexdigest()[:32])


def _trouble(film: Path) -> str:
    """Return why a file is no film that can be read; empty when it is one."""
    import av

    try:
        with av.open(str(film)) as container:
            return "" if container.streams.video else "no pictures in it"
    except (av.FFmpegError, OSError) as error:
        return str(error)


def _unreadable(film: Path, error: str) -> Problem:
    return Problem(str(film), f"cannot be read ({error})", "a film", "Convert it to MP4, or copy it again.")
