"""The tour, in small: every station is passed, and what the report says is what lies on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.cli.demo import offer
from maquette.demo.judging import cast_measurer, look_prompts
from maquette.demo.project import write_demo_project
from maquette.demo.tour import DemoResult, run_demo
from maquette.deploying.nodes import check_workflow
from maquette.errors import OutputError
from maquette.evaluating.report import read_block
from maquette.events import Artifact, Event, run_stage
from maquette.files import sha256_file
from maquette.measuring.looks import FLOOR, Look
from maquette.project.config_file import load_settings
from maquette.runs.record import read_record
from maquette.world.cast import PROMPTS, TOVAKI, TRIGGER, training_pictures
from maquette.world.renderer import render


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, list[Artifact]]:
    output = tmp_path_factory.mktemp("demo") / "out"
    events: list[Event] = []
    result = run_stage(run_demo(output, seed=3, steps=2, bare_seeds=2, other_seeds=1), events.append)
    assert isinstance(events[-1], Artifact) and events[-1].kind == "report"
    return result, [event for event in events if isinstance(event, Artifact)]


@pytest.mark.slow
def test_the_report_names_a_lora_that_is_there(toured: tuple[DemoResult, list[Artifact]]) -> None:
    result, _ = toured
    block = read_block(result.report)
    assert block["lora"] == str(result.lora) and result.lora.is_file()
    assert block["lora_sha256"] == sha256_file(result.lora) == sha256_file(result.installed)
    assert block["deliveries"][0]["lora"] == str(result.installed)
    assert block["verdict"]["floor"] is not None and block["verdict"]["measure"] == "identity"
    assert set(block["timings"]) >= {"pictures_s", "training_s", "first_look_s", "install_s"}
    assert json.loads(json.dumps(result.to_json()))["report"] == str(result.report)


@pytest.mark.slow
def test_training_is_a_run_like_any_other(toured: tuple[DemoResult, list[Artifact]]) -> None:
    result, artifacts = toured
    record = read_record(result.run)
    assert (record.state, record.step) == ("finished", 2)
    assert load_settings(result.output).subject.trigger == TRIGGER
    assert {"checkpoint", "sample", "grid", "first look", "installed LoRA", "report"} <= {
        a.kind for a in artifacts
    }
    assert all(artifact.path.exists() for artifact in artifacts)


@pytest.mark.slow
def test_the_installed_workflow_is_one_that_comfyui_takes(toured: tuple[DemoResult, list[Artifact]]) -> None:
    workflow = json.loads(toured[0].workflow.read_text(encoding="utf-8"))
    assert check_workflow(workflow) == ()
    kinds = {node["class_type"] for node in workflow.values()}
    assert "ModelSamplingDiscrete" in kinds, "the small world predicts v"


def test_a_demos_folder_is_used_again_and_others_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    config = write_demo_project(folder, seed=1)
    (folder / "runs" / "tovaki-001").mkdir(parents=True)
    assert write_demo_project(folder, seed=1) == config
    assert len(list((folder / "images").glob("*.png"))) == len(training_pictures())
    with pytest.raises(OutputError, match="another seed"):
        write_demo_project(folder, seed=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(OutputError, match="something else"):
        write_demo_project(tmp_path / "mine", seed=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["diary.txt"]


def test_the_judge_knows_the_character_and_the_scene() -> None:
    """The very pictures that the LoRA should come to draw score near one, others do not."""
    prompts = look_prompts(seeds_each=1)
    scenes = {prompt.text: prompt.scene for prompt in PROMPTS if prompt.scene}
    wanted = [prompt for prompt in prompts if prompt.text in scenes]
    pictures = [render(TOVAKI, scenes[prompt.text]) for prompt in wanted]  # type: ignore[arg-type]
    looks = [
        Look(checkpoint=FLOOR, step=None, prompt=prompt.text, role=prompt.role, seed=1, path="")
        for prompt in wanted
    ]
    measurer = cast_measurer()
    scores = measurer.score(pictures, looks)
    for measure in measurer.measures:
        assert sum(score[measure.name] for score in scores) / len(scores) > 0.9
    exchanged = measurer.score(pictures[::-1], looks)
    assert sum(score["adherence"] for score in exchanged) < sum(score["adherence"] for score in scores)


def test_the_demo_offers_the_studio_by_a_command_that_the_shell_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/there/bin/maquette", "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert offer(Path("/a b")).endswith(": /there/bin/maquette studio '/a b'")
    (tmp_path / "maquette").touch(0o755)
    assert offer(Path("/a b")).endswith(": maquette studio '/a b'")
