"""Faults of a whole input: files that are not there or cannot be read."""

from __future__ import annotations

from tests.planted.case import Case, close_call, fault


@fault("CHK001", "the base model is cut short", start="kohya")
def base_cut_short(case: Case) -> None:
    with case.base.open("r+b") as file:
        file.truncate(100_000)


@fault("CHK001", "a key of maquette.toml is misspelt", start="project")
def misspelt_key(case: Case) -> None:
    case.edit(case.config, "learning_rate", "lerning_rate")


@close_call("CHK001", "the base is a hub name that is not on this machine")
def base_by_hub_name(case: Case) -> None:
    case.edit(case.script, "base.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5")


@fault("CHK001", "the project's pictures are not where it says", start="project")
def pictures_elsewhere(case: Case) -> None:
    case.edit(case.config, 'images = "images"', 'images = "pictures"')


@close_call("CHK001", "the pictures that a script names are on another machine")
def pictures_on_another_machine(case: Case) -> None:
    case.edit(case.script, "dataset/train", "/workspace/training_data")


@fault("CHK002", "the log is empty", start="log")
def empty_log(case: Case) -> None:
    case.paths[0].write_text("", encoding="utf-8")


@fault("CHK002", "another program's log", start="log")
def foreign_log(case: Case) -> None:
    case.paths[0].write_text("nginx started\n127.0.0.1 GET /index.html 200\n", encoding="utf-8")


@close_call("CHK002", "a log that ends while the base model loads", start="log")
def log_of_a_beginning(case: Case) -> None:
    lines = case.paths[0].read_text(encoding="utf-8").splitlines(keepends=True)
    case.paths[0].write_text("".join(lines[:6]), encoding="utf-8")


@fault("CHK003", "a folder of the dataset has a space for the underscore")
def space_for_underscore(case: Case) -> None:
    folder = case.pictures[0].parent.parent / "10 zkw_fox more"
    folder.mkdir()
    for picture in case.pictures[18:]:
        for path in (picture, picture.with_suffix(".txt")):
            path.rename(folder / path.name)


@fault("CHK003", "Maquette is given a folder with a space for the underscore", start="folder")
def space_for_underscore_alone(case: Case) -> None:
    folder = case.pictures[0].parent
    folder.rename(folder.with_name("10 zkw_fox"))
    case.trainer = "maquette"


@close_call("CHK003", "a folder of a year", start="folder")
def folder_of_a_year(case: Case) -> None:
    folder = case.pictures[0].parent
    folder.rename(folder.with_name("2024 fox"))
    case.paths = [folder.with_name("2024 fox")]
    case.trainer = "maquette"


@fault("CHK010", "a workflow of ComfyUI is given for a training run")
def workflow(case: Case) -> None:
    path = case.folder / "workflow.json"
    path.write_text('{"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}', encoding="utf-8")
    case.paths.append(path)


@close_call("CHK010", "settings of OneTrainer, which describe a run")
def settings_of_another_trainer(case: Case) -> None:
    path = case.folder / "onetrainer.json"
    path.write_text(
        '{"training_method": "LORA", "model_type": "X", "lora_rank": 32, "lora_alpha": 16}', encoding="utf-8"
    )
    case.paths.append(path)
