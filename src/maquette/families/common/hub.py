"""Models by hub name, from the Hugging Face cache first and from the network only when they are not there."""

from __future__ import annotations

import re
from pathlib import Path

from maquette.errors import ModelError, Problem
from maquette.families.common.weight_files import weight_files

CONFIG_PATTERNS = [
    "model_index.json",
    "*/config.json",
    "*/scheduler_config.json",
    "tokenizer*/*.json",
    "tokenizer*/*.txt",
]
HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
WEIGHT_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


def fetch(name: str, *, weights: bool) -> Path:
    """Return the local folder of the hub model `name`, downloading what is missing.

    `weights=False` brings only configuration. Raises ModelError when neither cache nor network has it.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if not weights or _complete(folder):
            return folder
    except Exception:  # not in the cache: every version of the library has its own exceptions for it
        pass
    try:
        patterns = CONFIG_PATTERNS + (_weight_patterns(name) if weights else [])
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        raise ModelError(
            Problem(
                name,
                f"no such file or folder, not in the local hub cache, no download ({_first_line(error)})",
                "a .safetensors file, a diffusers folder, or the hub name of a reachable model",
                "Check the path; or download the model once while online; or use a local file.",
            )
        ) from None


def fetch_vae(name: str) -> Path:
    """Return the local folder of the hub model `name`, its VAE downloaded: one that stands alone, or its part `vae`.

    Raises ModelError when neither cache nor network has it.
    """
    from huggingface_hub import snapshot_download

    patterns = ["config.json", "diffusion_pytorch_model.safetensors", "vae/config.json", "vae/*.safetensors"]
    try:
        try:
            return Path(snapshot_download(name, local_files_only=True))
        except Exception:  # not in the cache: every version of the library has its own exceptions for it
            return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        raise ModelError(
            Problem(
                name,
                f"no such file or folder, not in the local hub cache, no download ({_first_line(error)})",
                "a VAE as a .safetensors file, a folder, or the hub name of a reachable model",
                "Check the path; or download the VAE once while online.",
            )
        ) from None


def _complete(folder: Path) -> bool:
    """Whether every part that has a configuration also has weights."""
    parts = [path.parent for path in folder.glob("*/config.json") if path.parent.name in WEIGHT_PARTS]
    return bool(parts) and all(
        weight_files(part) and all(file.is_file() for file in weight_files(part)) for part in parts
    )


def _weight_patterns(name: str) -> list[str]:
    """Return the weight files worth downloading: half precision where the model offers it, never pickles."""
    try:
        from huggingface_hub import list_repo_files

        files = list_repo_files(name)
    except Exception:
        return [f"{part}/*.safetensors*" for part in WEIGHT_PARTS]
    chosen: list[str] = []
    for part in WEIGHT_PARTS:
        own = [file for file in files if file.startswith(f"{part}/") and ".safetensors" in file]
        half = [file for file in own if ".fp16." in file]
        plain = [
            file for file in own if file.count(".") == 1 or "-of-" in file or file.endswith(".index.json")
        ]
        chosen += half or plain or own
    return chosen


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
