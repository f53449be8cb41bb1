"""Emphasis multiplies the hidden states of its words, in every chunk, and nothing else."""

from __future__ import annotations

import pytest
import torch

from maquette.families.protocol import BaseModel
from tests.families.models import NAMES

every_family = pytest.mark.parametrize("name", NAMES)
LONG = ", ".join(["red fox", "(blue:1.5)", "[sky]"] * 30)


@every_family
def test_words_are_tokenized_with_a_weight_each(name: str, tiny_models: dict[str, BaseModel]) -> None:
    model = tiny_models[name]
    tokens = model.tokenize(["a (red:1.5) [fox]"], weighted=True)
    plain = model.tokenize(["a red fox"])
    assert tokens.weights is not None
    for ids, other, weights in zip(tokens.ids, plain.ids, tokens.weights, strict=True):
        assert torch.equal(ids, other) and weights.shape == ids.shape
    words = [len(model.tokenizers[0].encode(word)) for word in ("a", "red", "fox")]  # type: ignore[attr-defined]
    expected = [1.0] + [1.0] * words[0] + [1.5] * words[1] + [1 / 1.1] * words[2]
    row = tokens.weights[0][0]
    assert row[: len(expected)].tolist() == pytest.approx(expected)
    assert (row[len(expected) :] == 1).all()


@every_family
@pytest.mark.parametrize("max_tokens", [75, 150, 225])
def test_hidden_states_are_multiplied_as_sd_scripts_multiplies_them(
    name: str, max_tokens: int, tiny_models: dict[str, BaseModel]
) -> None:
    """sd-scripts 48d368fa, encode_tokens_with_weights: no mean restored, begin and end as they are."""
    model = tiny_models[name]
    tokens = model.tokenize([LONG, "fox"], max_tokens=max_tokens, weighted=True)
    assert tokens.weights is not None
    weighted = model.encode_text(tokens)
    plain = model.encode_text(type(tokens)(tokens.ids, tokens.dropped))
    widths = [encoder.config.hidden_size for encoder in model.text_encoders]  # type: ignore[union-attr]
    expected = []
    for hidden, weights in zip(plain.text_BTD.split(widths, dim=-1), tokens.weights, strict=True):  # type: ignore[attr-defined]
        hidden, rows = hidden.clone(), weights.view(2, -1, 77)
        for chunk in range(rows.shape[1]):
            place = slice(chunk * 75 + 1, chunk * 75 + 76)
            hidden[:, place] = hidden[:, place] * rows[:, chunk, 1:-1].unsqueeze(-1)
        expected.append(hidden)
    assert torch.equal(weighted.text_BTD, torch.cat(expected, dim=-1))  # type: ignore[attr-defined]
    assert torch.equal(weighted.text_BTD[1], plain.text_BTD[1]), "a caption without emphasis is untouched"  # type: ignore[attr-defined]
    if plain.pooled_BD is not None:  # type: ignore[attr-defined]
        assert torch.equal(weighted.pooled_BD, plain.pooled_BD)  # type: ignore[attr-defined]


@every_family
def test_a_caption_that_is_too_long_loses_the_same_end(name: str, tiny_models: dict[str, BaseModel]) -> None:
    model = tiny_models[name]
    text = ", ".join(["(fox)"] * 60)
    weighted = model.tokenize([text], weighted=True)
    assert weighted.ids[0].shape == (1, 77) and weighted.dropped[0] > 0
    assert weighted.weights is not None and weighted.weights[0].shape == (1, 77)
