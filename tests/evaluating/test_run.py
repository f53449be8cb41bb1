"""A run that was really trained is looked at: samples while it trains, first look and report afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.cli.app import maquette as command
from maquette.drawing.packing import batch_for
from maquette.drawing.pictures import chunks_of
from maquette.errors import ConfigError, OutputError
from maquette.evaluating.asked import checkpoints_of
from maquette.evaluating.costs import cost_of
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.price import read_timings
from maquette.evaluating.report import read_block
from maquette.evaluating.run import Evaluation, evaluate_events
from maquette.events import Artifact, Message, Progress, run_stage
from maquette.files import sha256_file
from maquette.lora.files import read_lora, save_lora
from maquette.measuring.looks import UNDER_WAY, read_first_look
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record
from tests.drawing.trained import train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of four steps with a checkpoint and a sample every two."""
    return train_small(tmp_path_factory.mktemp("project"))


def evaluated(*targets: Path, **given: Any) -> Evaluation:
    return run_stage(evaluate_events(targets, EvaluateOptions(**given)))


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


def test_the_command_answers_by_file_as_select_names_it(run: RunFolder) -> None:
    """The contract: a value and its interval for each measure of each checkpoint; the base is no checkpoint."""
    asked = ["evaluate", str(run.path), "--prompt", "{trigger}", "--prompt", "zkw, waving", "--seeds", "2"]
    result = CliRunner().invoke(command, [*asked, "--strengths", "1,0.5", "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    files = ["checkpoints/zkw-001-step00000002.safetensors", "checkpoints/zkw-001.safetensors"]
    assert set(told["checkpoints"]) == {*files, *(f"{file} × 0.5" for file in files)}
    for measures in (*told["checkpoints"].values(), told["floor"]):
        assert measures
        for each in measures.values():
            assert set(each) == {"value", "low", "high"}
            assert each["low"] is None or each["low"] <= each["value"] <= each["high"]
    assert Path(told["report"]).is_file()
    chosen = CliRunner().invoke(command, ["select", str(run.evaluation), "--json"])
    assert json.loads(chosen.stdout)["checkpoint"] in {Path(file).name for file in files}


def test_a_run_is_looked_at_and_reported(run: RunFolder) -> None:
    result = evaluated(run.path, prompts=("{trigger}", "zkw, waving"), seeds=(1, 2))
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
    look = evaluated(run.path, prompts=("a blue {trigger}",), seeds=(5,)).look
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
        evaluated(empty.path)
    assert isinstance(read_record(empty.path), RunRecord)


def test_batches_shrink_as_pictures_grow() -> None:
    assert [batch_for(side, side) for side in (64, 256, 512, 768, 1024)] == [24, 16, 4, 1, 1]
    assert [batch_for(1024, 1024, room << 30) for room in (0, 7, 15, 16, 70, 900)] == [1, 1, 1, 2, 8, 24]
    assert batch_for(512, 512, 17 << 30) == 8 and batch_for(4096, 4096) == 1


def test_a_quick_suite_is_drawn_where_nothing_is_said(run: RunFolder, tmp_path: Path) -> None:
    """The trigger with every seed, the rest with two; the run's own samples among it; into a folder of one's own."""
    events: list[Any] = []
    options = EvaluateOptions(seeds=3, steps=1, size=32, output=tmp_path / "own", strengths="0.5,1")
    found = run_stage(evaluate_events(run.path, options), events.append)
    roles = {entry.role for entry in found.look.looks}
    assert {"bare", "pose", "novel", "bleed", "drift", "prompt"} <= roles and "leak" not in roles
    assert found.look.prompts("bare") == ("zkw",) and found.look.seeds("zkw") == (1, 2, 3)
    assert found.look.prompts("prompt") == ("zkw, waving",) and found.look.seeds("zkw, waving") == (1, 2)
    labels = ("no LoRA", "step 2 × 0.5", "step 2", "final (4) × 0.5", "final (4)")
    assert found.look.checkpoints() == labels
    assert found.report == tmp_path / "own" / "report.html" and found.look.folder == tmp_path / "own"
    assert any("class word" in event.text for event in events if isinstance(event, Message))


def test_a_run_s_file_is_that_run_s_and_a_folder_of_files_is_none(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same LoRA where its run lies needs nothing said; elsewhere the base is needed, and its metadata tell the trigger."""
    monkeypatch.chdir(tmp_path)
    lora = run.path / read_record(run.path).checkpoints[0].path
    quick: dict[str, Any] = {"prompts": ("{trigger}",), "seeds": (1,), "steps": 1, "size": 32}
    own = evaluated(lora, **quick)
    assert own.look.checkpoints() == ("no LoRA", "step 2") and own.look.prompts() == ("zkw",)
    assert own.report == Path("evaluations") / lora.stem / "report.html"
    folder = tmp_path / "loras"
    folder.mkdir()
    for entry in read_record(run.path).checkpoints:
        (folder / Path(entry.path).name).write_bytes((run.path / entry.path).read_bytes())
    base = read_record(run.path).settings.model.base
    (folder / "base.safetensors").write_bytes(Path(base).read_bytes())
    with pytest.raises(ConfigError, match=r"--base: not given .* base\.safetensors; Stable Diffusion 1"):
        evaluated(folder)
    found = evaluated(folder, base=base, **quick)
    assert found.look.checkpoints() == ("no LoRA", "step 2", "final (4)")
    assert found.look.prompts() == ("zkw",)
    assert [column.step for column in found.look.columns] == [None, 2, 4]
    block = read_block(found.report)
    assert block["first_look"]["drawing"]["steps"] == 1
    assert "report of" not in found.report.read_text(encoding="utf-8").lower() and block["scorecards"]


def test_another_lora_beside_changes_every_picture_and_is_told(run: RunFolder, tmp_path: Path) -> None:
    one, two = (run.path / entry.path for entry in read_record(run.path).checkpoints)
    quick: dict[str, Any] = {"prompts": ("{trigger}",), "seeds": (1,), "steps": 1, "size": 32}
    alone = evaluated(one, output=tmp_path / "alone", **quick).look
    beside = evaluated(one, output=tmp_path / "beside", beside=(f"{two}:2",), **quick).look
    told = [chunks_of(beside.folder / entry.path)["parameters"] for entry in beside.looks]
    assert f"<lora:{two.stem}:2>" in told[0] and f"<lora:{one.stem}:1> <lora:{two.stem}:2>" in told[1]
    with (
        Image.open(alone.folder / alone.looks[0].path) as before,
        Image.open(beside.folder / beside.looks[0].path) as after,
    ):
        assert before.tobytes() != after.tobytes()


def test_what_is_missing_is_said_together(run: RunFolder, tmp_path: Path) -> None:
    lora = tmp_path / "stranger.safetensors"
    state = read_lora(run.path / read_record(run.path).checkpoints[0].path).state
    save_lora(lora, state, {"ss_sd_model_name": "hero.safetensors"})
    with pytest.raises(ConfigError) as caught:
        evaluated(lora)
    assert [problem.where for problem in caught.value.problems] == ["--base", "--trigger"]
    assert "hero.safetensors" in caught.value.problems[0].remedy
    with pytest.raises(ConfigError, match="one run, or files"):
        evaluated(run.path, lora)
    with pytest.raises(ConfigError) as caught:
        evaluated(tmp_path / "nothing", run.path.parent.parent / "images")
    assert len(caught.value.problems) == 2


def test_a_prompt_file_is_drawn_with_seeds_of_its_own(run: RunFolder, tmp_path: Path) -> None:
    """Prompts of one role need not have as many seeds as each other."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("{trigger} one\n{trigger} two --d 9 --s 1 --ss Euler a\n", encoding="utf-8")
    lora = run.path / read_record(run.path).checkpoints[0].path
    given: dict[str, Any] = {"prompt_file": prompts, "seeds": 2, "steps": 1, "size": 32}
    found = evaluated(lora, output=tmp_path / "own", **given)
    assert found.look.seeds("zkw one") == (1, 2) and found.look.seeds("zkw two") == (9,)
    told = chunks_of(found.look.folder / found.look.find("step 2", "zkw two", 9).path)
    assert "Sampler: Euler a" in told["parameters"] and found.report.is_file()


# --- the price ---------------------------------------------------------------------------------------------


@pytest.fixture
def alone(run: RunFolder, tmp_path: Path) -> RunFolder:
    """Return a copy of the run that has no evaluation, and no sibling that has one."""
    copied = RunFolder(tmp_path / "runs" / "zkw")
    shutil.copytree(run.path, copied.path, ignore=shutil.ignore_patterns("evaluation", "choice.json"))
    return copied


def priced(**given: Any) -> EvaluateOptions:
    return EvaluateOptions(prompts=("{trigger}", "{trigger}, waving"), steps=2, **given)


def test_the_price_is_what_is_drawn_and_time_is_known_once_it_was_measured(alone: RunFolder) -> None:
    first = cost_of(alone.path, priced(seeds=(1,)))
    assert (first.pictures, first.missing, first.columns) == (6, 6, 3)
    assert first.seconds is None and "not known yet" in first.told
    under_way = []
    stage = evaluate_events(alone.path, priced(seeds=(1,)))
    for event in stage:
        if isinstance(event, Progress) and event.stage == "first look" and not under_way:
            under_way.append(read_first_look(alone.evaluation / UNDER_WAY))
        if isinstance(event, Artifact) and event.kind == "scorecards":
            assert not (alone.evaluation / UNDER_WAY).exists(), (
                "what is under way is forgotten when it is there"
            )
    assert len(under_way[0].looks) == first.pictures
    drawn = [each.drawn for each in read_timings(alone.evaluation) if each.drawn]
    assert drawn == [first.missing]
    again = cost_of(alone.path, priced(seeds=(1,)))
    assert again.missing == again.disk_bytes == 0 and "nothing is drawn" in again.told
    more = cost_of(alone.path, priced(seeds=(1, 2), strengths=(0.5, 1.0)))
    assert more.pictures == 5 * 2 * 2 and more.missing == more.pictures - 6
    assert more.seconds is not None and more.seconds > again.seconds > 0


def test_select_says_its_price_as_a_race_and_draws_nothing(alone: RunFolder) -> None:
    before = sorted(alone.path.rglob("*.png"))
    result = CliRunner().invoke(command, ["select", str(alone.path), "--redraw", "--price", "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["at_most"] and told["why"] and told["pictures"] > told["prompts"] * told["columns"]
    assert sorted(alone.path.rglob("*.png")) == before and not (alone.path / "choice.json").exists()
