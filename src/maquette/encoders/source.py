"""Where an encoder's files come from: a local folder, the hub's cache, or the hub; and what tells two of them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from maquette.errors import ModelError, Problem
from maquette.reading import FileKind

MODEL_FILE = FileKind("the configuration of a model", "Get the model again.", ModelError)
SAMPLE_BYTES = 1 << 20


NAME_A_FOLDER = "Download it once while online, or name a local folder: --encoder clip=/path/to/folder."


def model_folder(
    source: str, patterns: Sequence[str], required: Sequence[str], remedy: str = NAME_A_FOLDER
) -> Path:
    """Return the local folder of `source` (a folder, or a hub name) that holds the files `required` (glob patterns).

    The hub's cache is looked at first, then the hub. Raises ModelError when the files are in neither; `remedy` says what
    to do without a network.
    """
    local = Path(source).expanduser()
    if local.exists():
        missing = [pattern for pattern in required if not any(local.glob(pattern))]
        if local.is_dir() and not missing:
            return local
        given = f"a folder without {', '.join(missing)}" if local.is_dir() else "a file"
        raise ModelError(
            Problem(str(local), given, "a model's folder", "Give the folder that holds those files.")
        )
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelError(
            Problem(source, "no such folder", "a model's folder or hub name", "Correct the path.")
        )
    return from_hub(source, patterns, required, remedy)


def from_hub(name: str, patterns: Sequence[str], required: Sequence[str], remedy: str) -> Path:
    """Return the cached folder of the hub model `name`, downloading what is missing. Raises ModelError without a network.

    Asks for a snapshot, never for single files: these are asked for again and again, with a line each time.
    """
    from huggingface_hub import snapshot_download

    here = in_cache(name, patterns, required)
    if here is not None:
        return here
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(
            Problem(
                name,
                f"not in the local hub cache, and no download ({first_line})",
                f"a folder with {', '.join(required)}",
                remedy,
            )
        ) from None
    missing = [pattern for pattern in required if not any(folder.glob(pattern))]
    if missing:
        raise ModelError(
            Problem(
                name,
                f"has no {', '.join(missing)}",
                "weights as safetensors",
                "Choose a model that offers them: pickled weights are never read.",
            )
        )
    return folder


def in_cache(name: str, patterns: Sequence[str], required: Sequence[str]) -> Path | None:
    """Return the folder of the hub model `name` in the hub's cache; None where it is not there whole."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
    except Exception:  # not in the cache: every version of the library has its own exceptions for it
        return None
    return folder if all(any(folder.glob(pattern)) for pattern in required) else None


def fingerprint(files: Iterable[Path]) -> str:
    """Return 16 hex digits that differ when a file differs in size, its first, middle or last mebibyte."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for start in (0, max(0, size // 2), max(0, size - SAMPLE_BYTES)):
                file.seek(start)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]
