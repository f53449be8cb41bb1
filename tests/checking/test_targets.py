"""What a path is, is told by its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.checking.targets import identify
from maquette.errors import ConfigError
from tests.families.full import header_only
from tests.planted.clean import DATASET_TOML, PROFILE, PROJECT_TOML, SCRIPT, clean_log

CONFIG_FILE = """[model]
pretrained_model_name_or_path = "base.safetensors"
network_dim = 32

[training]
learning_rate = 1e-4
max_train_epochs = 4
"""


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("maquette.toml", PROJECT_TOML, "project"),
        ("profile.toml", PROFILE, "profile"),
        ("luca.yaml", "name: luca\nhair: brown\n", "profile"),
        ("spyke_lora_dataset.toml", DATASET_TOML, "dataset"),
        ("luca_final_v1_pure.toml", CONFIG_FILE, "config"),
        ("train.sh", SCRIPT, "script"),
        ("command.txt", "python3 train_network.py --network_dim 32\n", "script"),
        ("train.log", "anything at all\n", "log"),
        ("output.txt", clean_log(), "log"),
    ],
)
def test_text_files(name: str, text: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert identify(path).kind == kind


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "maquette.toml").write_text(PROJECT_TOML)
    (tmp_path / "pictures").mkdir()
    assert identify(tmp_path / "project").kind == "project"
    assert identify(tmp_path / "pictures").kind == "dataset"


def test_weights(tmp_path: Path) -> None:
    assert identify(header_only("sd1", tmp_path / "base.safetensors")).kind == "base"
    (tmp_path / "old.pt").write_bytes(b"\x80\x04")
    assert identify(tmp_path / "old.pt").kind == "lora"


def test_what_is_not_there_is_named_with_what_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text(SCRIPT)
    with pytest.raises(ConfigError, match=r"Did you mean '.*train\.sh'"):
        identify(tmp_path / "trian.sh")


def test_a_single_picture_points_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="Give its folder"):
        identify(tmp_path / "a.png")


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("Buy milk.\n")
    with pytest.raises(ConfigError, match="nothing that can be checked"):
        identify(tmp_path / "notes.md")
