"""The README's own lines work as they are printed, in order, in one folder, without a network."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maquette.captioning.sources import tagger
from maquette.cli.app import maquette
from maquette.world.pack import base_path
from tests.conftest import make_pictures
from tests.docs.test_docs import ROOT, command_lines

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def lines() -> dict[str, list[list[str]]]:
    """Return the README's command lines by command, in words."""
    found: dict[str, list[list[str]]] = {}
    for line in command_lines(ROOT / "README.md"):
        words = shlex.split(line, comments=True)[1:]
        found.setdefault(words[0], []).append(words)
    return found


def run(words: list[str]) -> Result:
    return CliRunner().invoke(maquette, words)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README takes for granted: pictures, a base called sd15, a ComfyUI in the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    pictures = make_pictures(tmp_path / "pictures", [(96, 96)] * 3)
    for caption in pictures.glob("*.txt"):
        caption.unlink()
    shutil.copy(base_path(), tmp_path / "sd15.safetensors")
    (tmp_path / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    return tmp_path


def test_the_way_of_the_readme_goes_from_pictures_to_an_installed_lora(scratch: Path) -> None:
    way = lines()
    (init,), (check,), (plan,), (evaluate,), (deploy,) = (
        way[name] for name in ("init", "check", "plan", "evaluate", "deploy")
    )
    smoke, train, _ = way["train"][:3]
    assert run(init).exit_code == 0
    seen = ("side view, on grass", "front view, in a room", "back view, by the sea")
    for picture, what in zip(sorted((scratch / "pictures").glob("*.png")), seen, strict=True):
        picture.with_suffix(".txt").write_text(f"myword, dog, {what}", encoding="utf-8")
    checked = run(check)
    assert checked.exit_code == 0 and "warning" not in checked.output, checked.output
    assert run(plan).exit_code == 0
    config = scratch / init[1] / "maquette.toml"
    short = re.sub(r"(?m)^steps = .*$", "steps = 2\nbatch_size = 1", config.read_text(encoding="utf-8"))
    short = re.sub(r"(?m)^(save_every_steps = .*|sample_prompts = .*)$", "", short)
    config.write_text(short.replace("[samples]", "[samples]\nsample_steps = 2"), encoding="utf-8")
    assert "Nothing was kept" in run(smoke).output
    trained = run(train)
    assert trained.exit_code == 0, trained.output
    assert f"maquette evaluate {scratch / evaluate[1]}" in trained.output
    judged = run(evaluate)
    assert judged.exit_code == 0, judged.output
    deploy = [word.replace("~", str(scratch)) for word in deploy]
    installed = run(deploy)
    assert installed.exit_code == 0, installed.output
    assert list((scratch / "ComfyUI" / "models" / "loras").rglob("*.safetensors"))


def test_what_the_readme_s_captions_need_is_said_at_once(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra its pip line, before any download; with it and no network one line and where to get it."""
    way = lines()
    run(way["init"][0])
    find_spec = tagger.importlib.util.find_spec
    monkeypatch.setattr(tagger.importlib.util, "find_spec", lambda name: None)
    lacking = run(way["caption"][0])
    assert lacking.exit_code == 2 and "pip install 'maquette[tagger]'" in lacking.stderr
    assert len(lacking.stderr.strip().splitlines()) == 1
    monkeypatch.setattr(tagger.importlib.util, "find_spec", find_spec)
    offline = run(way["caption"][0])
    assert offline.exit_code == 2 and len(offline.stderr.strip().splitlines()) == 1
    assert "no download" in offline.stderr and "--model" in offline.stderr


TRACKERS = ("trackio", "wandb", "mlflow")
"""Services of which a person uses one: hundreds of megabytes together, and Trackio holds Pillow below 13."""


def test_every_extra_that_anything_names_exists_and_all_holds_them_all() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = set()
    for path in sources:
        text = path.read_text(encoding="utf-8")
        named |= {
            each for several in re.findall(r"maquette\[([a-z,]+)\]", text) for each in several.split(",")
        }
        named |= set(re.findall(r'MissingExtra\([^)]*"([a-z]+)"\)', text))
    assert {"tagger", "video", "anime", "tensorboard", "all"} <= named <= EXTRAS.keys()
    (everything,) = EXTRAS["all"]
    assert set(re.findall(r"[a-z]+", everything.partition("[")[2])) == EXTRAS.keys() - {
        "all",
        "dev",
        *TRACKERS,
    }
