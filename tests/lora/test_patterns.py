"""A stranger's pattern means what PEFT means by it, and costs next to nothing, whatever it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from maquette.lora.patterns import MOST_STEPS, BadPattern, Patterns
from maquette.lora.reading import read_lora_facts

PATHS = (
    "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "up_blocks.3.resnets.2.conv1",
    "to_q",
    "text_model.encoder.layers.11.self_attn.q_proj",
)
KEYS = (
    "to_q",
    "attn1.to_q",
    "attn1_to_q",
    "^to_q",
    "^down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q$",
    r"up_blocks\.3\..*",
    ".*attn1.*",
    ".*",
    "attn[12].to_(q|k|v)",
    r"layers\.\d+\.self_attn\.(?:q|k)_proj",
    r"[a-z_]+\.\d\.resnets.\d.conv\d?",
    "mid_block.+0",
    "conv1|to_q",
    "[^.]*",
    "",
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("path", PATHS)
def test_a_pattern_matches_where_peft_s_does(key: str, path: str) -> None:
    assert (Patterns([key]).first(path) == 0) is bool(re.match(rf"(.*\.)?({key})$", path))


@given(
    key=st.text(alphabet="ab.0\\*+?()|^$[]-", max_size=10),
    path=st.text(alphabet="ab.0", max_size=10),
)
def test_whatever_is_understood_is_understood_as_peft_does(key: str, path: str) -> None:
    try:
        found = Patterns([key]).first(path)
    except BadPattern:
        return
    assert (found == 0) is bool(re.match(rf"(.*\.)?({key})$", path))


def test_the_first_of_several_wins() -> None:
    patterns = Patterns(["nothing", ".*attn1.*", "to_q", "conv1"])
    assert [patterns.first(path) for path in PATHS] == [1, None, 3, 2, None]


@pytest.mark.parametrize(
    "key",
    ["(a+)+$", "(a|a)*b", "(.*)*x", "(a{9999}){9999}", "((a{999}){999}){999}", "(" * 5000, "(?R)", "(?<=a+)b", "\\1",
     "[", "a**", "(?P<a>", "a" * 100_000 + "*", "(" + "|".join("ab" * 200) + ")*c"],
)  # fmt: skip
def test_no_pattern_costs_more_than_a_count(key: str) -> None:
    patterns = None
    try:
        patterns = Patterns([key])
        for number in range(200):
            patterns.first(("a" * 60 + ".") * 3 + str(number))
    except BadPattern as error:
        assert str(error)
    assert patterns is None or patterns._work.steps <= 2 * MOST_STEPS


def lora(path: Path, metadata: dict[str, str]) -> Path:
    weights = {
        f"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn{number}.to_q.lora_{part}.weight": np.ones(
            shape, np.float32
        )
        for number in (1, 2)
        for part, shape in (("A", (4, 320)), ("B", (320, 4)))
    }
    save_file(weights, path, metadata)
    return path


def test_alphas_come_from_patterns_in_metadata(tmp_path: Path) -> None:
    told = {"unet.lora_alpha": 2, "unet.alpha_pattern": {".*attn1.to_q": 8}}
    facts = read_lora_facts(lora(tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(told)}))
    assert facts.beside_problem is None
    assert sorted(facts.alphas_beside.values()) == [2.0, 8.0]


@pytest.mark.parametrize(
    "told",
    [
        {"unet.alpha_pattern": {"(a+)+$": 8}, "unet.lora_alpha": "many"},
        {"unet.alpha_pattern": {"(a{9999}){9999}": 8}},
        {"unet.alpha_pattern": ["to_q"]},
        {"unet.alpha_pattern": {"to_q": None}},
        {"unet.alpha_pattern": {"to_q": 1e999}},
        {"unet.lora_alpha": 10**4000},
        {"unet.lora_alpha": [1]},
        [1],
        "text",
        3,
    ],
)
def test_what_is_no_alpha_is_one_problem(told: object, tmp_path: Path) -> None:
    text = json.dumps(told)
    facts = read_lora_facts(lora(tmp_path / "a.safetensors", {"lora_adapter_metadata": text}), depth="header")
    assert facts.beside_problem is not None and facts.beside_problem.required
    assert not facts.alphas_beside
