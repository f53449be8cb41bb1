"""Placing a LoRA file in a folder that a running program may be reading.

Overwriting a LoRA in place kills a server that has it mapped into memory (SIGBUS), and even an atomic
replacement leaves the old weights in its cache. So every release gets a name of its own: the file is copied
to a hidden name beside, compared with its source, and then linked to a name that nobody holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from maquette.deploying.folders import ModelFolders
from maquette.errors import ConfigError, LoraError, OutputError, Problem
from maquette.files import sha256_file

if TYPE_CHECKING:
    from maquette.lora.facts import LoraFacts

_FORBIDDEN = re.compile(r'[<>:"|?*,\x00-\x1f]')
_COPY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A LoRA file in one of the program's folders: where, its content, and whether it was there before."""

    path: Path
    folder: Path
    """The program's folder that it lies in."""
    sha256: str
    already_installed: bool
    content: Path
    """Where its content can be read: the file itself, or what would be copied."""
    taken: Path | None = None
    """Another LoRA that holds the name which was asked for."""

    @property
    def name(self) -> str:
        """The name under which the program lists it: relative, with the system's separator."""
        return str(self.path.relative_to(self.folder))

    @property
    def stem(self) -> str:
        """That name without its ending, with /."""
        return self.path.relative_to(self.folder).with_suffix("").as_posix()


def place_lora(source: Path, folders: ModelFolders, name: str, *, dry: bool = False) -> Placed:
    """Copy the LoRA `source` into the program's folder as NAME.safetensors, or NAME-v2, NAME-v3… where another LoRA holds
    that name in any of its folders.

    A file with the same content that was released under this name before is found and kept. Nothing that
    exists is ever changed; with `dry` nothing is copied either. Raises LoraError for an unusable source, ConfigError for an
    unusable name.
    """
    return _placed(source, folders, name, lambda stem: f"{stem}.safetensors", dry)


def place_in_own_folder(source: Path, folders: ModelFolders, name: str, *, dry: bool = False) -> Placed:
    """Copy the LoRA `source` likewise, into a folder of its own: NAME/NAME.safetensors."""
    return _placed(source, folders, name, lambda stem: f"{stem}/{PurePosixPath(stem).name}.safetensors", dry)


def _placed(
    source: Path, folders: ModelFolders, name: str, path_of: Callable[[str], str], dry: bool
) -> Placed:
    require_lora(source)
    stem = release_stem(name)
    digest = sha256_file(source)
    folder = folders.install
    taken: Path | None = None
    for number in range(1, 10_000):
        relative = path_of(f"{stem}{'' if number == 1 else f'-v{number}'}")
        there = next((path for path in folders.paths if (path / relative).exists()), None)
        if there is not None:
            path = there / relative
            if _is_copy(path, source, digest):
                return Placed(
                    path=path, folder=there, sha256=digest, already_installed=True, content=path, taken=taken
                )
            taken = taken or path
        elif dry or _copy_to_free_name(source, folder / relative, digest):
            path = folder / relative
            content = source if dry else path
            return Placed(
                path=path, folder=folder, sha256=digest, already_installed=False, content=content, taken=taken
            )
    raise OutputError(
        Problem(
            str(folder), f"holds thousands of releases of '{name}'", "a free name", "Choose another name."
        )
    )


def _is_copy(target: Path, source: Path, digest: str) -> bool:
    return (
        target.is_file() and target.stat().st_size == source.stat().st_size and sha256_file(target) == digest
    )


def release_stem(name: str) -> str:
    """Return `name` as a relative path without suffix; raises ConfigError when some drawing program would
    choke on it.
    """
    stem = name.strip().replace("\\", "/").removesuffix(".safetensors")
    parts = stem.split("/")
    bad = (
        any(part in ("", ".", "..") or part.startswith(".") or part.endswith((" ", ".")) for part in parts)
        or PurePosixPath(stem).is_absolute()
        or _FORBIDDEN.search(stem)
    )
    if bad:
        raise ConfigError(
            Problem(
                f"LoRA name '{name}'",
                "cannot be used as a file name everywhere",
                'a relative name without < > : " | ? * , and without parts that begin with a dot',
                "Choose another name.",
            )
        )
    return stem


def require_lora(source: Path) -> LoraFacts:
    """Return what `source` is; LoraError unless it is a whole safetensors file with LoRA tensors."""
    from maquette.lora.files import inspect_lora

    if not source.is_file():
        raise LoraError(
            Problem(
                str(source),
                "does not exist",
                "a LoRA file (.safetensors)",
                "Give the path of a trained LoRA.",
            )
        )
    return inspect_lora(source)


def _copy_to_free_name(source: Path, target: Path, digest: str) -> bool:
    """Copy `source` to `target`; return False when the name was taken meanwhile."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reader, part.open("xb") as writer:
            while block := reader.read(_COPY_BYTES):
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
        if sha256_file(part) != digest:
            raise OSError("the copy differs from its source")
        return _take_name(part, target)
    except OSError as error:
        raise OutputError(
            Problem(
                str(target),
                f"cannot be written ({error.strerror or error})",
                "a writable folder with free space",
                "Free space or permissions there, or choose another folder.",
            )
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _take_name(part: Path, target: Path) -> bool:
    """Give `part` the name `target` unless it is taken: unlike a rename, a hard link replaces nothing."""
    try:
        os.link(part, target)
        return True
    except FileExistsError:
        return False
    except OSError:  # file systems without hard links (exFAT, some network drives)
        if target.exists():
            return False
        part.replace(target)
        return True
