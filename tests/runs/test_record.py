"""The record of a run: typed, strict, and readable whichever release wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import maquette
from maquette.dataset.config import SubsetOptions
from maquette.errors import OutputError
from maquette.events import Progress
from maquette.files import json_text
from maquette.runs.folder import RunFolder
from maquette.runs.migrations import MIGRATIONS, RECORD_VERSION
from maquette.runs.record import Checkpoint, DeviceRecord, Sample, dataset_record, read_record
from tests.dataset.making import captioned, dataset_at, picture
from tests.runs.making import as_version_1, run_record, stored

ShortRun = Callable[..., dict[str, Any]]


def written(folder: Path, values: Any) -> Path:
    """Write `values` (text as it is) as the record of a run; return the run."""
    text = values if isinstance(values, str) else json.dumps(values)
    (folder / "run.json").write_text(text, encoding="utf-8")
    return folder


def refusal(run: Path) -> str:
    with pytest.raises(OutputError) as caught:
        read_record(run)
    return str(caught.value)


# --- old records -----------------------------------------------------------------------------------------


def test_a_record_of_every_version_is_kept() -> None:
    assert len(MIGRATIONS) + 1 == RECORD_VERSION
    for version in range(1, RECORD_VERSION + 1):
        assert json.loads(stored(version).read_text(encoding="utf-8"))["record_version"] == version


@pytest.mark.parametrize("version", range(1, RECORD_VERSION + 1))
def test_a_record_of_any_version_loads_as_the_same_run(version: int, tmp_path: Path) -> None:
    record = read_record(written(tmp_path, stored(version).read_text(encoding="utf-8")))
    assert record.record_version == RECORD_VERSION
    assert (record.run, record.state, record.step) == ("zkw", "interrupted", 5)
    assert record.digest == "a49d3c3f7b6f4bd825b1f8b63966578f76eae24437a617bd6ae16fab02a66b5b"
    assert (record.settings.lora.rank, record.settings.training.seed) == (2, 42)
    assert record.settings.dataset.images == Path("/home/you/zkw/images")
    assert record.settings.samples.sample_prompts == ("{trigger}, waving",)
    assert (record.base.path, record.base_sha256) == ("/home/you/zkw/tiny.safetensors", "")
    assert record.dataset.subsets[0].options == SubsetOptions(
        caption_extension=".txt", shuffle_caption=True, keep_tokens=1
    )
    assert record.dataset.subsets[1].is_regularization
    assert record.dataset.pictures[2].size_wh == (144, 72)
    assert record.schedule.checkpoints == ("zkw-step00000004.safetensors", "zkw.safetensors")
    assert record.device == DeviceRecord(kind="cpu", name="cpu", precision="no")
    assert record.environment.packages["numpy"] == "2.4.6"
    assert record.checkpoints == (
        Checkpoint(
            path="checkpoints/zkw-step00000004.safetensors",
            step=4,
            epoch=1,
            sha256="42064e26fdf7c0768424a5e417b21b6ce32ce359ff49b907b0eb8e9d1b9be1a8",
        ),
    )
    assert record.samples == (
        Sample(path="samples/zkw-step00000004-00.png", step=4, prompt="zkw, waving", seed=1),
    )
    assert record.resumed_at_steps == (2,) and record.error == "the caller stopped listening"
    assert record.timings["seconds_per_step"] == 0.2156
    assert record == read_record(written(tmp_path, stored(RECORD_VERSION).read_text(encoding="utf-8")))


def test_a_card_of_the_first_version_keeps_its_kind_and_name(tmp_path: Path) -> None:
    values = json.loads(stored(1).read_text(encoding="utf-8"))
    values["device"] = {"device": "cuda:1 (RTX 4090)", "precision": "bf16", "forward_device": "cuda:1"}
    assert read_record(written(tmp_path, values)).device == DeviceRecord(
        kind="cuda", name="cuda:1 (RTX 4090)", precision="bf16", forward_device="cuda:1"
    )
    values["device"] = {}
    assert read_record(written(tmp_path, values)).device is None


def test_a_run_of_the_first_version_is_resumed_as_the_same_run(short_run: ShortRun) -> None:
    whole = maquette.train(**short_run(name="whole"))

    def stop(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(**short_run(), on_event=stop)
    run = Path(short_run()["output"]) / "zkw"
    before = read_record(run)
    written(run, as_version_1(before))
    assert read_record(run) == before
    resumed = maquette.train(resume=run)
    assert resumed.record.digest == before.digest
    assert resumed.lora.read_bytes()[-4096:] == whole.lora.read_bytes()[-4096:]
    assert read_record(run) == resumed.record


# --- damage ----------------------------------------------------------------------------------------------


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    record = run_record()
    record.write(RunFolder(tmp_path))
    first = (tmp_path / "run.json").read_bytes()
    assert read_record(tmp_path) == record == read_record(tmp_path / "run.json")
    read_record(tmp_path).write(RunFolder(tmp_path))
    assert (tmp_path / "run.json").read_bytes() == first


def test_a_newer_version_is_told_apart_from_damage(tmp_path: Path) -> None:
    values = run_record().as_json() | {"record_version": RECORD_VERSION + 1}
    told = refusal(written(tmp_path, values))
    assert "newer release" in told and f"at most {RECORD_VERSION}" in told


@pytest.mark.parametrize("version", [None, 0, -1, "2", True, 1.5])
def test_a_version_is_a_number_from_one(version: object, tmp_path: Path) -> None:
    assert "record_version" in refusal(
        written(tmp_path, run_record().as_json() | {"record_version": version})
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not valid JSON"),
        ('{"run": "zkw",', "line 1"),
        ("[]", "where keys and values belong"),
        ('{"run": "a", "run": "b"}', "'run' stands twice"),
        ('{"record_version": ' + "9" * 5000 + "}", "4300 digits"),
        ('{"a": ' * 2000 + "1" + "}" * 2000, "nested deeper"),
        ('{"a": "\\u0000"}', "character"),
    ],
)
def test_a_damaged_record_is_one_plain_error(text: str, expected: str, tmp_path: Path) -> None:
    told = refusal(written(tmp_path, text))
    assert expected in told and "run.json" in told and "the record of a run" in told


def test_a_record_that_is_no_utf_8_or_not_there_says_so(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path)
    (tmp_path / "run.json").write_bytes(b'{\n"run": "\xff"}')
    assert "run.json line 2: not UTF-8 text" in refusal(tmp_path)


@pytest.mark.parametrize("version", range(1, RECORD_VERSION + 1))
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"settings": []}, "settings"),
        ({"settings": None}, "settings"),
        ({"base": "sd1"}, "base"),
        ({"base": {"family": "sd1"}}, "base path: not given — required: a text"),
        ({"dataset": {"pictures": [3]}}, "dataset pictures 1"),
        ({"device": "cpu"}, "device: 'cpu' — a table"),
        ({"step": "5"}, "step: '5' — a whole number"),
        ({"checkpoints": [{"path": "a"}]}, "checkpoints 1 step: not given"),
        ({"stat": "x"}, "unknown key 'stat' — a known key. The record is damaged"),
        ({"state": "done"}, "one of prepared, running, stopped, interrupted, failed, pruned, finished"),
        ({"notes": "text"}, "notes: 'text' — a list of texts"),
    ],
)
def test_a_record_of_another_shape_names_the_place(
    version: int, change: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    values = json.loads(stored(version).read_text(encoding="utf-8"))
    told = refusal(written(tmp_path, values | change))
    assert expected in told and "run.json" in told


@pytest.mark.parametrize("version", range(1, RECORD_VERSION + 1))
def test_no_missing_key_is_more_than_an_error_in_words(version: int, tmp_path: Path) -> None:
    values = json.loads(stored(version).read_text(encoding="utf-8"))
    for name in values:
        run = written(tmp_path, {key: value for key, value in values.items() if key != name})
        try:
            read_record(run)
        except OutputError as error:
            assert name in str(error)


def test_a_change_of_the_wrong_type_is_no_record() -> None:
    with pytest.raises(ValidationError, match="step"):
        run_record().with_(step="five")
    with pytest.raises(ValidationError, match="stepp"):
        run_record().with_(stepp=5)


# --- what is trained on ----------------------------------------------------------------------------------


def test_captions_and_pictures_of_the_subject_leave_out_regularization() -> None:
    dataset = run_record().dataset
    assert [Path(each.path).name for each in dataset.subject] == ["p0.png", "p1.png", "p2.png"]
    assert len(dataset.captions) == 3 and len(dataset.pictures) == 4


def test_what_is_trained_on_changes_with_any_picture_caption_or_option(tmp_path: Path) -> None:
    captioned(tmp_path, 2)
    records = [dataset_record(dataset_at(tmp_path))]
    assert dataset_record(dataset_at(tmp_path)).shows_the_same_as(records[0])
    records.append(dataset_record(dataset_at(tmp_path, options=SubsetOptions(keep_tokens=1))))
    (tmp_path / "p000.txt").write_text("another caption")
    records.append(dataset_record(dataset_at(tmp_path)))
    picture(tmp_path / "p001.png", seed=99)
    records.append(dataset_record(dataset_at(tmp_path)))
    for index, one in enumerate(records):
        assert [one.shows_the_same_as(other) for other in records] == [other is one for other in records], (
            index
        )


def test_a_record_is_written_as_the_json_of_all_its_values(tmp_path: Path) -> None:
    """The dataset's part is made once and put in its place."""
    captioned(tmp_path / "d", 3)
    record = run_record().with_(dataset=dataset_record(dataset_at(tmp_path / "d")))
    folder = RunFolder(tmp_path)
    for state in ("running", "failed"):
        record = record.with_(state=state)
        record.write(folder)
        assert folder.record.read_text(encoding="utf-8") == json_text(record.as_json())
