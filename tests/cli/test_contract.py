"""The command line as scripts use it: JSON on the last line, exit codes, and one clear line for each thing that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from maquette.cli.app import COMMANDS, maquette
from maquette.project.config_file import load_settings
from tests.conftest import make_pictures
from tests.deploying.test_verify import Server

DEVICE = ["--device", "cpu", "--precision", "no"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(maquette, [str(argument) for argument in arguments])


def last_json(result: Result) -> dict:
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture
def train(tiny_base: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run `maquette train FOLDER` with the contract's flags; more flags win."""

    def invoke(folder: Path, *more: object) -> Result:
        return run(
            "train", folder, "--base", tiny_base, "--trigger", "zkw", "--steps", 2, "--rank", 2, "--alpha", 1,
            "--resolution", 64, "--bucket-step-px", 16, "--output", tmp_path / "out", "--name", "zkw", "--seed", 1, *DEVICE,
            *more, "--json",
        )  # fmt: skip

    return invoke


@pytest.mark.parametrize("command", [*COMMANDS, "models inspect", "lora inspect"])
def test_every_command_explains_itself_and_takes_json(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "--json" in result.output or "Commands:" in result.output


def test_train_answers_with_the_contract_s_keys(train: Callable[..., Result], pictures: Path) -> None:
    result = train(pictures)
    assert result.exit_code == 0, result.output
    answer = last_json(result)
    keys = {
        "run",
        "lora",
        "steps",
        "final_loss",
        "device",
        "seconds_per_step",
        "start_to_first_step_s",
        "peak_memory_bytes",
    }
    assert keys <= answer.keys()
    assert Path(answer["lora"]).is_file() and answer["steps"] == 2 and answer["device"] == "cpu"
    assert answer["seconds_per_step"] > 0 and answer["peak_memory_bytes"] > 2**20


def test_models_inspect_reads_the_family_from_the_file(tiny_base: Path, tmp_path: Path) -> None:
    disguised = tmp_path / "SuperXL.safetensors"
    disguised.symlink_to(tiny_base)
    result = run("models", "inspect", disguised, "--json")
    assert result.exit_code == 0
    assert {
        key: last_json(result)[key] for key in ("family", "prediction", "dtype", "resolution", "source")
    } == {
        "family": "sd1",
        "prediction": "epsilon",
        "dtype": "float32",
        "resolution": 512,
        "source": "single-file",
    }


def test_init_makes_a_project_that_trains_and_resumes(
    tiny_base: Path, pictures: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    made = run("init", project, "--images", pictures, "--base", tiny_base, "--trigger", "zkw", "--json")
    assert made.exit_code == 0, made.output
    assert last_json(made)["pictures"] == 3
    config = tomllib.loads((project / "maquette.toml").read_text())
    assert "subject" not in config and config["dataset"]["resolution"] == 512
    assert load_settings(project).subject.trigger == "zkw", "from profile.toml, its one home"
    small = [
        "--resolution",
        64,
        "--bucket-step-px",
        16,
        "--steps",
        2,
        "--save-every-steps",
        1,
        "--sample-steps",
        2,
    ]
    trained = run("train", project, *small, *DEVICE, "--json")
    assert trained.exit_code == 0, trained.output
    answer = last_json(trained)
    assert Path(answer["run"]).parent == project / "runs"
    assert len(list(Path(answer["run"]).glob("samples/*.png"))) == 4
    again = run("init", project, "--images", pictures, "--base", tiny_base, "--trigger", "zkw")
    assert again.exit_code == 2 and "exists already" in again.stderr
    resumed = run("train", "--resume", answer["run"], "--json")
    assert resumed.exit_code == 2 and "finished" in last_json(resumed)["error"][0]["given"]


@pytest.mark.slow
def test_deploy_and_evaluate_take_a_run(train: Callable[..., Result], pictures: Path, tmp_path: Path) -> None:
    answer = last_json(train(pictures, "--sample-steps", 2, "--sample-prompts", "{trigger}"))
    comfy = tmp_path / "ComfyUI"
    refused = run("deploy", answer["run"], "--comfyui", comfy, "--json")
    assert refused.exit_code == 2
    installed = run("deploy", answer["run"], "--comfyui", comfy, "--create", "--json")
    assert installed.exit_code == 0, installed.output
    entry = last_json(installed)["installed"][0]
    assert Path(entry["lora"]).is_file() and json.loads(Path(entry["workflow"]).read_text())
    server = Server()
    server.comfyui({entry["lora_name"]: entry["model_hash"]}, ["tiny.safetensors"])
    verified = run("deploy", answer["run"], "--comfyui", comfy, "--verify", server.url, "--json")
    assert verified.exit_code == 0, verified.output
    server.comfyui({}, ["tiny.safetensors"])
    missing = run("deploy", answer["run"], "--comfyui", comfy, "--verify", server.url, "--json")
    assert missing.exit_code == 1 and entry["lora_name"] in last_json(missing)["problems"][0]
    looked = run("evaluate", answer["run"], "--prompt", "{trigger}", "--seeds", 1, "--json")
    assert looked.exit_code == 0, looked.output
    assert Path(last_json(looked)["report"]).is_file()
    inspected = run("lora", "inspect", answer["lora"], "--json")
    assert last_json(inspected)["rank"] == 2


def _no_pictures(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _no_captions(folder: Path) -> None:
    for path in folder.glob("*.txt"):
        path.unlink()


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no pictures": (_no_pictures, "no pictures"),
    "no captions": (_no_captions, "no captions"),
    "picture without caption": (lambda folder: (folder / "p1.txt").unlink(), "p1.png"),
    "caption without picture": (lambda folder: (folder / "stray.txt").write_text("zkw"), "stray.txt"),
    "corrupt picture": (
        lambda folder: (folder / "p0.png").write_bytes((folder / "p0.png").read_bytes()[:200]),
        "p0.png",
    ),
    "zero-byte picture": (lambda folder: (folder / "p0.png").write_bytes(b""), "p0.png"),
    "gigantic picture": (lambda folder: Image.new("1", (20000, 20000)).save(folder / "p0.png"), "p0.png"),
    "unreadable encoding": (
        lambda folder: (folder / "p0.txt").write_bytes("zkw, café".encode("utf-16")),
        "p0.txt",
    ),
}


@pytest.mark.parametrize("fault", BAD_FOLDERS)
def test_a_bad_folder_ends_before_the_base_is_loaded(
    fault: str, train: Callable[..., Result], pictures: Path, tmp_path: Path
) -> None:
    spoil, named = BAD_FOLDERS[fault]
    spoil(pictures)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    result = train(pictures)
    assert result.exit_code == 2
    problems = last_json(result)["error"]
    assert any(named in f"{problem['where']} {problem['given']}" for problem in problems), problems
    assert all(problem["remedy"] for problem in problems)
    assert "load" not in result.stderr.split()
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before
    assert not (tmp_path / "out" / "zkw").exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--epochs", 3], "steps and epochs"),
        (["--lr-scheduler", "constant", "--warmup-steps", 1], "warmup_steps"),
        (["--precision", "fp16"], "precision"),
        (["--device", "cuda:7"], "device"),
        (["--resolution", "51o"], "--resolution"),
        (["--rank", 0], "--rank"),
        (["--learning-rate", 0], "learning_rate"),
        (["--base", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--warmup-steps", 2], "warmup_steps"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_impossible_settings_name_themselves(
    flags: list, named: str, train: Callable[..., Result], pictures: Path
) -> None:
    result = train(pictures, *flags)
    assert result.exit_code == 2, result.output
    assert any(named in problem["where"] for problem in last_json(result)["error"]), last_json(result)


@pytest.mark.parametrize("resolution", ["64", "64,64", "64x96"])
def test_every_way_to_write_a_resolution_works(
    resolution: str, train: Callable[..., Result], pictures: Path
) -> None:
    assert train(pictures, "--resolution", resolution).exit_code == 0


def test_unknown_keys_in_a_project_are_errors_with_the_nearest_name(tiny_base: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "images", [(64, 64)])
    (tmp_path / "maquette.toml").write_text(
        f'[model]\nbase = "{tiny_base}"\n[lora]\nrnak = 8\n[training]\nsteps = "many"\n'
    )
    result = run("train", tmp_path, "--json")
    assert result.exit_code == 2
    assert "Did you mean 'rank'?" in result.stderr and "steps" in result.stderr
    assert len(last_json(result)["error"]) == 2


def test_bases_that_are_none_say_what_they_are(
    train: Callable[..., Result], pictures: Path, tiny_base: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_base.read_bytes()[:1_000_000])
    pickle = tmp_path / "old.ckpt"
    pickle.write_bytes(b"PK\x03\x04" + b"\0" * 64)
    lora = last_json(train(pictures))["lora"]
    for base, word in ((cut, "cut.safetensors"), (pickle, "old.ckpt"), (lora, "LoRA")):
        result = train(pictures, "--base", base, "--name", "other")
        assert result.exit_code == 2 and word in result.stderr, result.stderr


def test_a_read_only_output_is_said_before_anything_is_loaded(
    train: Callable[..., Result], pictures: Path, tmp_path: Path
) -> None:
    """A file where the output folder should be stops even root, whom permissions do not."""
    (tmp_path / "taken").write_text("")
    result = train(pictures, "--output", tmp_path / "taken")
    assert result.exit_code == 2 and "cannot be written" in result.stderr


def test_a_wrong_flag_ends_in_json_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from maquette.cli import main; main()", "train", "--rnak", "3", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--rank" in json.loads(done.stdout.strip().splitlines()[-1])["error"][0]["given"]
