"""A training loop bounded by time: warm-up and cosine over the minutes given, average of weights, resume."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from maquette.files import replacing

Say = Callable[[str], None]

WARM_UP_STEPS = 200
SAVE_EVERY_S = 120.0
SAY_EVERY_S = 30.0


class TimedLoop:
    """AdamW over some modules for a number of minutes; `steps()` yields and each turn calls `update(loss)`.

    The learning rate follows the share of the minutes used, so a slower machine takes fewer steps through
    the same schedule. Everything is written to `path` every two minutes and read back from there.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        path: Path,
        *,
        minutes: float,
        learning_rate: float,
        say: Say,
        rate_factors: dict[str, float] | None = None,
        weight_decay: float = 0.01,
        ema_decay: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.modules, self.path, self.say = modules, path, say
        self.budget_s, self.learning_rate, self.ema_decay = 60.0 * minutes, learning_rate, ema_decay
        self.factors = [(rate_factors or {}).get(name, 1.0) for name in modules]
        groups = [{"params": list(module.parameters()), "lr": 0.0} for module in modules.values()]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
        self.averages = {name: copy.deepcopy(module) for name, module in modules.items()} if ema_decay else {}
        self.step, self.elapsed_s, self.losses = 0, 0.0, [0.0, 0.0]
        if path.exists():
            self._load()

    @property
    def progress(self) -> float:
        return min(1.0, self.elapsed_s / self.budget_s)

    @property
    def averaged(self) -> dict[str, nn.Module]:
        """The modules with averaged weights, or the modules themselves when none are kept."""
        return self.averages or self.modules

    def steps(self) -> Iterable[int]:
        """Yield step numbers until the minutes are used; saves at the end."""
        last = said = saved = self.clock()
        while self.elapsed_s < self.budget_s:
            warm_up = min(1.0, (self.step + 1) / WARM_UP_STEPS)
            rate = (
                self.learning_rate * warm_up * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress)))
            )
            for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
                group["lr"] = rate * factor
            yield self.step
            now = self.clock()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            self.step += 1
            if now - said > SAY_EVERY_S:
                said = now
                self._report()
            if now - saved > SAVE_EVERY_S:
                saved = now
                self.save()
        self.save()

    def update(self, loss: torch.Tensor) -> None:
        """Take one optimizer step down the gradient of `loss`."""
        loss.backward()
        for group in self.optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses[0] += float(loss.detach())
        self.losses[1] += 1.0
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        for name, average in self.averages.items():
            with torch.no_grad():
                live = [parameter.detach() for parameter in self.modules[name].parameters()]
                torch._foreach_lerp_(list(average.parameters()), live, 1.0 - decay)

    def _report(self) -> None:
        mean = self.losses[0] / max(1.0, self.losses[1])
        self.losses = [0.0, 0.0]
        self.say(f"{self.path.stem} step {self.step} · {self.elapsed_s / 60:.1f} min · loss {mean:.4f}")

    def save(self) -> None:
        """Write modules, averages and optimizer state as one safetensors file."""
        tensors: dict[str, torch.Tensor] = {}
        for kind, modules in (("live", self.modules), ("average", self.averages)):
            for name, module in modules.items():
                tensors |= {f"{kind}/{name}/{key}": value for key, value in module.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{index}/{key}": value for key, value in state.items()}
        tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
        facts = {"step": self.step, "elapsed_s": self.elapsed_s}
        with replacing(self.path) as temporary:
            save_file(tensors, temporary, metadata={"facts": json.dumps(facts)})

    def _load(self) -> None:
        with safe_open(self.path, framework="pt") as file:
            facts, keys = json.loads(file.metadata()["facts"]), file.keys()
            tensors = {key: file.get_tensor(key) for key in keys}
        for kind, modules in (("live", self.modules), ("average", self.averages)):
            for name, module in modules.items():
                module.load_state_dict(_under(tensors, f"{kind}/{name}/"))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _under(tensors, "adam/").items():
            index, field = key.split("/")
            state.setdefault(int(index), {})[field] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        self.step, self.elapsed_s = facts["step"], facts["elapsed_s"]


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def read_modules(path: Path, name: str, kind: str = "live") -> dict[str, torch.Tensor]:
    """Return one module's weights from a loop's file; `kind` is live or average."""
    with safe_open(path, framework="pt") as file:
        prefix, keys = f"{kind}/{name}/", file.keys()
        return {key.removeprefix(prefix): file.get_tensor(key) for key in keys if key.startswith(prefix)}


def recorded(path: Path) -> dict[str, float]:
    """Return how many steps and seconds a loop's file has behind it."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, float] = json.loads(file.metadata()["facts"])
    return facts
