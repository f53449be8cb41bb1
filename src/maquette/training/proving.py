"""What a smoke run proves: that training works here from the gradients to the disk, piece by piece."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from maquette.errors import MaquetteError
from maquette.families.protocol import PictureSize
from maquette.spoken import counted, disk_size

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec
    from maquette.training.engine import Engine, StepResult
    from maquette.training.outputs import TrialOutput

STRENGTHS = (1.0, 1000.0)
"""A LoRA of three steps may change less than half precision can hold; much stronger it must show."""
DRAWN_STEPS = 2
ROOM_BYTES = 1 << 20
"""What is written to see whether there is room at all."""


@dataclass(frozen=True)
class Proof:
    """One thing that was tried, whether it held, and what was seen."""

    what: str
    holds: bool
    told: str


class Proving:
    """Watches a smoke run of `engine` from before its first step."""

    def __init__(self, engine: Engine, outputs: Sequence[TrialOutput]) -> None:
        self.engine = engine
        self.outputs = outputs
        self.results: list[StepResult] = []
        self._before = [self._weights(trial) for trial in range(len(outputs))]

    def _weights(self, trial: int) -> dict[str, torch.Tensor]:
        named = self.engine.adapter.named_parameters_of(trial)
        return {name: each.detach().clone() for name, each in named.items()}

    def saw(self, result: StepResult) -> None:
        """Take note of a step."""
        self.results.append(result)

    def proofs(self) -> tuple[Proof, ...]:
        """Try what is left to try; return every proof in order."""
        tried = (self._losses, self._gradients, self._moved, self._drawing, self._state, self._disk)
        return tuple(each() for each in tried)

    def _losses(self) -> Proof:
        losses = [loss for result in self.results for loss in result.losses]  # others end the run
        return Proof(
            "loss", True, f"finite at each of {counted(len(self.results), 'step')} (mean {fmean(losses):.4f})"
        )

    def _gradients(self) -> Proof:
        norms = torch.tensor([norm for result in self.results for norm in result.gradient_norms])
        taken = norms[norms.isfinite()]
        left_out = len(norms) - len(taken)
        scaling = f"; fp16 left out {left_out} while its loss scale is looked for" if left_out else ""
        if not len(taken) or not bool((taken > 0).all()):
            return Proof("gradients", False, f"norms {', '.join(f'{norm:.3g}' for norm in norms)}{scaling}")
        return Proof(
            "gradients", True, f"finite and not zero, norm {taken.min():.3g} to {taken.max():.3g}{scaling}"
        )

    def _moved(self) -> Proof:
        still, total = [], 0
        for trial, before in enumerate(self._before):
            now = self.engine.adapter.named_parameters_of(trial)
            still += [name for name, old in before.items() if torch.equal(old, now[name].detach())]
            total += len(before)
        moved = f"{total - len(still)} of {total} moved"
        return Proof(
            "weights", not still, moved if not still else f"{moved}; the first that did not: {still[0]}"
        )

    @torch.no_grad()
    def _drawing(self) -> Proof:
        adapter = self.engine.adapter
        with self.engine.judged():
            adapter.enabled = False
            base = self._drawn()
            adapter.enabled = True
            for strength in STRENGTHS:
                adapter.set_multiplier(strength)
                with_lora = self._drawn()
                differs = (with_lora - base).abs().max().item()
                if differs != 0:
                    break
            adapter.set_multiplier(1.0)
        at = "" if strength == 1 else f" at strength {strength:g}"
        steps = f"{DRAWN_STEPS} steps from the same noise"
        if not bool(base.isfinite().all()) or not math.isfinite(differs):
            return Proof("drawing", False, f"{steps} give values that are no finite numbers")
        return Proof("drawing", differs > 0, f"base and LoRA differ by up to {differs:.2g} in {steps}{at}")

    def _drawn(self) -> torch.Tensor:
        """Return latents after a few denoising steps with whatever stands in the model, [P, C, H, W]."""
        engine, model = self.engine, self.engine.model
        rows, device = len(self.outputs), engine.placement.device
        width, height = self.outputs[0].job.settings.dataset.resolution
        cell = model.info.vae_factor
        shape = (rows, model.info.latent_channels, height // cell, width // cell)
        noise = torch.randn(shape[1:], generator=torch.Generator().manual_seed(0))
        text = engine.encode([self.outputs[0].run.settings.subject.trigger or "picture"] * rows)
        sizes = [PictureSize((height, width), (0, 0), (height, width))] * rows
        sampler = model.sampler(_steady(model.spec))
        sampler.set_timesteps(DRAWN_STEPS, device=device)
        latents = noise.expand(shape).to(device) * sampler.init_noise_sigma
        for timestep in sampler.timesteps:
            with engine.placement.autocast():
                shown = sampler.scale_model_input(latents, timestep)
                said = model.predict(shown, timestep.expand(rows).to(device), text, sizes)
            latents = sampler.step(said.float(), timestep, latents, return_dict=False)[0]
        return latents.float().cpu()

    def _state(self) -> Proof:
        from maquette.training.state import latest_state, restore_state

        step, size = len(self.results), 0
        try:
            for trial, output in enumerate(self.outputs):
                now = self._weights(trial)
                output.save_state(self.engine.standing(output.index), step)
                state = latest_state(output.run.folder.state)
                assert state is not None
                size += state.path.stat().st_size
                parameters = self.engine.adapter.named_parameters_of(trial)
                restore_state(state, parameters, self.engine.optimizers[trial], self.engine.scaler)
                differing = [
                    name for name, old in now.items() if not torch.equal(old, parameters[name].detach())
                ]
                if differing:
                    return Proof("resuming", False, f"{differing[0]} came back changed")
        except (OSError, MaquetteError) as error:
            return Proof("resuming", False, str(error))
        return Proof(
            "resuming", True, f"a state was written, read and put back to the bit ({disk_size(size)})"
        )

    def _disk(self) -> Proof:
        from maquette.files import cannot_write

        wanted = self.outputs[0].job.settings.saving.output
        folder = next(each for each in (wanted, *wanted.absolute().parents) if each.is_dir())
        probe = folder / f".maquette-smoke-{id(self)}"
        try:
            probe.write_bytes(b"\0" * ROOM_BYTES)
        except OSError as error:
            return Proof("disk", False, str(cannot_write(wanted, error)))
        finally:
            probe.unlink(missing_ok=True)
        return Proof(
            "disk", True, f"{wanted} can be written, {disk_size(shutil.disk_usage(folder).free)} free"
        )


def _steady(spec: FamilySpec) -> str:
    """Return a sampler that adds no noise on the way."""
    fresh = {name for name, elsewhere in spec.samplers_elsewhere.items() if elsewhere.fresh_noise}
    return next((name for name in spec.samplers if name not in fresh), spec.default_sampler)
