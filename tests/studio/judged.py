"""A project with a run that was judged: made-up drawings whose truth is known, whole as an evaluation leaves them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from maquette.drawing.pictures import save_picture
from maquette.measuring.copying import Nearest, write_nearest
from maquette.measuring.looks import FirstLook
from maquette.measuring.scorecards import scorecards_of
from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint
from maquette.world.pack import base_path
from tests.choosing.making import look_of
from tests.runs.making import run_record

TRUTHS = {"step 100": 2.0, "step 200": 6.0, "step 300": 5.0}
PROMPTS = (("tovaki", "bare"), ("tovaki, waving", "pose"), ("tovaki in the snow", "novel"))


def judged_run(project: Path, name: str = "zkw", *, seeds: int = 2) -> FirstLook:
    """Write a finished run with three checkpoints into the project, and its evaluation; return what was drawn."""
    folder = RunFolder(project / "runs" / name)
    entries = []
    for step in (100, 200, 300):
        path = folder.path / f"checkpoints/step-{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"lora")
        entries.append(Checkpoint(path=f"checkpoints/{path.name}", step=step, epoch=1, final=step == 300))
    base = {"model": {"base": str(base_path())}}
    run_record(base, run=name, state="finished", step=300, checkpoints=tuple(entries)).write(folder)
    rows = "".join(f'{{"step": {step}, "loss": {1 / step}}}\n' for step in range(1, 301, 20))
    folder.metrics.write_text(rows, encoding="utf-8")
    look = look_of(TRUTHS, folder=folder.evaluation, prompts=PROMPTS, seeds=seeds)
    for number, each in enumerate(look.looks):
        place = folder.evaluation / each.path
        place.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (48, 48), (40 + 7 * number % 200, 120, 200 - 3 * number % 180))
        save_picture(
            place, picture, {"parameters": f"{each.prompt}\nSeed: {each.seed}, drawn by {each.checkpoint}"}
        )
    look.write()
    scorecards_of(look).write(folder.evaluation)
    near = Nearest(project / "images" / "00.png", True, 0.91)
    write_nearest(folder.evaluation, {each.path: near for each in look.looks[:3] + look.looks[-3:]})
    return look
