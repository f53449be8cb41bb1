"""How long `maquette check` takes on a folder of many pictures, seen for the first time and seen before.

    python benchmarks/check_folder.py --output benchmarks/results/

Makes COUNT captioned pictures of 512 to 1024 px (two thirds JPEG, one third PNG) from drawn scenes with grain, in a
temporary folder, and runs the whole command in its own process: once with an empty cache, then ROUNDS times with what it
has learned. Beside it, each picture is merely decoded, on as many threads as there are cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from circumstances import circumstances
from PIL import Image

from maquette.world.attributes import random_character, random_scene
from maquette.world.renderer import render


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description="Time maquette check on a folder of many pictures.")
    parser.add_argument("--count", type=int, default=3000, help="how many pictures")
    parser.add_argument("--rounds", type=int, default=5, help="how often the second look is repeated")
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = make_pictures(root / "train" / "1_zkw_fox", arguments.count)
        result = measured(root, pictures, arguments.rounds, arguments.load)
    print(json.dumps(result, indent=2))
    if arguments.output:
        name = f"check_folder-{result['date']}-{os.cpu_count()}core-cpu.json"
        (arguments.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write `count` pictures that differ, with captions."""
    folder.mkdir(parents=True)
    generator, noise = random.Random(1), np.random.default_rng(1)
    paths = []
    for index in range(count):
        size_px = generator.choice((512, 768, 1024))
        drawn = np.asarray(
            render(random_character(generator), random_scene(generator), 256).resize((size_px, size_px))
        )
        grain = noise.normal(0, 5, drawn.shape)
        picture = Image.fromarray((drawn + grain).clip(0, 255).astype(np.uint8))
        path = folder / f"frame_{index:05d}{'.png' if index % 3 == 0 else '.jpg'}"
        picture.save(path, quality=92)
        path.with_suffix(".txt").write_text(f"zkw_fox, full body, frame {index}", encoding="utf-8")
        paths.append(path)
    return paths


def measured(root: Path, pictures: list[Path], rounds: int, load: str) -> dict:
    """Return the result file's content."""
    decode_s = min(timed(lambda: decode_all(pictures)) for _ in range(2))
    first_s = timed(lambda: check(root))
    again = [timed(lambda: check(root)) for _ in range(rounds)]
    count = len(pictures)
    return {
        **circumstances("check_folder", load=load),
        "settings": {"pictures": count, "bytes": sum(p.stat().st_size for p in pictures), "rounds": rounds},
        "results": [
            {"what": "decode only", "s": decode_s, "pictures_per_s": count / decode_s},
            {
                "what": "maquette check, never seen",
                "s": first_s,
                "pictures_per_s": count / first_s,
                "ratio_to_decode_rate": decode_s / first_s,
            },
            {
                "what": "maquette check, seen before",
                "median_s": statistics.median(again),
                "min_s": min(again),
                "pictures_per_s": count / statistics.median(again),
            },
        ],
        "conclusion": f"{count} pictures are checked in {first_s:.1f} s, and again in {statistics.median(again):.1f} s.",
    }


def timed(work) -> float:
    """Return how many seconds a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decode_all(pictures: list[Path]) -> None:
    """Decode every picture on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda path: np.asarray(Image.open(path).convert("RGB")), pictures):
            pass


def check(root: Path) -> None:
    """Run the command in a process of its own."""
    environment = {**os.environ, "MAQUETTE_CACHE": str(root / "cache")}
    program = "from maquette.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "check", str(root / "train"), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    main()
