"""Runs of other trainers become records: what their files say is there, what nobody says is named, no byte of theirs changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import maquette
from maquette.errors import ConfigError, OutputError
from maquette.importing.found import named
from maquette.logs.metrics import read_metrics
from maquette.lora.reading import read_lora_facts
from maquette.runs.record import read_record
from tests.comparing.making import asked, run_over, shown
from tests.dataset.making import captioned
from tests.importing.making import ai_toolkit, events, golden_metadata, lora, onetrainer, sd_scripts


def bytes_below(folder: Path) -> dict[Path, bytes | None]:
    return {path: (path.read_bytes() if path.is_file() else None) for path in folder.rglob("*")}


def test_an_output_folder_of_sd_scripts_is_the_runs_that_wrote_it(tmp_path: Path) -> None:
    source = sd_scripts(tmp_path / "outputs")
    was = bytes_below(source)
    code, found = asked("import", source, "--output", tmp_path / "runs", "--trigger", "sks")
    assert code == 0 and bytes_below(source) == was
    assert {
        each["name"]: (each["trainer"], each["checkpoints"], each["state"]) for each in found["runs"]
    } == {
        "g10": ("sd-scripts", 2, "finished"),
        "mychar": ("sd-scripts", 3, "finished"),
    }
    record = read_record(tmp_path / "runs" / "g10")
    told = golden_metadata("g10.safetensors")
    settings = record.settings
    assert (settings.lora.rank, settings.lora.alpha, settings.subject.trigger) == (4, 2.0, "sks")
    assert (settings.training.learning_rate, settings.training.text_encoder_lr) == (1e-4, 5e-5)
    assert (settings.training.steps, settings.training.batch_size, settings.training.seed) == (10, 1, 42)
    assert settings.dataset.resolution == (128, 128) and settings.model.clip_skip == 2
    assert (
        record.base_sha256 == told["ss_new_sd_model_hash"]
        and record.created_at == "2026-11-20T21:09:54+00:00"
    )
    assert [(each.step, each.final) for each in record.checkpoints] == [(4, False), (10, True)]
    assert all(Path(each.path).is_file() for each in record.checkpoints)
    assert (record.schedule.train_items, record.schedule.steps_per_epoch) == (80, 80)
    rows = read_metrics(tmp_path / "runs" / "g10" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 11)) and rows[0]["loss"] == pytest.approx(0.49)
    assert rows[0]["lr_denoiser"] == pytest.approx(1e-4) and record.final_loss == pytest.approx(0.445)
    unknown = {each["name"]: " ".join(each["unknown"]) for each in found["runs"]}
    assert "losses" in unknown["mychar"] and "losses" not in unknown["g10"]
    assert "10_sks_dog: 8 pictures × 10" in unknown["g10"] and "versions of packages" in unknown["g10"]
    assert "tiny_fp32.safetensors lies here" in unknown["g10"]


def test_a_second_import_leaves_what_was_imported_with_its_notes(tmp_path: Path) -> None:
    source = sd_scripts(tmp_path / "outputs")
    maquette.import_runs(source, output=tmp_path / "runs")
    maquette.note(tmp_path / "runs" / "g10", "rejected: too short")
    was = bytes_below(tmp_path / "runs")
    again = maquette.import_runs(source, output=tmp_path / "runs")
    assert [each.is_new for each in again] == [False, False] and bytes_below(tmp_path / "runs") == was
    lora(source / "g10-step00000008.safetensors", golden_metadata("g10.safetensors"))
    third = maquette.import_runs(source, output=tmp_path / "runs")
    assert {each.run.name: each.is_new for each in third} == {"g10-002": True, "mychar": False}


def test_imported_runs_are_listed_and_compared_like_others(tmp_path: Path) -> None:
    maquette.import_runs(sd_scripts(tmp_path / "outputs"), output=tmp_path / "runs")
    run_over(captioned(tmp_path / "pictures", 2), tmp_path / "runs" / "own")
    listed = {each.name: each for each in maquette.list_runs(tmp_path / "runs").runs}
    assert listed["g10"].trainer == "sd-scripts" and listed["own"].trainer == "Maquette"
    assert not listed["g10"].is_left and "finished (sd-scripts)" in shown("runs", tmp_path / "runs")
    _, found = asked("diff", tmp_path / "runs" / "g10", tmp_path / "runs" / "mychar")
    assert found["settings"]["training.batch_size"] == {"a": 1, "b": 3}
    assert "model.base" not in found["settings"], "both files name the same hash"
    assert not found["pictures"] and any("no pictures to compare" in each for each in found["unknown"])
    _, beside = asked("diff", tmp_path / "runs" / "g10", tmp_path / "runs" / "own")
    assert (
        not beside["environment"]
        and not beside["pictures"]
        and beside["settings"]["lora.rank"] == {"a": 4, "b": 2}
    )


@pytest.mark.parametrize("agrees", [True, False])
def test_captions_of_today_are_held_against_the_tags_that_the_file_counts(
    agrees: bool, tmp_path: Path
) -> None:
    pictures = captioned(tmp_path / "pictures", 2)
    tags = (
        {"sks dog": 2, "outdoors": 2, "number 0": 1, "number 1": 1}
        if agrees
        else {"sks dog": 2, "indoors": 2}
    )
    metadata = golden_metadata("g10.safetensors") | {"ss_tag_frequency": json.dumps({"10_x": tags})}
    lora(tmp_path / "out" / "g10.safetensors", metadata)
    (run,) = maquette.import_runs(tmp_path / "out", output=tmp_path / "runs", images=pictures)
    assert len(run.record.dataset.subject) == 2 and run.record.foreign is not None
    told = " ".join(run.record.foreign.unknown)
    assert ("have the tags that the file counts" in told) == agrees
    assert ("outdoors 0 → 2" in told) != agrees


def test_a_workspace_of_onetrainer_is_one_run(tmp_path: Path) -> None:
    pictures = captioned(tmp_path / "pictures", 2)
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"x")
    source = onetrainer(tmp_path / "workspace", pictures, base)
    was = bytes_below(source)
    (run,) = maquette.import_runs(source, output=tmp_path / "runs", trigger="zkw")
    record = run.record
    assert bytes_below(source) == was and run.run.name == "zkw"
    assert record.foreign is not None and record.foreign.trainer == "OneTrainer"
    assert (record.settings.lora.rank, record.settings.training.learning_rate) == (4, 3e-4)
    assert record.settings.model.base == str(base) and len(record.dataset.subject) == 2
    assert [(each.step, each.final) for each in record.checkpoints] == [(2, False), (4, False), (4, True)]
    rows = read_metrics(run.run / "metrics.jsonl")
    # Its steps are micro-steps, counted from 0; two of them are one of the optimizer's.
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and rows[0][
        "lr_unet" if "lr_unet" in rows[0] else "lr_denoiser"
    ]
    assert record.validation is not None and record.validation.points[0].loss == pytest.approx(0.2)
    assert any("8bit" in name.lower() or "weight_decay" in name for name in record.foreign.left_over) or (
        "8bit" in record.settings.training.optimizer
    )


def test_a_job_of_ai_toolkit_is_a_run(tmp_path: Path) -> None:
    source = ai_toolkit(tmp_path / "p3r5on", captioned(tmp_path / "pictures", 2))
    was = bytes_below(source)
    (run,) = maquette.import_runs(source, output=tmp_path / "runs")
    record = run.record
    assert bytes_below(source) == was, "its database is read without a trace"
    assert record.foreign is not None and record.foreign.trainer == "ai-toolkit"
    assert (record.settings.subject.trigger, record.settings.lora.rank, record.settings.training.steps) == (
        "p3r5on",
        4,
        500,
    )
    assert [(each.step, each.final) for each in record.checkpoints] == [(250, False), (500, True)]
    rows = read_metrics(run.run / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [
        (1, 0.3),
        (2, pytest.approx(0.2)),
        (3, pytest.approx(0.1)),
    ]
    assert len(record.dataset.subject) == 2 and record.state == "finished"


def test_a_log_alone_gives_losses_and_an_ending(tmp_path: Path) -> None:
    lines = ["running training / 学習開始"]
    lines += [
        f"steps: {step * 10}%|█| {step}/10 [00:0{step}<00:01, 1.0it/s, avr_loss=0.{9 - step}]"
        for step in range(1, 6)
    ]
    log = tmp_path / "train.log"
    log.write_text("\n".join([*lines, "RuntimeError: CUDA error: out of memory"]), encoding="utf-8")
    lora(tmp_path / "out" / "g10-step00000004.safetensors", golden_metadata("g10-step00000004.safetensors"))
    (run,) = maquette.import_runs(tmp_path / "out", output=tmp_path / "runs", log=log)
    assert (
        run.record.step == 5 and run.record.final_loss == pytest.approx(0.4) and run.record.state == "failed"
    )
    assert run.record.foreign is not None and any(
        "running means" in each for each in run.record.foreign.unknown
    )


def test_settings_alone_are_a_run_that_nobody_says_ever_began(tmp_path: Path) -> None:
    source = ai_toolkit(tmp_path / "p3r5on", captioned(tmp_path / "pictures", 2))
    for path in (*source.glob("*.safetensors"), source / "loss_log.db"):
        path.unlink()
    (run,) = maquette.import_runs(source, output=tmp_path / "runs")
    assert (run.record.state, run.record.step, run.record.checkpoints) == ("prepared", 0, ())


def test_what_a_file_name_says_of_its_step(tmp_path: Path) -> None:
    def told(name: str) -> tuple[Any, ...]:
        found = named(read_lora_facts(lora(tmp_path / name), depth="header"))
        return found.stem, found.step, found.epoch, found.is_final

    assert told("zkw-step00000200.safetensors") == ("zkw", 200, None, False)
    assert told("zkw-000002.safetensors") == ("zkw", None, 2, False)
    assert told("zkw_000000250.safetensors") == ("zkw", 250, None, False)
    assert told("zkw.safetensors") == ("zkw", None, None, True)
    assert told("pre2026-01-02_10-00-00-save-4-1-0.safetensors") == ("pre", 4, 1, False)


def test_a_folder_without_a_run_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        maquette.import_runs(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ConfigError, match="no LoRA file, no settings and no log"):
        maquette.import_runs(tmp_path, output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_imported_run_is_neither_resumed_nor_reproduced(tmp_path: Path) -> None:
    maquette.import_runs(sd_scripts(tmp_path / "outputs"), output=tmp_path / "runs")
    with pytest.raises(OutputError, match="sd-scripts trained it"):
        maquette.reproduce(tmp_path / "runs" / "g10")
    with pytest.raises(ConfigError, match="--network-weights"):
        maquette.train(resume=tmp_path / "runs" / "g10", steps=100)


def test_metadata_of_a_stranger_cannot_end_an_import(tmp_path: Path) -> None:
    hostile = {
        "ss_network_dim": "1e999", "ss_learning_rate": "x", "ss_optimizer": "a(b=(1,2", "ss_datasets": "[3]",
        "ss_tag_frequency": "[1", "ss_dataset_dirs": '{"a": 3}', "ss_network_args": "7", "ss_resolution": "(, )",
        "ss_training_started_at": "nan", "ss_steps": "-", "ss_output_name": "../../x/y\n", "training_info": "[]",
    }  # fmt: skip
    lora(tmp_path / "out" / "a.safetensors", hostile)
    events(tmp_path / "out" / "logs", {"loss/current": [(1, float("nan")), (2, 0.5)], "x": [(1, 1.0)]})
    (run,) = maquette.import_runs(tmp_path / "out", output=tmp_path / "runs")
    assert run.run.parent == tmp_path / "runs" and run.run.is_dir()
    assert [row["loss"] for row in read_metrics(run.run / "metrics.jsonl")] == [0.5]
