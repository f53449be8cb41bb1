"""Does the loss per picture find a wrong caption and a wrong subject? Runs on the small world with both planted, and clean ones.

Fifteen pictures of one character and a sixteenth. In a planted run one caption names another view, pose and background than its
picture shows, and the sixteenth picture is of somebody else under the same trigger; in a clean run all is right.
    python benchmarks/picture_losses.py --seeds 31 32 33 --clean 41 42 --output benchmarks/results/
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circumstances import commit, hardware, software

import maquette
from maquette.files import replacing
from maquette.world.attributes import SCENE_VALUES, Character, Scene
from maquette.world.captions import caption
from maquette.world.cast import SCENES, TOVAKI, TRIGGER, write_training_pictures
from maquette.world.pack import base_path
from maquette.world.renderer import render

STEPS = 240
RIGHT = {"wrong caption": "apart from the start", "wrong subject": "left behind"}


def main() -> None:
    """Train, compare with what was planted, write the result file."""
    given = arguments()
    rows = [trained(seed, is_clean=False) for seed in given.seeds]
    rows += [trained(seed, is_clean=True) for seed in given.clean]
    counts = {what: sum(row["found"].get(what, False) for row in rows) for what in RIGHT}
    named = {what: sum(row["named_right"].get(what, False) for row in rows) for what in RIGHT}
    innocent = sum(row["innocent_pictures"] for row in rows)
    alarms = sum(len(row["false_alarms"]) for row in rows)
    planted = len(given.seeds)
    record = {
        "benchmark": "picture_losses",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware("cpu"),
        "load": given.load,
        "software": software(),
        "settings": {"steps": STEPS, "batch_size": 4, "rank": 8, "learning_rate": 1.5e-3, "pictures": 16},
        "results": rows,
        "conclusion": "; ".join(
            [
                *(
                    f"{what}: found in {counts[what]} of {planted} runs, named as what it is in {named[what]}"
                    for what in RIGHT
                ),
                f"false alarms: {alarms} of {innocent} pictures",
            ]
        ),
    }
    path = given.output / f"picture_losses-{record['date'][:10]}-2core-cpu.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(record["conclusion"], path, sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32, 33])
    parser.add_argument("--clean", type=int, nargs="*", default=[41, 42])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--load", default="quiet", help="what else ran")
    return parser.parse_args()


def trained(seed: int, *, is_clean: bool) -> dict[str, Any]:
    """Return what a run found of what was planted."""
    with tempfile.TemporaryDirectory() as place:
        planted = pictures(Path(place) / "images", random.Random(seed), is_clean=is_clean)
        result = maquette.train(
            Path(place) / "images", base=str(base_path()), trigger=TRIGGER, class_word="character", resolution=64, rank=8,
            alpha=8, steps=STEPS, batch_size=4, learning_rate=1.5e-3, text_encoder_lr=1.5e-3, warmup_steps=20, seed=seed,
            device="cpu", precision="no", output=Path(place) / "runs", tensorboard=False,
        )  # fmt: skip
        record = result.record
    names = [Path(picture.path).name for picture in record.dataset.pictures]
    apart = {
        names[each.picture]: each.standing
        for each in record.picture_losses
        if each.standing in RIGHT.values()
    }
    row = {
        "seed": seed,
        "clean": is_clean,
        "found": {what: name in apart for what, name in planted.items()},
        "named_right": {what: apart.get(name) == RIGHT[what] for what, name in planted.items()},
        "false_alarms": sorted(set(apart) - set(planted.values())),
        "innocent_pictures": len(names) - len(planted),
        "excess": {names[each.picture]: each.excess for each in record.picture_losses},
    }
    print(seed, "clean" if is_clean else planted, apart, flush=True)
    return row


def pictures(folder: Path, rng: random.Random, *, is_clean: bool) -> dict[str, str]:
    """Write the sixteen pictures with captions; return what was planted, by picture."""
    folder.mkdir(parents=True)
    paths = write_training_pictures(folder)
    chosen = rng.randrange(len(paths))
    other = {
        name: rng.choice([value for value in values if value != getattr(SCENES[chosen], name)])
        for name, values in SCENE_VALUES.items()
    }
    stranger = Character(
        hair_style="short",
        hair_color=rng.choice(["black", "blue", "green"]),
        skin="pale",
        top_color=rng.choice(["black", "red"]),
        bottom_kind="pants",
        bottom_color="green",
    )
    scene = Scene(**{name: rng.choice(values) for name, values in SCENE_VALUES.items()})
    last = folder / "sixteenth.png"
    with replacing(last) as temporary:
        render(TOVAKI if is_clean else stranger, scene, 64).save(temporary, format="PNG")
    last.with_suffix(".txt").write_text(caption(TOVAKI, scene, name=TRIGGER, strategy="pose"))
    if is_clean:
        return {}
    paths[chosen].with_suffix(".txt").write_text(
        caption(TOVAKI, Scene(**other), name=TRIGGER, strategy="pose")
    )
    return {"wrong caption": paths[chosen].name, "wrong subject": last.name}


if __name__ == "__main__":
    main()
