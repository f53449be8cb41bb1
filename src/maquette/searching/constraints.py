"""What is refused of a space before it is trained: the field notes' seven safety constraints, and those that a space adds.

A constraint is a condition over a trial's values (`expressions.py`) and the reason why settings that fulfil it are not worth
their training. Proposals that break one are told to the sampler as infeasible, so that it learns to leave them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from maquette.searching.expressions import Expression, parse_expression


@dataclass(frozen=True)
class Constraint:
    """Settings that are not to be trained."""

    name: str
    when: Expression
    why: str

    def refuses(self, values: Mapping[str, Any]) -> bool:
        """Return whether a trial of `values` breaks it. A division by nothing refuses."""
        try:
            return self.when.holds(values)
        except ZeroDivisionError:
            return True


@dataclass(frozen=True)
class _Written:
    name: str
    when: str
    why: str


WRITTEN = (
    _Written(
        "high_rate_on_8bit",
        "learning_rate > 1.2e-4 and optimizer_type == 'AdamW8bit'",
        "moments in 8 bits add noise to every update, and a high rate makes it explode",
    ),
    _Written(
        "alpha_near_dim",
        "abs(network_alpha - network_dim) < 1",
        "with alpha at the rank nothing damps the adapter: it over-fits and grows unstable",
    ),
    _Written(
        "high_dim_few_epochs",
        "network_dim >= 256 and max_train_epochs < 16",
        "a large adapter needs longer to converge",
    ),
    _Written(
        "high_rate_short_warmup",
        "learning_rate > 1e-4 and lr_warmup_steps < 100",
        "a high rate from the start makes gradients explode",
    ),
    _Written(
        "high_rate_without_accumulation",
        "gradient_accumulation_steps == 1 and learning_rate > 1.1e-4",
        "a small batch and a high rate make unstable updates",
    ),
    _Written(
        "high_alpha_needs_calm",
        "network_alpha_ratio >= 0.75 and not (max_train_epochs >= 16 and gradient_accumulation_steps >= 2"
        " and optimizer_type != 'AdamW8bit' and lr_warmup_steps >= 150)",
        "a strong adapter needs a calm training: long, accumulated, warmed up, with moments in full precision",
    ),
    _Written(
        "very_high_alpha_high_rate",
        "network_alpha_ratio >= 0.85 and learning_rate > 1e-4",
        "the strongest adapter at a high rate explodes almost surely",
    ),
)
"""The seven of the field notes."""
SAFETY = tuple(Constraint(each.name, parse_expression(each.when), each.why) for each in WRITTEN)


def broken(constraints: Iterable[Constraint], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the constraints that a trial of `values` breaks."""
    return tuple(each.name for each in constraints if each.refuses(values))
