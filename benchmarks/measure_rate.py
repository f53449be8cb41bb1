"""How fast pictures are hashed and measured, against decoding and resizing them and nothing else, on all cores.

    python benchmarks/measure_rate.py --photos FOLDER --output benchmarks/results/

Both sides take the same files in turn, on as many threads as there are cores: `plain` decodes to RGB and resizes to 512
pixels along the longer side, `measured` is `measure_pictures` without its cache. Files: real photographs (`--photos`,
searched with its subfolders), and generated ones: half JPEG film frames of 1280×720, half PNG drawings of 1024×1024.
Two more questions: the time in which 3,000 unchanged pictures are recalled from the cache, and the peak memory over a
long list against a short one, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import PIL
from circumstances import commit, hardware, software
from PIL import Image

from maquette.dataset.measure_cache import MeasureCache
from maquette.dataset.measuring import measure_pictures
from maquette.files import write_json
from maquette.world.attributes import Character, Scene
from maquette.world.renderer import render

HERE = Path(__file__).resolve().parent
SIDE_PX = 512
CORES = os.cpu_count() or 1

MEMORY_PROBE = """
import json, resource, sys
from pathlib import Path
from maquette.dataset.measuring import measure_pictures
paths = sorted(Path(sys.argv[1]).iterdir())
count = int(sys.argv[2])
long = [paths[index % len(paths)] for index in range(count)]
done = sum(1 for _ in measure_pictures(long, cache=None))
status = Path("/proc/self/status")
if status.exists():  # ru_maxrss would count the parent's memory, from before this program was loaded
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    peak = int(line.split()[1]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"count": done, "peak_bytes": peak}))
"""


def decode_and_resize(path: Path) -> tuple[int, ...]:
    """Do what any use of a picture has to do."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    scale = SIDE_PX / max(pixels.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=how).shape


def plain(paths: Sequence[Path]) -> None:
    """Decode and resize all pictures, a few a core ahead, as the measured side has them."""
    ahead: deque[Future[tuple[int, ...]]] = deque()
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(CORES) as pool:
        for path in paths:
            ahead.append(pool.submit(decode_and_resize, path))
            if len(ahead) > 4 * CORES:
                ahead.popleft().result()


def measured(paths: Sequence[Path]) -> None:
    assert all(each.is_sound for each in measure_pictures(paths, cache=None, workers=CORES))


def generate(folder: Path, count: int) -> tuple[list[Path], list[Path]]:
    """Write film frames and drawings, `count` in all, from forty different ones."""
    folder.mkdir(parents=True)
    fox = Character(
        hair_style="spiky", hair_color="red", skin="pale", top_color="white", bottom_kind="pants",
        bottom_color="black", right_glove="green",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    poses, views = (
        ("standing", "arms wide", "arms up", "jumping"),
        ("front", "left", "right", "back", "front"),
    )
    frames, drawings = [], []
    for index in range(20):
        scene = Scene(view=views[index // 4], pose=poses[index % 4], background="blue", shift=0.1 * index)
        drawing = render(fox, scene, 1024)
        drawing.save(folder / f"drawing_{index:02d}.png")
        grain = rng.normal(0, 12, (90, 160, 3)).astype(np.float32)
        texture = cv2.resize(grain, (1280, 720), interpolation=cv2.INTER_CUBIC) + rng.normal(
            0, 3, (720, 1280, 3)
        )
        frame = np.asarray(drawing.resize((1280, 1280)).crop((0, 200, 1280, 920)), np.float32) + texture
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(
            folder / f"frame_{index:02d}.jpg", quality=90
        )
    for kind, found in (("frame_{:02d}.jpg", frames), ("drawing_{:02d}.png", drawings)):
        for index in range(count // 2):
            source = folder / kind.format(index % 20)
            path = source.with_stem(f"{source.stem}_{index:05d}")
            shutil.copyfile(source, path)
            found.append(path)
    return frames, drawings


def compare(name: str, paths: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Return one row: both sides' rates, and the ratio of the rates round by round; the first round is dropped.

    `ratio` is of the rates on the wall clock, `cpu_ratio` of the processor time spent: on a busy machine the second one
    says more.
    """
    sides: dict[str, Callable[[Sequence[Path]], None]] = {"plain": plain, "measured": measured}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            start, spent = time.perf_counter(), time.process_time()
            sides[side](paths)
            seconds[side].append(time.perf_counter() - start)
            cpu[side].append(time.process_time() - spent)
    row: dict[str, Any] = {"pictures": name, "count": len(paths)}
    for side in sides:
        row[f"{side}_median_per_s"] = round(len(paths) / median(seconds[side][1:]), 1)
        row[f"{side}_best_per_s"] = round(len(paths) / min(seconds[side][1:]), 1)
        row[f"{side}_cpu_median_ms"] = round(median(cpu[side][1:]) / len(paths) * 1e3, 2)
    for key, taken in (("ratio", seconds), ("cpu_ratio", cpu)):
        row[key] = median(
            one / other for one, other in zip(taken["plain"][1:], taken["measured"][1:], strict=True)
        )
    row["ratio_of_best"] = min(seconds["plain"][1:]) / min(seconds["measured"][1:])
    return row


def recalled(paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return the time that pictures take which were measured before."""
    for path in paths:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    cache = MeasureCache(folder / "cache")
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        count = sum(1 for _ in measure_pictures(paths, cache=cache))
        seconds.append(time.perf_counter() - start)
    return {
        "pictures": "recalled from the cache",
        "count": count,
        "median_s": median(seconds[1:]),
        "min_s": min(seconds[1:]),
    }


def peak(folder: Path, count: int) -> dict[str, Any]:
    """Return the peak memory of a process that measures `count` pictures."""
    words = [sys.executable, "-c", MEMORY_PROBE, str(folder), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--generated", type=int, default=2000, help="how many pictures to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--short", type=int, default=500, help="length of the short list whose memory is measured"
    )
    parser.add_argument("--long", type=int, default=20_000, help="length of the long one")
    parser.add_argument("--load", default="quiet", help="what else ran on the machine meanwhile")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the result file")
    return parser.parse_args()


def measure(args: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of the rates, and the rows of cache and memory."""
    frames, drawings = generate(folder / "pictures", args.generated)
    rates = []
    if args.photos:
        photos = sorted(path for path in args.photos.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
        rates.append(compare("photographs", photos * max(1, 200 // len(photos)), args.rounds))
    rates.append(compare("film frames, JPEG 1280x720", frames, args.rounds))
    rates.append(compare("drawings, PNG 1024x1024", drawings, args.rounds))
    rates.append(compare("frames and drawings", [*frames, *drawings], args.rounds))
    for row in rates:
        print(row, flush=True)
    small = folder / "small"
    small.mkdir()
    for index, path in enumerate(frames[:20]):
        with Image.open(path) as image:
            image.resize((640, 360)).save(small / f"{index}.jpg")
    copies = [
        Path(shutil.copyfile(small / f"{index % 20}.jpg", folder / f"{index}.jpg")) for index in range(3000)
    ]
    others = [recalled(copies, folder)]
    for count in (args.short, args.long):
        others.append({"pictures": "peak memory, JPEG 640x360", **peak(small, count)})
    for row in others:
        print(row, flush=True)
    return rates, others


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        rates, others = measure(args, Path(folder))
    moment = datetime.now(UTC)
    shown = ", ".join(f"{row['pictures']} {row['ratio']:.2f} and {row['cpu_ratio']:.2f}" for row in rates)
    growth = others[-1]["peak_bytes"] - others[-2]["peak_bytes"]
    record = {
        "benchmark": "measure_rate",
        "date": moment.isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware("cpu"),
        "load": args.load,
        "software": {**software(), "pillow": PIL.__version__, "opencv": cv2.__version__, "numpy": np.__version__},
        "settings": {"threads": CORES, "rounds": args.rounds, "resized_to_px": SIDE_PX, "generated": args.generated},
        "results": [*rates, *others],
        "conclusion": "Hashing and measuring against decoding and resizing alone, rate on the clock and per processor "
        f"second: {shown}; 3,000 known pictures are recalled in {others[0]['median_s']:.2f} s; {args.long} pictures take "
        f"{growth / 2**20:.1f} MiB more at the peak than {args.short}.",
    }  # fmt: skip
    path = args.output / f"measure_rate-{moment:%Y-%m-%d}-{CORES}core-cpu.json"
    write_json(path, record)
    print(record["conclusion"], path, sep="\n")


if __name__ == "__main__":
    main()
