"""The record, filled with the settings of the reference's runs, gives the keys and values of the reference's files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from maquette.dataset.summary import count_tags
from maquette.families import FAMILIES
from maquette.lora.metadata import (
    IMPLEMENTATION_VERSION,
    DatasetFacts,
    LoraMetadata,
    ModelSpec,
    SubsetFacts,
    TrainingFacts,
    legacy_model_hash,
)
from tests.conftest import GOLDEN

FILES: dict[str, dict[str, str]] = json.loads((GOLDEN / "metadata.json").read_text())
PROGRAM = {"ss_sd_scripts_commit_hash", "modelspec.implementation_version"}
"""Keys that name the program that trained."""
HASHES = {"sshs_model_hash", "sshs_legacy_hash"}
CAPTIONS = (
    "sks dog, sitting on the floor, looking at viewer",
    "sks dog, outdoors, grass",
    "sks dog, close-up portrait",
    "sks dog, lying down, indoors",
    "sks dog, standing, street",
    "sks dog, running in the park",
    "sks dog, in front of a wall",
    "sks dog, on a beach, blue sky",
)


def subset(**changes: Any) -> SubsetFacts:
    return replace(SubsetFacts(img_count=8, num_repeats=3, image_dir="10_sks_dog"), **changes)


def dataset(**changes: Any) -> DatasetFacts:
    facts = DatasetFacts(
        batch_size_per_device=3,
        num_train_images=24,
        resolution=(128, 128),
        tag_frequency={"10_sks_dog": count_tags(CAPTIONS)},
        subsets=(subset(),),
    )
    return replace(facts, **changes)


TOML_RUN = LoraMetadata(
    training=TrainingFacts(
        session_id=546413497,
        training_started_at=1795209419.2816255,
        training_finished_at=1795209429.1302748,
        output_name="mychar",
        learning_rate=1e-4,
        text_encoder_lr=5e-5,
        unet_lr=None,
        num_train_images=24,
        num_batches_per_epoch=8,
        num_epochs=3,
        steps=12,
        epoch=3,
        max_train_steps=12,
        gradient_accumulation_steps=2,
        lr_scheduler="cosine",
        network_dim=4,
        network_alpha=2.0,
        base_model_version="sd_v1",
        clip_skip=2,
        seed=42,
        sd_model_name="tiny_fp32.safetensors",
        sd_model_hash="55842fcd",
        new_sd_model_hash="ea70750c0f26fc8fb64836509578bfafa5962d89353fffbf3e8e1a828d3ce4c3",
    ),
    model=ModelSpec(architecture="stable-diffusion-v1/lora", title="T", resolution_px=(512, 512)),
    datasets=(dataset(),),
    from_config=True,
)
FOLDER_RUN = replace(
    TOML_RUN,
    training=replace(
        TOML_RUN.training,
        session_id=2909138554,
        training_started_at=1795208994.0954192,
        training_finished_at=1795209002.6683288,
        output_name="g10",
        unet_lr=1e-4,
        num_train_images=80,
        num_batches_per_epoch=80,
        num_epochs=1,
        steps=10,
        epoch=1,
        max_train_steps=10,
        gradient_accumulation_steps=1,
    ),
    model=replace(TOML_RUN.model, title="g10", resolution_px=(128, 128)),
    datasets=(
        dataset(
            batch_size_per_device=1, num_train_images=80, subsets=(subset(num_repeats=10, keep_tokens=1),)
        ),
    ),
    from_config=False,
)


def at(run: LoraMetadata, steps: int, epoch: int, finished_at: float) -> LoraMetadata:
    return replace(
        run, training=replace(run.training, steps=steps, epoch=epoch, training_finished_at=finished_at)
    )


RUNS = {
    "mychar.safetensors": TOML_RUN,
    "mychar-000001.safetensors": at(TOML_RUN, 4, 1, 1795209424.980022),
    "mychar-step00000010.safetensors": at(TOML_RUN, 10, 2, 1795209428.1074986),
    "g10.safetensors": FOLDER_RUN,
    "g10-step00000004.safetensors": at(FOLDER_RUN, 4, 0, 1795209000.5238616),
}


@pytest.mark.parametrize("name", FILES)
def test_the_reference_s_keys_and_values_are_reproduced(name: str) -> None:
    expected = {key: value for key, value in FILES[name].items() if key not in HASHES}
    written = RUNS[name].to_metadata()
    assert set(written) == set(expected)
    assert {key: value for key, value in written.items() if key not in PROGRAM} == {
        key: value for key, value in expected.items() if key not in PROGRAM
    }


def test_the_program_that_trained_is_named_honestly() -> None:
    written = TOML_RUN.to_metadata()
    assert {written[key] for key in PROGRAM} == {IMPLEMENTATION_VERSION}
    assert IMPLEMENTATION_VERSION.startswith("maquette/")


def test_every_value_is_a_string() -> None:
    assert all(isinstance(value, str) for run in RUNS.values() for value in run.to_metadata().values())


def test_regularization_folders_are_listed_apart() -> None:
    regularization = subset(image_dir="2_dog", num_repeats=2, img_count=3, is_reg=True)
    run = replace(FOLDER_RUN, datasets=(dataset(subsets=(subset(), regularization)),))
    written = run.to_metadata()
    assert json.loads(written["ss_dataset_dirs"]) == {"10_sks_dog": {"n_repeats": 3, "img_count": 8}}
    assert json.loads(written["ss_reg_dataset_dirs"]) == {"2_dog": {"n_repeats": 2, "img_count": 3}}
    assert "2_dog" not in json.loads(replace(run, from_config=True).to_metadata()["ss_dataset_dirs"])


def test_a_folder_used_by_several_datasets_is_listed_for_each_and_its_tags_counted_once() -> None:
    written = replace(TOML_RUN, datasets=(dataset(), dataset(resolution=(256, 256)))).to_metadata()
    assert list(json.loads(written["ss_dataset_dirs"])) == ["10_sks_dog", "10_sks_dog (2)"]
    assert json.loads(written["ss_tag_frequency"])["10_sks_dog"]["sks dog"] == 8


def test_xl_files_name_the_implementation_whose_keys_they_use() -> None:
    spec = FAMILIES["sdxl"].spec
    model = replace(
        TOML_RUN.model,
        architecture=spec.modelspec_architecture,
        implementation=spec.key_names_source,
        resolution_px=(1024, 1024),
    )
    written = replace(TOML_RUN, model=model).to_metadata()
    assert written["modelspec.implementation"] == "https://github.com/Stability-AI/generative-models"
    assert written["modelspec.resolution"] == "1024x1024"


def test_absent_facts_leave_no_key() -> None:
    training = replace(TOML_RUN.training, clip_skip=None, sd_model_hash=None, new_sd_model_hash=None)
    written = replace(TOML_RUN, training=training).to_metadata()
    absent = {
        "modelspec.encoder_layer",
        "modelspec.trigger_phrase",
        "ss_sd_model_hash",
        "ss_new_sd_model_hash",
    }
    assert not absent & set(written)
    assert written["ss_clip_skip"] == "None"


def test_convolutions_are_told_as_network_arguments() -> None:
    written = replace(TOML_RUN, network_args={"conv_dim": "4", "conv_alpha": "1"}).to_metadata()
    assert json.loads(written["ss_network_args"]) == {"conv_dim": "4", "conv_alpha": "1"}


def test_tags_are_counted_in_lower_case_and_order_of_appearance() -> None:
    assert count_tags(["Sks dog,  Grass", "sks dog, , sea"]) == {"sks dog": 2, "grass": 1, "sea": 1}


def test_the_short_hash_of_a_small_file_is_that_of_nothing(tmp_path: Any) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    assert legacy_model_hash(tmp_path / "small") == "e3b0c442"
