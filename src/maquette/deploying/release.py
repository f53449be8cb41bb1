"""Placing a LoRA file in a folder that a running program may be reading.

Overwriting a LoRA in place kills a server that has it mapped into memory (SIGBUS), and even an atomic
replacement leaves the old weights in its cache. So every release gets a name of its own: the file is copied
to a hidden name beside, compared with its source, and then linked to a name that nobody holds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from maquette.deploying.workflow import Recipe
from maquette.errors import ConfigError, DatasetError, LoraError, OutputError, Problem
from maquette.files import replacing, sha256_file, write_atomic, write_json

_FORBIDDEN = re.compile(r'[<>:"|?*,\x00-\x1f]')
_COPY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A LoRA file in its folder: where, its content, and whether it was there before."""

    path: Path
    sha256: str
    already_installed: bool


def place_lora(source: Path, folder: Path, name: str) -> Placed:
    """Copy the LoRA `source` into `folder` as NAME.safetensors, or NAME-v2, NAME-v3… when that holds another
    LoRA.

    A file with the same content that was released under this name before is found and kept. Nothing that
    exists is ever changed. Raises LoraError for an unusable source, ConfigError for an unusable name.
    """
    require_lora(source)
    stem = release_stem(name)
    digest = sha256_file(source)
    for number in range(1, 10_000):
        target = folder / f"{stem}{'' if number == 1 else f'-v{number}'}.safetensors"
        if target.exists():
            if target.stat().st_size == source.stat().st_size and sha256_file(target) == digest:
                return Placed(path=target, sha256=digest, already_installed=True)
        elif _copy_to_free_name(source, target, digest):
            return Placed(path=target, sha256=digest, already_installed=False)
    raise OutputError(
        Problem(
            str(folder), f"holds thousands of releases of '{name}'", "a free name", "Choose another name."
        )
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


def require_lora(source: Path) -> None:
    """Raise LoraError unless `source` is a whole safetensors file with LoRA tensors."""
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
    inspect_lora(source)


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


def write_sidecars(
    placed: Placed, recipe: Recipe, preview: Path | None, chunks: dict[str, str]
) -> dict[str, Path]:
    """Write NAME.json and NAME.png beside the LoRA and return them; existing ones are a person's, and kept.

    `chunks` are the preview's PNG text chunks: dropping the picture on a drawing program restores the
    settings.
    """
    written: dict[str, Path] = {}
    sidecar = placed.path.with_suffix(".json")
    if not sidecar.exists():
        write_json(sidecar, _sidecar(recipe))
    written["sidecar"] = sidecar
    if preview is not None:
        picture = placed.path.with_suffix(".png")
        if not picture.exists():
            _write_preview(preview, picture, chunks)
        written["preview"] = picture
    return written


def _sidecar(recipe: Recipe) -> dict[str, Any]:
    examples = "\n".join(recipe.prompts)
    return {
        "description": f"Trigger: {recipe.trigger}. Base: {recipe.base_checkpoint}.",
        "sd version": recipe.sd_version,
        "activation text": recipe.trigger,
        "preferred weight": recipe.strength,
        "negative text": recipe.negative,
        "notes": f"Clip skip {recipe.clip_skip}. Examples:\n{examples}",
    }


def _write_preview(source: Path, target: Path, chunks: dict[str, str]) -> None:
    from PIL import PngImagePlugin

    from maquette.dataset.opening import on_white, opened, upright

    try:
        with opened(source) as image:
            picture = on_white(upright(image))
            info = PngImagePlugin.PngInfo()
            own = {str(key): text for key, text in image.info.items() if isinstance(text, str)}
            for key, text in (own | chunks).items():
                info.add_text(key, text) if text.isascii() else info.add_itxt(key, text)
    except DatasetError as error:
        given = f"cannot be read as a picture ({error.problems[0].given})"
        raise OutputError(Problem(str(source), given, "a preview picture", "Give another one.")) from error
    with replacing(target) as temporary:
        picture.save(temporary, format="PNG", pnginfo=info)


def write_beside(folder: Path, stem: str, texts: dict[str, str]) -> list[Path]:
    """Write the texts {suffix: text} to FOLDER/STEM + suffix, each whole, and return their paths."""
    return [write_atomic(folder / f"{stem}{suffix}", text) for suffix, text in texts.items()]
