"""The reference's side of `train_step.py`: sd-scripts' own `train_network.py`, from a checkout that lies elsewhere.

Runs under that checkout's interpreter. Arguments: the checkout, the number of steps, then what train_network.py takes. Its noise
and latents are replaced by those that all sides share; what it computes of them, and how, stays its own.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from side import noise_of, told_of_step


def main() -> None:
    """Train as asked and tell every step."""
    checkout, steps = Path(sys.argv[1]), int(sys.argv[2])
    sys.path.insert(0, str(checkout))
    if find_spec("torchvision") is None:
        _stand_in_for_torchvision()
    import train_network
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from library import train_util

    done = [0]

    def told(self: Any, *, epoch: int, step: int, loss: float) -> None:
        done[0] += 1
        told_of_step(done[0], loss, steps)

    def shared(args: Any, noise_scheduler: Any, latents: Any) -> tuple[Any, Any, Any]:
        noise, timesteps = noise_of(done[0], latents.shape)
        return noise, noise_scheduler.add_noise(latents, noise, timesteps), timesteps

    train_util.LossRecorder.add = told
    train_util.LossRecorder.moving_average = 0.0
    train_util.get_noise_noisy_latents_and_timesteps = shared
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
    parser = train_network.setup_parser()
    train_network.NetworkTrainer().train(parser.parse_args(sys.argv[3:]))


def _stand_in_for_torchvision() -> None:
    """Give train_util.py the three transforms that it makes when it is imported."""
    import diffusers  # noqa: F401 (it and transformers are to know that there is no torchvision)
    import numpy as np
    import torch
    import transformers  # noqa: F401

    def composed(steps: Any) -> Any:
        def apply(image: Any) -> Any:
            for step in steps:
                image = step(image)
            return image

        return apply

    def to_tensor(image: Any) -> Any:
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255

    package, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    members: dict[str, Any] = {
        "Compose": composed,
        "ToTensor": lambda: to_tensor,
        "Normalize": lambda mean, std: lambda pixels: (pixels - mean[0]) / std[0],
    }
    for name, member in members.items():
        setattr(transforms, name, member)
    package.transforms = transforms  # type: ignore[attr-defined]
    for module in (package, transforms):
        module.__spec__ = ModuleSpec(module.__name__, None)
    sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}


if __name__ == "__main__":
    main()
