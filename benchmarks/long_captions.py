"""How long the caption rules take on long captions and on many: twice the text should take twice the time.

    python benchmarks/long_captions.py --output benchmarks/results/

Captions are drawn from one list of words with a fixed seed. LONG: two pictures, one caption of 5 to 40 KB (running text,
tags, one word, brackets). MANY: COUNT captions of twelve parts. The rules get facts that were read from a folder of files
that are no pictures, so that nothing but captions is looked at; each row is one pass of all caption rules in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from circumstances import circumstances

from maquette.dataset.facts import DatasetFacts, DatasetInput
from maquette.dataset.reading import read_dataset
from maquette.families import tokenizer
from maquette.findings.registry import run_rules
from maquette.project.profile import Detail, Profile
from maquette.rules.catalogue import all_rules
from maquette.words.reading import TokenCounter
from maquette.words.text import word_set

WORDS = sorted(
    word_set(
        "zkw red fox hair left right hand glove standing view front blue sky long wearing white cloak sword holding sitting",
        "running smile indoors outdoors forest the a with and of",
    )
)
PROFILE = Profile(
    kind="character",
    trigger="zkw",
    class_word="fox",
    appearance=("red hair", "green eyes", "white cloak"),
    details=(Detail(name="red glove", side="right", part="hand"),),
)


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description="Time the caption rules on long and on many captions.")
    parser.add_argument("--kilobytes", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--counts", type=int, nargs="+", default=[5000, 10_000, 20_000])
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    parser.add_argument("--name", default="long_captions", help="beginning of the result file's name")
    asked = parser.parse_args()
    rows = [
        {"what": "one long caption", "kind": kind, "bytes": size * 1000, "s": long_s(kind, size * 1000)}
        for kind in KINDS
        for size in asked.kilobytes
    ]
    rows += [{"what": "many captions", "count": count, "s": many_s(count)} for count in asked.counts]
    result = {
        **circumstances("long_captions", load=asked.load),
        "results": rows,
        "conclusion": concluded(rows),
    }
    print(json.dumps(result, indent=2))
    if asked.output:
        name = f"{asked.name}-{result['date']}-{os.cpu_count()}core-cpu.json"
        (asked.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def prose(length: int, chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=length // 5))[:length]


def tags(length: int, chance: random.Random) -> str:
    parts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 3))) for _ in range(length // 10)]
    return ", ".join(parts)[:length]


def one_word(length: int, chance: random.Random) -> str:
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=length))


def brackets(length: int, chance: random.Random) -> str:
    return "(" * (length // 2) + "a" + ")" * (length // 2)


KINDS = {"prose": prose, "tags": tags, "one word": one_word, "brackets": brackets}


def long_s(kind: str, length: int) -> float:
    """Return the seconds of one pass over a caption of so many bytes, beside a short one."""
    chance = random.Random(length)
    return _pass_s([f"zkw, {KINDS[kind](length, chance)}", "zkw, front view, standing"])


def many_s(count: int) -> float:
    """Return the seconds of one pass over so many captions of twelve parts."""
    chance = random.Random(count)
    return _pass_s([f"zkw, {', '.join(tags(30, chance) for _ in range(4))}" for _ in range(count)])


def _pass_s(captions: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        for index, text in enumerate(captions):
            path = Path(folder) / f"p{index:06}.png"
            path.touch()
            path.with_suffix(".txt").write_text(text, encoding="utf-8")
        facts = read_dataset(DatasetInput(images=Path(folder)), "listing", cache=None)
    clip = tokenizer()
    known = {
        DatasetFacts: facts,
        Profile: PROFILE,
        TokenCounter: TokenCounter(count=lambda text: len(clip.encode(text)), pieces=clip.pieces),
    }
    rules = [rule for code, rule in all_rules().items() if code.startswith("CAP")]
    began = time.perf_counter()
    run_rules(rules, known)
    return round(time.perf_counter() - began, 3)


def concluded(rows: list[dict]) -> str:
    """Return how much longer twice the input took, at its largest, for each kind."""
    said = []
    for what in dict.fromkeys(row.get("kind", row["what"]) for row in rows):
        some = [row for row in rows if row.get("kind", row["what"]) == what]
        ratios = [after["s"] / max(before["s"], 1e-3) for before, after in pairwise(some)]
        said.append(
            f"{what}: {some[-1]['s']:.2f} s for the largest, doubling took {max(ratios, default=1.0):.1f} times as long at most"
        )
    return "; ".join(said)


if __name__ == "__main__":
    main()
