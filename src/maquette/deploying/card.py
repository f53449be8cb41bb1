"""A model card, README.md as the Hugging Face Hub reads it: what the LoRA is, how it is drawn, how it was judged, its faults.

Nothing is claimed that no measure says; where nobody has judged, it says so.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.deploying.chosen import Chosen
from maquette.deploying.ledger import Ledger
from maquette.deploying.program import Release
from maquette.deploying.recipe import Recipe, pattern_of
from maquette.lora.programs import diffusers_draws
from maquette.runs.record import RunRecord
from maquette.words.prompts import escaped

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec
    from maquette.lora.facts import LoraFacts
    from maquette.measuring.scorecards import Score, Scorecard, Scorecards

_MOST_PROMPTS = 4
_HUB_NAME = re.compile(r"[\w-][\w.-]*/(?!.*\.(?:safetensors|ckpt)$)[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is known of the weights beside the file: the run that made them, the choice among its checkpoints, the scores."""

    record: RunRecord
    chosen: Chosen
    scorecards: Scorecards | None = None

    @property
    def is_judged(self) -> bool:
        """Whether somebody looked at what the run draws."""
        return self.card is not None or self.chosen.choice is not None

    @property
    def card(self) -> Scorecard | None:
        """The scores of these weights at the strength nearest to the one that goes out."""
        if self.scorecards is None:
            return None
        name = Path(self.chosen.checkpoint.path).name  # columns name files with the run's folders or without
        cards = [card for card in self.scorecards.cards if Path(card.column.file or "").name == name]
        return min(cards, key=lambda card: abs(card.column.strength - self.chosen.strength), default=None)


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All that a card is written from."""

    name: str
    file: str
    """The LoRA's file name."""
    lora: LoraFacts
    recipe: Recipe
    judged: Judged | None = None
    picture: str | None = None
    """The preview's file name beside the card."""


def write_card(
    ledger: Ledger, released: Release, folder: Path, stem: str, *, judged: Judged | None, picture: Path | None
) -> Path:
    """Write FOLDER/STEM.card.md for a release that lies elsewhere in a drawing program's folder."""
    facts = CardFacts(
        name=released.placed.path.stem,
        file=released.placed.path.name,
        lora=released.facts,
        recipe=released.recipe,
        judged=judged,
        picture=_from(picture, (folder / stem).parent) if picture else None,
    )
    return ledger.put_under_free_name(folder, stem, ".card.md", model_card(facts))


def _from(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def model_card(facts: CardFacts) -> str:
    """Return the card."""
    sections = [
        _what(facts),
        _drawing(facts),
        _diffusers(facts),
        _training(facts),
        _judging(facts.judged),
        _faults(facts.judged),
    ]
    body = "\n\n".join("\n".join(section) for section in sections if section)
    return f"---\n{_front_matter(facts)}\n---\n\n# {facts.name}\n\n{body}\n"


def _front_matter(facts: CardFacts) -> str:
    """Return the YAML head; its values are written as JSON, which YAML takes as it is."""
    scene = facts.recipe.scene
    told = facts.lora.metadata
    widget: dict[str, Any] = {"text": facts.recipe.prompts[0]}
    if facts.picture:
        widget["output"] = {"url": facts.picture}
    values: dict[str, Any] = {
        "base_model": _base_on_the_hub(facts),
        "base_model_relation": "adapter" if _base_on_the_hub(facts) else None,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": told.get("modelspec.license"),
        "instance_prompt": facts.recipe.trigger or None,
        "tags": ["text-to-image", "diffusers", "lora", "template:sd-lora", _tag_of(scene.family)],
        "widget": [widget],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value]
    if not values["base_model"]:
        lines.insert(0, f"# base_model: OWNER/NAME on the Hub of {_plain(scene.base)}")
    return "\n".join(lines)


def _tag_of(family: FamilySpec) -> str:
    """Return what the Hub calls the family: its architecture without version and kind."""
    return re.sub(r"-v\d.*|/.*", "", family.modelspec_architecture)


def _base_on_the_hub(facts: CardFacts) -> str | None:
    """Return the base's name on the Hub where it is known to be from there; a file's name says nothing of that."""
    if facts.judged is not None:
        record = facts.judged.record
        return record.settings.model.base if record.base.source == "hub" else None
    told = facts.lora.metadata.get("ss_sd_model_name", "")
    return told if _HUB_NAME.fullmatch(told) else None


def _what(facts: CardFacts) -> list[str]:
    recipe = facts.recipe
    trigger = f"its trigger is `{recipe.trigger}`" if recipe.trigger else "it needs no trigger"
    rank = f", rank {facts.lora.rank}" if facts.lora.rank else ""
    lines = [
        f"A {recipe.scene.family.title} LoRA ({facts.lora.titles}{rank}, {len(facts.lora.modules)} modules) over "
        f"`{recipe.scene.base}`; {trigger}. Weights: {recipe.origin or facts.file}."
    ]
    if facts.picture:
        lines += ["", f"![{_plain(recipe.prompts[0])}](<{facts.picture}>)"]
    return lines


def _drawing(facts: CardFacts) -> list[str]:
    recipe, scene = facts.recipe, facts.recipe.scene
    request, there = scene.request, scene.elsewhere
    rows = {
        "Prompt": _code(escaped(pattern_of(recipe))),
        "Negative prompt": _code(escaped(request.negative)) if request.negative else "none",
        "Strength": f"{scene.strength:g}",
        "Clip skip": str(scene.clip_skip),
        "Sampler": f"{' / '.join(there.comfyui)} (ComfyUI), {' / '.join(there.webui)} (AUTOMATIC1111)"
        if there
        else scene.sampler,
        "Steps, CFG": f"{request.steps}, {request.guidance:g}",
        "Size": f"{request.width_px} × {request.height_px} px",
    }
    examples = [f"- {_code(escaped(prompt))}" for prompt in recipe.prompts[:_MOST_PROMPTS]]
    table = [f"| {name} | {value} |" for name, value in rows.items()]
    return ["## Drawing with it", "", "| | |", "| --- | --- |", *table, "", *examples]


def _diffusers(facts: CardFacts) -> list[str]:
    if not diffusers_draws(facts.lora):
        return []
    scene = facts.recipe.scene
    pipeline = "DiffusionPipeline"
    base = _base_on_the_hub(facts)
    loaded = f"from_pretrained({_quoted(base)})" if base else f'from_pretrained("…")  # {_plain(scene.base)}'
    return [
        "```python",
        f"from diffusers import {pipeline}",
        "",
        f"pipe = {pipeline}.{loaded}",
        f'pipe.load_lora_weights(".", weight_name={_quoted(facts.file)}, adapter_name="lora")',
        f'pipe.set_adapters("lora", {scene.strength:g})',
        f"pipe({_quoted(facts.recipe.prompts[0])}).images[0]",
        "```",
    ]


def _training(facts: CardFacts) -> list[str]:
    if facts.judged is None:
        return []
    record = facts.judged.record
    settings, chosen = record.settings, facts.judged.chosen.checkpoint
    pictures = len(record.dataset.subject)
    return [
        "## Training",
        "",
        f"{pictures} pictures, {chosen.step} of {record.schedule.steps} steps at a learning rate of "
        f"{settings.training.learning_rate:g} ({settings.training.optimizer}), "
        f"{settings.dataset.resolution[0]} × {settings.dataset.resolution[1]} px, seed {settings.training.seed}.",
    ]


def _judging(judged: Judged | None) -> list[str]:
    title = ["## How it was judged", ""]
    card = judged.card if judged is not None else None
    choice = judged.chosen.choice if judged is not None else None
    if judged is None or (card is None and choice is None):
        return [*title, "Nobody has judged it: no evaluation of these weights is known."]
    lines = list(title)
    if choice is not None and judged.chosen.is_the_choice:
        lines += [f"Chosen by {choice.decided_by}. {choice.headline}".strip(), ""]
        lines += [f"- {reason}" for reason in choice.reasons]
    elif choice is not None:
        lines.append(
            f"Judging chose another checkpoint of its run: {choice.label} at strength {choice.strength:g}."
        )
    if card is not None and judged.scorecards is not None:
        lines += ["", *_scores(card, judged.scorecards)]
    return lines


def _scores(card: Scorecard, cards: Scorecards) -> Iterator[str]:
    titles = {headline.name: headline.title for headline in cards.headlines}
    yield f"Measured at strength {card.column.strength:g}, with 95 % intervals over prompts and seeds:"
    yield ""
    yield "| measure | this LoRA | the base alone | the references |"
    yield "| --- | --- | --- | --- |"
    for name, score in card.scores.items():
        yield f"| {titles.get(name, name)} | {_estimate(score)} | {_number(score.floor)} | {_number(score.ceiling)} |"
    if card.total is not None:
        yield f"| Score of all | {_with_interval(card.total.mean, card.total.low, card.total.high)} | | |"
    for note in cards.notes:
        yield f"\n{note}"


def _estimate(score: Score) -> str:
    return _with_interval(score.value.mean, score.value.low, score.value.high)


def _with_interval(mean: float, low: float | None, high: float | None) -> str:
    between = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{mean:.3f}{between}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _faults(judged: Judged | None) -> list[str]:
    title = ["## Known faults", ""]
    if found := known_faults(judged):
        return [*title, *(f"- {fault}" for fault in found)]
    looked = judged is not None and judged.is_judged
    return [
        *title,
        "The evaluation found none." if looked else "None is known, because nothing was looked for.",
    ]


def known_faults(judged: Judged | None) -> list[str]:
    """Return in words what speaks against the weights, as far as somebody looked."""
    if judged is None:
        return []
    found: list[str] = list(judged.card.failures) if judged.card is not None else []
    choice = judged.chosen.choice
    if choice is not None:
        found += [f"{suspicion.kind}: {suspicion.told}" for suspicion in choice.suspicions]
        if judged.chosen.is_the_choice and not choice.distinguishable:
            found.append(
                f"It cannot be told apart from the runner-up ({choice.runner_up_label}) with the pictures drawn."
            )
    return found


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _code(text: str) -> str:
    """Return text as inline code that no bracket or bar of its own breaks, in a table or out of it."""
    plain = _plain(text)
    fence = "`" * (_longest_run(plain) + 1)
    return f"{fence} {plain} {fence}" if len(fence) > 1 else f"`{plain}`"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _longest_run(text: str) -> int:
    runs: Sequence[str] = [run for run in "".join(c if c == "`" else " " for c in text).split() if run]
    return max(map(len, runs), default=0)
