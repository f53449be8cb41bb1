"""Makes the small world's pack from nothing: `python -m maquette.world.recipe --out DIR`.

    vae     an autoencoder over rendered pictures, its latents normalised
    judge   a network that reads attributes off renders and redrawn pictures
    text    the text encoder learns what captions tell
    unet    the denoiser learns to draw it
    export  small_world.safetensors, judge.safetensors and pack.json, measured

Each stage writes its state to DIR every two minutes; the same command goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from maquette.files import replacing, write_json
from maquette.world.judge import Judge, save_judge
from maquette.world.making import export, measure
from maquette.world.making import judge as judge_stage
from maquette.world.making import text as text_stage
from maquette.world.making import unet as unet_stage
from maquette.world.making import vae as vae_stage
from maquette.world.making.data import Pictures, load_pictures
from maquette.world.making.loop import recorded
from maquette.world.making.networks import new_vae
from maquette.world.pack import FACTS_NAME, JUDGE_NAME, MODEL_NAME, PACK
from maquette.world.tokenizer import build_tokenizer, world_vocabulary

STAGES = ("vae", "judge", "text", "unet", "export")
MINUTES = {"vae": 14.0, "judge": 12.0, "text": 6.0, "unet": 56.0}
"""What each stage took for the shipped pack, on one processor core."""

NUM_PICTURES = 60_000
NUM_LATENTS = 40_000


@dataclass(frozen=True)
class Recipe:
    """One making of the pack in one folder."""

    folder: Path
    pace: float
    """Factor on MINUTES."""
    say: Callable[[str], None]

    @property
    def result(self) -> Path:
        """The folder of the finished files, apart from the stages' states."""
        return self.folder / "pack"

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def budget(self, stage: str) -> float:
        return self.pace * MINUTES[stage]

    @cached_property
    def pictures(self) -> Pictures:
        return load_pictures(self.folder, NUM_PICTURES, 0, self.say)

    @cached_property
    def vocabulary(self) -> Any:
        return world_vocabulary()

    @cached_property
    def tokenizer(self) -> Any:
        return build_tokenizer(self.vocabulary)

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The autoencoder with normalised latents."""
        vae = new_vae()
        vae.load_state_dict(load_file(self.path("vae_normal")))
        return vae.eval().requires_grad_(False)

    def run_vae(self) -> None:
        vae_stage.train_vae(self.pictures, self.path("vae"), self.budget("vae"), self.say)
        vae = vae_stage.read_vae(self.path("vae"))
        vae_stage.normalise_latents(vae, self.pictures)
        with replacing(self.path("vae_normal")) as temporary:
            save_file(vae.state_dict(), temporary)

    def run_judge(self) -> None:
        redrawn_NHWC = judge_stage.redraw(self.vae, self.pictures, self.folder / "redrawn.npy", self.say)
        judge_stage.train_judge(
            self.pictures, redrawn_NHWC, self.path("judge"), self.budget("judge"), self.say
        )

    def run_text(self) -> None:
        text_stage.train_text(self.tokenizer, self.path("text"), self.budget("text"), self.say)

    def run_unet(self) -> None:
        few = replace(
            self.pictures,
            pixels_NHWC=self.pictures.pixels_NHWC[:NUM_LATENTS],
            labels_NA=self.pictures.labels_NA[:NUM_LATENTS],
        )
        latent_NCHW = unet_stage.latents_of(self.vae, few, self.path("latents"), self.say)
        encoder = text_stage.read_text(len(self.tokenizer), self.path("text"))
        unet_stage.train_unet(
            encoder,
            self.tokenizer,
            latent_NCHW,
            few.labels_NA,
            self.path("unet"),
            self.budget("unet"),
            self.say,
        )

    def run_export(self) -> None:
        encoder = text_stage.read_text(len(self.tokenizer), self.path("text"))
        painter = unet_stage.read_painter(self.path("unet"), encoder, self.tokenizer, self.vae)
        network = judge_stage.read_judge_network(self.path("judge"))
        export.export_model(painter, self.vocabulary, self.result / MODEL_NAME)
        save_judge(network, self.result / JUDGE_NAME)
        write_json(self.result / FACTS_NAME, self._facts(painter, Judge(network)))

    def _facts(self, painter: unet_stage.Painter, judge: Judge) -> dict[str, Any]:
        self.say("measuring")
        made = {stage: recorded(self.path(stage)) for stage in MINUTES}
        return {
            "minutes": {stage: round(facts["elapsed_s"] / 60, 1) for stage, facts in made.items()},
            "steps": {stage: facts["step"] for stage, facts in made.items()},
            "threads": torch.get_num_threads(),
            "parameters": {
                "vae": _count(self.vae),
                "text": _count(painter.encoder),
                "unet": _count(painter.denoiser),
                "judge": _count(judge.network),
            },
            "vae_psnr_db": round(vae_stage.psnr_db(self.vae, self.pictures), 2),
            "text_told": round(text_stage.telling_accuracy(self.tokenizer, self.path("text")), 4),
            "judge_on_renders": _rounded(judge_stage.judge_accuracy(judge.network, self.pictures)),
            "judge_on_redrawn": _rounded(judge_stage.judge_accuracy(judge.network, self.pictures, self.vae)),
            "prompt_following": _rounded(measure.prompt_following(painter, judge)),
            "identity_floor": round(measure.identity_floor(painter, judge), 4),
        }


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def install(folder: Path) -> None:
    """Copy a finished making into the package, each file whole or not at all."""
    for name in (MODEL_NAME, JUDGE_NAME, FACTS_NAME):
        with replacing(PACK / name) as temporary:
            temporary.write_bytes((folder / name).read_bytes())


def main(arguments: list[str] | None = None) -> int:
    """Run the stages asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="maquette.world.recipe", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    total = sum(MINUTES.values())
    parser.add_argument("--minutes", type=float, default=total, help=f"training in all (default {total:.0f})")
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), help="which stages to run"
    )
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default 1)")
    parser.add_argument("--install", action="store_true", help="put the result into the installed package")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    recipe = Recipe(options.out, options.minutes / total, say)
    for stage in STAGES:
        if stage in options.stages:
            say(f"stage {stage}")
            getattr(recipe, f"run_{stage}")()
    if options.install:
        install(recipe.result)
    if "export" in options.stages:
        sys.stdout.write(
            json.dumps(json.loads((recipe.result / FACTS_NAME).read_text(encoding="utf-8"))) + "\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
