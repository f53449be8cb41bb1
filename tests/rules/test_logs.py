"""Rules over logs: the field notes' own texts and numbers, every known failure, and honest statistics."""

from __future__ import annotations

import math
import random
from pathlib import Path
from statistics import fmean

import pytest

from maquette.findings.records import Finding
from maquette.findings.registry import PAGE_PARTS, RULES, run_rules
from maquette.logs.facts import LogFacts
from maquette.logs.failures import all_failures
from maquette.logs.losses import change_over_run, first_nan, independent_means
from maquette.logs.reading import read_log
from maquette.rules import logs as rules_logs
from tests.planted import logs
from tests.planted.case import PLANTED, Case, Planted
from tests.planted.clean import MACHINE, clean_log
from tests.planted.logs import moving_average, raw_losses, sd_log, trace

LOG_RULES = [rule for code, rule in RULES.items() if code.startswith("LOG")]
assert rules_logs and logs, "importing them registers rules and cases"

SPYKE_CURVE = """Loss curve:
- Step 1000: avr_loss=0.0786
- Step 1200: avr_loss=0.0738
- Step 1400: avr_loss=0.0717 (MINIMUM)
- Step 1600: avr_loss=0.0805 (rising — overfitting onset)
- Step 1800: avr_loss=0.0856
- Step 1840 (final): avr_loss=0.0855
"""


def facts_of(tmp_path: Path, text: str) -> LogFacts:
    path = tmp_path / "train.log"
    path.write_text(text, encoding="utf-8")
    return read_log(path)


def found_in(tmp_path: Path, text: str) -> list[Finding]:
    findings, ran = run_rules(LOG_RULES, {LogFacts: facts_of(tmp_path, text)})
    assert len(ran) == len(LOG_RULES)
    return findings


def codes_in(tmp_path: Path, text: str) -> list[str]:
    return [finding.code for finding in found_in(tmp_path, text)]


@pytest.mark.parametrize(
    "planted",
    [planted for planted in PLANTED if planted.code.startswith("LOG")],
    ids=lambda planted: f"{planted.code} {planted.kind}: {planted.description}",
)
def test_each_failure_is_found_and_nothing_else(planted: Planted, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(clean_log(), encoding="utf-8")
    case = Case(tmp_path, "log", [path], MACHINE)
    planted.plant(case)
    findings, _ = run_rules(LOG_RULES, {LogFacts: read_log(case.paths[0])})
    expected = {planted.code, *planted.also} if planted.kind == "fault" else set()
    assert {finding.code for finding in findings} == expected, [finding.message for finding in findings]
    assert all(finding.remedy.endswith((".", ")")) or "http" in finding.remedy for finding in findings)


def test_a_clean_log_says_nothing(tmp_path: Path) -> None:
    assert codes_in(tmp_path, clean_log()) == []


def test_every_row_of_the_table_is_a_rule_with_a_page() -> None:
    for failure in all_failures():
        rule = RULES[failure.code]
        assert rule.name == failure.name
        assert set(rule.parts) == set(PAGE_PARTS)
        assert all(rule.parts.values())
        assert failure.match(rule.parts["Fault"][1:-1]) is not None, (
            f"{failure.code} does not know its own example"
        )


def test_the_curve_of_the_field_notes_names_both_steps_and_chooses_none(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, SPYKE_CURVE)
    assert finding.code == "LOG031"
    assert finding.severity == "hint"
    assert "1,400 (0.0717)" in finding.message
    assert "0.0855 (step 1,840), 19% above" in finding.message
    assert "does not choose a checkpoint" in finding.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NotImplementedError: optimizer_update_8bit_blockwise from CPU backend", "LOG004"),
        (
            "RuntimeError: MPS backend out of memory (MPS allocated: 12.1 GB, other allocations: 3.2 GB)",
            "LOG006",
        ),
        (
            "NotImplementedError: The operator 'aten::some_op' is not currently supported on the MPS backend.",
            "LOG005",
        ),
        ("FileNotFoundError: .../sd-scripts/train_network.py", "LOG008"),
        ("Disk at 105% utilization", "LOG007"),
        ("AttributeError: 'int' object has no attribute 'split'", "LOG002"),
        ("ValueError: fp16 mixed precision requires a GPU (not 'mps')", "LOG003"),
    ],
)
def test_the_field_notes_own_words_are_known(tmp_path: Path, text: str, code: str) -> None:
    assert codes_in(tmp_path, text) == [code]


def test_a_sentence_that_the_terminal_wrapped_is_still_known(tmp_path: Path) -> None:
    text = (
        "2024-12-06 10:00:12 ERROR    No data found. Please verify arguments     train_network.py:212\n"
        "                             (train_data_dir must be the parent of folders\n"
        "                             with images)\n"
    )
    assert codes_in(tmp_path, text) == ["LOG001"]


def test_the_wrapper_around_a_known_failure_is_no_second_one(tmp_path: Path) -> None:
    text = trace("torch.OutOfMemoryError: CUDA out of memory.") + "\n"
    text += trace("subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.")
    assert codes_in(tmp_path, text) == ["LOG006"]


def test_of_unknown_errors_the_first_is_named(tmp_path: Path) -> None:
    text = trace("IndexError: list index out of range") + "\n"
    text += trace("subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.")
    (finding,) = found_in(tmp_path, text)
    assert finding.code == "LOG028"
    assert "IndexError" in finding.message


def test_many_lines_are_one_finding_with_their_count(tmp_path: Path) -> None:
    lines = [f"lora key not loaded: lora_te1_layer_{index}.alpha" for index in range(500)]
    (finding,) = found_in(tmp_path, "\n".join(lines))
    assert "499 more" in finding.message
    assert finding.place == "line 1"


def test_memory_advice_goes_from_free_to_costly(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, trace("torch.OutOfMemoryError: CUDA out of memory."))
    order = [
        "8-bit",
        "gradient checkpointing",
        "cached latents",
        "accumulation 8",
        "768 px",
        "frozen text encoders",
    ]
    places = [finding.remedy.index(word) for word in order]
    assert places == sorted(places)


def test_nan_names_the_checkpoint_from_before(tmp_path: Path) -> None:
    values = [0.1] * 300 + [math.nan] * 100
    head = "saving checkpoint: out/zkw-step00000200.safetensors\nsaving checkpoint: out/zkw-step00000400.safetensors\n"
    (finding,) = found_in(tmp_path, sd_log(values, head=head))
    assert finding.code == "LOG029"
    assert "from step 301 on" in finding.message
    assert "zkw-step00000200.safetensors" in finding.message


def test_nan_from_the_start_is_blamed_on_the_vae(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, sd_log([math.nan] * 50))
    assert "VAE" in finding.message
    assert "--no_half_vae" in finding.remedy


# --- statistics ------------------------------------------------------------------------------------------


def test_the_noise_of_a_moving_mean_is_measured_from_its_moves(tmp_path: Path) -> None:
    """A window of 200 over steps of a known spread: the error of its mean comes out within a fifth, on average."""
    estimates = []
    for seed in range(10):
        raw = raw_losses(lambda share: 0.09, 1200, seed=seed, noise=0.06)
        spread = math.sqrt(fmean([(loss - fmean(raw)) ** 2 for loss in raw]))
        facts = facts_of(tmp_path, sd_log(moving_average(raw, 200), batches=200))
        means = independent_means(facts)
        assert [mean.step for mean in means] == [200, 400, 600, 800, 1000, 1200]
        assert means[0].error is not None
        estimates.append(means[0].error / (spread / math.sqrt(200)))
    assert fmean(estimates) == pytest.approx(1.0, abs=0.2)


def test_flat_and_rising_losses_are_seldom_cried_where_loss_falls(tmp_path: Path) -> None:
    """Forty noisy runs whose loss falls by a third, some in one step's noise: no hint that it is flat, none that it rises."""
    generator = random.Random(1)
    cried = []
    for seed in range(40):
        drop = generator.uniform(0.025, 0.04)
        raw = raw_losses(lambda share, drop=drop: 0.10 - drop * min(1.0, 2 * share), 1200, seed=seed)  # type: ignore[misc]
        cried += codes_in(tmp_path, sd_log(moving_average(raw, 240), batches=240))
    assert len(cried) <= 1, cried


def test_a_fall_is_given_with_its_error(tmp_path: Path) -> None:
    raw = raw_losses(lambda share: 0.10 if share < 0.5 else 0.05, 1200)
    change = change_over_run(facts_of(tmp_path, sd_log(moving_average(raw, 200), batches=200)))
    assert change is not None
    assert change.fall == pytest.approx(0.5, abs=2 * change.margin)
    assert not change.is_flat


def test_too_little_is_not_judged(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, sd_log([0.09, 0.09, 0.09]))
    assert change_over_run(facts) is None
    assert first_nan(facts) is None


@pytest.mark.parametrize(
    "text", ["", "\n\r\r\n", "steps: 0%| | 0/0 [00:00<?, ?it/s]", "%|%|%|", "\x00\x01\x02", "loss=loss=nan"]
)
def test_odd_input_raises_nothing(tmp_path: Path, text: str) -> None:
    assert codes_in(tmp_path, text) == []
