"""Our side of `train_step.py`: `maquette.train`, told by its events. Arguments: the settings as JSON, the number of steps."""

from __future__ import annotations

import json
import sys
from typing import Any

from side import noise_of, told_of_step

import maquette
from maquette.events import Event, Progress, Started


def main() -> None:
    """Train as asked; the noise is the one that all sides share, and a picture's latent the middle of its posterior."""
    settings, steps = json.loads(sys.argv[1]), int(sys.argv[2])

    def listen(event: Event) -> None:
        if isinstance(event, Started) and event.stage == "load":
            _share_the_noise()
        if isinstance(event, Progress) and event.stage == "train":
            told_of_step(event.done, float(event.values["loss"]), steps)

    maquette.train(**settings, on_event=listen)


def _share_the_noise() -> None:
    import torch

    from maquette.families.common import vae
    from maquette.training.engine import Engine
    from maquette.training.noise import NoiseDraw

    def shared(trial: Any, index: int, clean_BCHW: Any, model: Any) -> NoiseDraw:
        return NoiseDraw(*noise_of(index, clean_BCHW.shape))

    defaults: dict[str, Any] = Engine.__init__.__kwdefaults__
    defaults["noise"] = shared
    vae._normal_like = lambda mean, generator: torch.zeros_like(mean)


if __name__ == "__main__":
    main()
