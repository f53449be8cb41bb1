"""What would be written is decided by the code that writes it; drawing programs are known again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import maquette
from maquette.cli.app import maquette as command
from maquette.deploying.options import DeployOptions
from maquette.deploying.places import known_places, place_at
from maquette.deploying.run import pack
from maquette.errors import ConfigError
from maquette.files import sha256_file
from maquette.runs.deliveries import read_deliveries
from maquette.runs.folder import RunFolder

from .conftest import write_lora


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()
    }


def made(tmp_path: Path, program: str) -> Path:
    folder = tmp_path / program
    models = {"comfyui": "models/loras", "webui": "models/Lora", "diffusers": "."}[program]
    (folder / models).mkdir(parents=True)
    return folder


@pytest.mark.parametrize("program", ["comfyui", "webui", "diffusers"])
def test_a_dry_run_writes_nothing_and_says_exactly_what_is_written_then(
    run: RunFolder, tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "home"))
    folder = made(tmp_path, program)
    place: dict[str, Any] = {program: folder}
    noted = read_deliveries(run)
    [told] = maquette.deploy(run.path, dry_run=True, **place)
    assert tree(folder) == {} and read_deliveries(run) == noted and known_places() == []
    assert told.is_dry and {put.how for put in told.files} == {"new"}
    [entry] = maquette.deploy(run.path, **place)
    assert {put.path.relative_to(folder).as_posix() for put in told.files} == set(tree(folder))
    assert (told.lora, told.sha256) == (entry.lora, entry.sha256) and sha256_file(entry.lora) == entry.sha256
    [again] = maquette.deploy(run.path, dry_run=True, **place)
    assert again.already_installed and {put.how for put in again.files} <= {"same", "again"}


def test_a_taken_name_and_a_persons_file_are_said_before(run: RunFolder, comfy: Path) -> None:
    other = write_lora(comfy / "models" / "loras" / "zkw-001.safetensors", seed=3)
    mine = comfy / "maquette" / "zkw-001-v2.prompts.txt"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    before = tree(comfy)
    answer = CliRunner().invoke(
        command, ["deploy", str(run.path), "--comfyui", str(comfy), "--dry-run", "--json"]
    )
    [told] = json.loads(answer.stdout)["installed"]
    assert answer.exit_code == 0 and tree(comfy) == before
    assert told["taken"] == str(other) and told["lora"].endswith("zkw-001-v2.safetensors")
    assert {"path": str(mine), "how": "kept"} in told["files"]
    spoken = CliRunner().invoke(command, ["deploy", str(run.path), "--comfyui", str(comfy), "--dry-run"])
    assert "another LoRA has the name" in spoken.output and f"would stay (yours): {mine}" in spoken.output
    asked = ["deploy", str(run.path), "--comfyui", str(comfy), "--dry-run", "--server", "http://127.0.0.1:1"]
    assert CliRunner().invoke(command, asked).exit_code == 2


def test_places_are_known_again_and_found_by_what_they_hold(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    found = made(tmp_path / "user", "comfyui").rename(tmp_path / "user" / "drawing")
    (tmp_path / "user" / "pictures").mkdir()
    assert [(each.program, each.folder, each.used) for each in known_places()] == [("comfyui", found, False)]
    used = made(tmp_path / "elsewhere", "webui")
    maquette.deploy(run.path, webui=used)
    assert [(each.folder, each.used) for each in known_places()] == [(used, True), (found, False)]
    with pytest.raises(ConfigError, match=f"--webui {used}, --comfyui {found}"):
        maquette.deploy(run.path)
    (tmp_path / "state" / "places.json").write_text("{", encoding="utf-8")
    assert [each.folder for each in known_places()] == [found]


@pytest.mark.parametrize(
    "typed",
    [
        lambda folder: "",
        lambda folder: "ComfyUI",
        lambda folder: "~nobody-of-that-name/ComfyUI",
        lambda folder: str(folder / "missing"),
        lambda folder: str(folder / "models"),
        lambda folder: "/\0",
    ],
)
def test_a_typed_folder_that_is_no_program_is_refused(comfy: Path, typed: Callable[[Path], str]) -> None:
    with pytest.raises(ConfigError):
        place_at(typed(comfy))


def test_a_typed_folder_is_taken_with_its_links_resolved(comfy: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(comfy)
    place = place_at(f" {tmp_path / 'link'} ")
    assert (place.program, place.folder) == ("comfyui", comfy.resolve())
    assert place_at(str(tmp_path), "diffusers").folder == tmp_path.resolve()
    with pytest.raises(ConfigError, match="AUTOMATIC1111"):
        place_at(str(comfy), "webui")


def test_a_pack_holds_what_an_installation_would_and_notes_nothing(
    run: RunFolder, comfy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    noted = read_deliveries(run)
    packed = pack(run.path, DeployOptions(name="zkw"), tmp_path / "pack")
    assert read_deliveries(run) == noted and known_places() == []
    [entry] = maquette.deploy(run.path, comfyui=comfy, name="zkw")
    for name in ("lora", "workflow", "editor_workflow", "template", "prompts", "card", "preview"):
        assert sha256_file(getattr(packed, name)) == sha256_file(getattr(entry, name)), name
