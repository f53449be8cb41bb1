"""A run that was really trained is looked at: samples while it trains, first look and report afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maquette.errors import OutputError
from maquette.evaluating.report import read_block
from maquette.evaluating.run import batch_for, checkpoints_of, look_at_run
from maquette.events import run_stage
from maquette.files import sha256_file
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record
from tests.drawing.trained import train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of four steps with a checkpoint and a sample every two."""
    return train_small(tmp_path_factory.mktemp("project"))


def test_samples_are_drawn_at_every_checkpoint(run: RunFolder) -> None:
    record = read_record(run.path)
    assert [entry.step for entry in record.samples] == [2, 4]
    for entry, lora in zip(record.samples, ("zkw-001-step00000002", "zkw-001"), strict=True):
        assert (entry.prompt, entry.seed) == ("zkw, waving", 1)
        assert (run.checkpoints / f"{lora}.safetensors").is_file()
        with Image.open(run.path / entry.path) as picture:
            assert picture.size == (64, 64)
            assert f"zkw, waving <lora:{lora}:1>" in picture.info["parameters"]
            loader = json.loads(picture.info["prompt"])["2"]["inputs"]
            assert loader["lora_name"] == f"{lora}.safetensors"


def test_a_run_is_looked_at_and_reported(run: RunFolder) -> None:
    result = run_stage(look_at_run(run, seeds=(1, 2)))
    assert (result.pictures, result.checkpoints) == (3 * 2 * 2, 2)
    for look in result.look.looks:
        with Image.open(result.look.folder / look.path) as picture:
            nodes = {
                node["class_type"]: node["inputs"] for node in json.loads(picture.info["prompt"]).values()
            }
            wanted = {None: None, 2: "zkw-001-step00000002.safetensors", 4: "zkw-001.safetensors"}[look.step]
            assert nodes.get("LoraLoader", {}).get("lora_name") == wanted
            assert nodes["KSampler"]["seed"] == look.seed
            assert ("<lora:" in picture.info["parameters"]) == (look.step is not None)
            assert ("Lora hashes" in picture.info["parameters"]) == (look.step is not None)
    assert result.look.checkpoints() == ("no LoRA", "step 2", "final (4)")
    assert result.look.prompts() == ("zkw", "zkw, waving")
    block = read_block(result.report)
    record = read_record(run.path)
    lora = run.path / record.checkpoints[-1].path
    assert (block["lora"], block["lora_sha256"]) == (str(lora), sha256_file(lora))
    assert [row["step"] for row in block["metrics"]] == [1, 2, 3, 4]
    assert len(block["pictures"]) == 3 and block["pictures"][0]["caption"] == "zkw, pose 0"
    verdict = block["verdict"]
    assert verdict["measure"] == "identity" and verdict["outcome"] != "unjudged"
    assert {measure.encoder for measure in result.look.measures if measure.name == "identity"} == {"photo"}
    assert record.schedule.sum in result.report.read_text(encoding="utf-8")


def test_prompts_may_be_given(run: RunFolder) -> None:
    look = run_stage(look_at_run(run, prompts=("a blue {trigger}",), seeds=(5,))).look
    assert look.prompts() == ("a blue zkw",)


def test_checkpoints_that_were_deleted_are_left_out(run: RunFolder) -> None:
    record = read_record(run.path)
    gone = run.path / record.checkpoints[0].path
    content = gone.read_bytes()
    gone.unlink()
    assert [entry.step for entry in checkpoints_of(run, record)] == [4]
    gone.write_bytes(content)


def test_a_run_without_checkpoints_says_so(run: RunFolder, tmp_path: Path) -> None:
    empty = RunFolder(tmp_path / "empty")
    changes: dict[str, Any] = {"checkpoints": ()}
    read_record(run.path).with_(**changes).write(empty)
    with pytest.raises(OutputError, match="no checkpoint"):
        list(look_at_run(empty))
    assert isinstance(read_record(empty.path), RunRecord)


def test_batches_shrink_as_pictures_grow() -> None:
    assert [batch_for(side, side) for side in (64, 256, 512, 768, 1024)] == [24, 16, 4, 1, 1]
