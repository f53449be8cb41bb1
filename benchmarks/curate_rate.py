"""What curating a heap costs beside decoding it: pictures a second, and peak memory.

    python benchmarks/curate_rate.py                                  # 2,000 frames of 1280 × 720, a minute or two
    python benchmarks/curate_rate.py --pictures 100000 --size 96 96   # memory of a very large heap

Sides, each in a process of its own, in turn, on the same generated JPEGs (their files warm in the page cache):

1. `decode and resize`: every picture decoded by Pillow, made RGB and shrunk to 512 px, on all cores.
2. `measure`: maquette.dataset.measuring alone, nothing recalled.
3. `curate`: the whole hash-and-quality pass: listing, measuring, reasons, duplicates, mirror images, groups,
   curation.json; no encoder, no contact sheets.
4. `curate again`: the same with nothing new.

Ratios are of rates, each side against side 1 of the same round; the median over the rounds counts. On a shared machine
the ratio by processor time is the steadier one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from circumstances import circumstances
from PIL import Image

from maquette.files import write_json

HERE = Path(__file__).resolve().parent
SIDES = ("decode and resize", "measure", "curate", "curate again")


def make_pictures(folder: Path, count: int, size_wh: tuple[int, int]) -> None:
    """Write `count` different JPEGs: large soft shapes with grain, as frames of a film are."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    grain = Image.fromarray(chance.integers(96, 160, (size_wh[1], size_wh[0], 3), np.uint8))

    def write(job: tuple[int, Any]) -> None:
        number, coarse = job
        image = Image.fromarray(coarse).resize(size_wh, Image.Resampling.BICUBIC)
        Image.blend(image, grain, 0.15).save(folder / f"{number:06d}.jpg", quality=88)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, 512):
            coarse = chance.integers(0, 256, (min(512, count - start), 7, 9, 3), np.uint8)
            list(pool.map(write, enumerate(coarse, start=start)))


def decode_and_resize(paths: list[Path]) -> None:
    def one(path: Path) -> None:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
        rgb.thumbnail((512, 512), Image.Resampling.BICUBIC)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), 512):
            list(pool.map(one, paths[start : start + 512]))


def run_side(side: str, folder: Path) -> dict[str, float]:
    """Do one side's work in this process; return seconds, processor seconds and peak memory."""
    if side == SIDES[0]:
        paths = sorted(folder.glob("*.jpg"))
        began, began_cpu = time.perf_counter(), time.process_time()
        decode_and_resize(paths)
    elif side == SIDES[1]:
        from maquette.dataset.measuring import measure_pictures

        paths = sorted(folder.glob("*.jpg"))
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in measure_pictures(paths, cache=None):
            pass
    else:
        from maquette.curating.options import CurateOptions
        from maquette.curating.run import curate_events

        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in curate_events(folder, CurateOptions(sheet_pages=0)):
            pass
    elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_bytes = peak if platform.system() == "Darwin" else peak * 1024
    return {"seconds": elapsed_s, "cpu_s": cpu_s, "peak_bytes": peak_bytes}


def measured(side: str, folder: Path, cache: Path) -> dict[str, float]:
    environment = {**os.environ, "MAQUETTE_CACHE": str(cache)}
    command = [sys.executable, str(Path(__file__).resolve()), "--side", side, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def rounds_of(folder: Path, rounds: int) -> list[dict[str, dict[str, float]]]:
    """Return each round's sides; `curate` begins without cache and decisions, `curate again` with both."""
    found = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            (folder / "curation.json").unlink(missing_ok=True)
            found.append({side: measured(side, folder, Path(cache)) for side in SIDES})
        shown = ", ".join(f"{side} {row['seconds']:.1f} s" for side, row in found[-1].items())
        print(f"round {number + 1}: {shown}", flush=True)
    return found


def rows_of(found: list[dict[str, dict[str, float]]], count: int) -> list[dict[str, Any]]:
    rows = []
    for side in SIDES:
        seconds = [each[side]["seconds"] for each in found]
        ratios = [each[SIDES[0]]["seconds"] / each[side]["seconds"] for each in found]
        cpu_ratios = [each[SIDES[0]]["cpu_s"] / each[side]["cpu_s"] for each in found]
        rows.append(
            {
                "side": side,
                "pictures": count,
                "median_s": round(statistics.median(seconds), 3),
                "min_s": round(min(seconds), 3),
                "pictures_per_s": round(count / statistics.median(seconds), 1),
                "rate_ratio_to_decode_and_resize": round(statistics.median(ratios), 3),
                "median_cpu_s": round(statistics.median(each[side]["cpu_s"] for each in found), 3),
                "cpu_rate_ratio_to_decode_and_resize": round(statistics.median(cpu_ratios), 3),
                "peak_bytes": int(max(each[side]["peak_bytes"] for each in found)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", default="unknown", help="quiet, or what else ran")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(options.side, options.folder)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "heap"
        make_pictures(folder, options.pictures, tuple(options.size))
        found = rounds_of(folder, options.rounds)
    rows = rows_of(found, options.pictures)
    for row in rows:
        print(
            f"{row['side']:<18} {row['pictures_per_s']:>9.1f} pictures/s   "
            f"{row['rate_ratio_to_decode_and_resize']:.2f} of decode and resize (processor time "
            f"{row['cpu_rate_ratio_to_decode_and_resize']:.2f})   {row['peak_bytes'] / 1e6:.0f} MB"
        )
    whole = rows[2]
    head = circumstances("curate_rate", load=options.load, pillow=Image.__version__, numpy=np.__version__)
    width, height = options.size
    name = f"curate_rate-{head['date']}-{options.pictures}x{width}px-{os.cpu_count()}core-cpu.json"
    write_json(
        options.output / name,
        {
            **head,
            "settings": {"pictures": options.pictures, "size_px": [width, height], "rounds": options.rounds},
            "results": rows,
            "conclusion": (
                f"The hash-and-quality pass runs at {whole['rate_ratio_to_decode_and_resize']:.2f} of the rate of "
                f"decoding and resizing ({whole['cpu_rate_ratio_to_decode_and_resize']:.2f} by processor time), "
                f"within {whole['peak_bytes'] / 1e6:.0f} MB for {options.pictures} pictures."
            ),
        },
    )
    print(f"written: {options.output / name}")


if __name__ == "__main__":
    main()
