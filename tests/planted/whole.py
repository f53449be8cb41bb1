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
