"""`maquette evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import options_of, price_option
from maquette.cli.output import follow, result_command
from maquette.evaluating.options import EvaluateOptions

if TYPE_CHECKING:
    from maquette.measuring.scorecards import Scorecard


@result_command(
    click.argument(
        "targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|FILE…|FOLDER"
    ),
    *options_of(EvaluateOptions),
    price_option(),
    name="evaluate",
    detachable=True,
)
def command(targets: tuple[Path, ...], price: bool, **given: Any) -> dict[str, Any]:
    """Draw with LoRAs and with the base alone, same prompts and seeds, measure, and write a report.

    RUN means its checkpoints; FILE any trainer's LoRA, FOLDER all that lie in it: name their base, and their trigger where the
    files do not say it. Pictures that are there already, drawn from the same, are not drawn again.

    \b
      maquette evaluate my-project/runs/myword
      maquette evaluate my-project/runs/myword --suite profile --strengths 0.6,0.8,1
      maquette evaluate loras/ --base model.safetensors --trigger myword --class-word man
      maquette evaluate hero.safetensors --base model.safetensors --with ink.safetensors:0.7 --prompts prompts.txt
    """
    from maquette.evaluating.costs import cost_of
    from maquette.evaluating.run import evaluate_events

    if price:
        cost = cost_of(targets, EvaluateOptions(**given))
        return {**cost.to_json(), "lines": [cost.told]}
    found = follow(evaluate_events(targets, EvaluateOptions(**given)))
    loras = "1 LoRA" if found.checkpoints == 1 else f"{found.checkpoints} LoRAs"
    return {
        "run": str(targets[0]),
        "report": str(found.report),
        "pictures": found.pictures,
        "checkpoints": {
            found.names[card.column.label]: _values(card) for card in found.cards.cards if not card.is_floor
        },
        "floor": next((_values(card) for card in found.cards.cards if card.is_floor), None),
        "labels": {name: label for label, name in found.names.items()},
        "notes": list(found.cards.notes),
        "hold_back": found.hold_back.to_json() if found.hold_back else None,
        "lines": [
            f"{found.pictures} pictures of {loras} and of the base alone",
            *(found.hold_back.told if found.hold_back else ()),
            f"Report: {found.report}",
        ],
    }


def _values(card: Scorecard) -> dict[str, dict[str, float | None]]:
    """Return every headline of a card with its interval; of a single picture there is none."""
    return {
        name: {"value": score.value.mean, "low": score.value.low, "high": score.value.high}
        for name, score in card.scores.items()
    }
