"""What a run of another trainer kept between runs becomes settings: encoded pictures and captions."""

from __future__ import annotations

from pathlib import Path

from maquette.planning.takeover_caches import BY_THREADS
from tests.planning.test_takeover import SCRIPT, taken_from


def test_caches_and_their_places_are_taken_over(tmp_path: Path) -> None:
    options = (
        "--cache_latents_to_disk --vae_batch_size=4 --skip_cache_check --network_train_unet_only "
        "--cache_text_encoder_outputs --cache_text_encoder_outputs_to_disk --max_data_loader_n_workers=2"
    )
    text = SCRIPT.rstrip().replace("train_network.py", "sdxl_train_network.py") + f" {options}\n"
    taken = taken_from(tmp_path, "train.sh", text)
    wanted = {
        "cache_latents": True,
        "cache_text_encoder_outputs": True,
        "cache_folder": "cache",
        "vae_batch_size": 4,
        "skip_cache_check": True,
    }
    settings = taken.settings()
    assert {name: settings[name] for name in wanted} == wanted
    assert taken.left["max_data_loader_n_workers"] == BY_THREADS
    assert not any("cache" in name for name in taken.left)


def test_the_bases_own_file_says_what_v2_said(tmp_path: Path) -> None:
    assert "v2 = True" not in taken_from(tmp_path, "train.sh", SCRIPT.rstrip() + " --v2\n").left


def test_a_check_of_nothing_is_left_out(tmp_path: Path) -> None:
    taken = taken_from(tmp_path, "train.sh", SCRIPT.rstrip() + " --skip_cache_check\n")
    assert "skip_cache_check" not in taken.settings() and "nothing is kept" in taken.left["skip_cache_check"]
