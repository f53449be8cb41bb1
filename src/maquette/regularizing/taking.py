"""Pictures of a folder that is there already, in the form that trainers take."""

from __future__ import annotations

import time
from pathlib import Path

from maquette.dataset.folders import own_folder
from maquette.errors import ConfigError, Problem
from maquette.events import Artifact, Finished, Message, Progress, Stage, Started
from maquette.files import sha256_file, write_atomic
from maquette.regularizing.options import RegularizeOptions
from maquette.regularizing.sheet import write_sheet
from maquette.regularizing.store import Regularized, Store
from maquette.regularizing.subject import images_of, refuse_triggers, subject_of


def taken(source: Path, options: RegularizeOptions) -> Stage[Regularized]:
    """Copy a folder of class pictures into the form that trainers take.

    Pictures that cannot be read, or whose shorter side is below `size_px`, are left out and listed. Captions are copied
    where they lie beside the pictures, else the class word is written. Nothing in `source` changes.
    """
    began = time.perf_counter()
    subject = subject_of(options)
    word, needed = subject.word, subject.needed
    _refuse_own(source, options)
    found = _pictures_in(source, options.out)
    captions = (_caption(path) for path in found)
    refuse_triggers(
        captions, subject.profile, f"captions in {source}", "Take pictures of others, or the trigger out."
    )
    store = Store(options.out, word)
    wanted = options.count or needed or len(found)
    store.claim({"source": str(source.absolute()), "class_word": word}, wanted)
    yield Started("copy", min(wanted, len(found)), "picture")
    left_out: dict[str, str] = {}
    chosen: list[Path] = []
    copied = 0
    for path in found:
        if len(chosen) == wanted:
            break
        reason = _unfit(path, options.size_px)
        if reason:
            left_out[str(path)] = reason
            continue
        copied += _copy(path, store, len(chosen) + 1, word)
        chosen.append(path)
        yield Progress("copy", len(chosen), min(wanted, len(found)), "picture")
    store.end()
    yield Finished("copy")
    if left_out:
        first = next(iter(left_out.items()))
        yield Message(
            f"{len(left_out)} pictures were left out (the first: {first[0]}: {first[1]}).", "warning"
        )
    if len(chosen) < wanted:
        yield Message(f"{source} gave {len(chosen)} pictures, {wanted} were wanted.", "warning")
    if not chosen:
        raise ConfigError(
            Problem(str(source), "none of its pictures can be used", "sound pictures", "See above.")
        )
    yield Artifact("contact sheet", write_sheet(_stored(store, len(chosen)), store.sheet))
    return store.result(len(chosen), copied, time.perf_counter() - began, needed, left_out)


def _refuse_own(source: Path, options: RegularizeOptions) -> None:
    """Refuse what holds no class pictures: Maquette's own folders, and the subject's own pictures."""
    problem = own_folder(source)
    if options.dataset is not None and images_of(options.dataset).resolve() == source.resolve():
        problem = Problem(
            f"--from {source}",
            f"the subject's own pictures, which --for {options.dataset} names",
            "pictures of others of its class",
            "Name another folder, or a base model to draw them with.",
        )
    if problem is not None:
        raise ConfigError(problem)


def _pictures_in(source: Path, out: Path) -> list[Path]:
    """Return the pictures below `source`, without hidden folders and `out`. Raises ConfigError when there are none."""
    from maquette.dataset.config import PICTURE_EXTENSIONS
    from maquette.dataset.mask_files import without_masks

    own, root = out.absolute(), source.absolute()
    found = sorted(
        path
        for path in without_masks(root.rglob("*"))
        if path.suffix.lower() in PICTURE_EXTENSIONS and path.is_file() and not path.is_relative_to(own)
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not found:
        raise ConfigError(
            Problem(str(source), "holds no pictures", "a folder of class pictures", "Check the path.")
        )
    return found


def _unfit(path: Path, size_px: int | None) -> str:
    """Return why a picture cannot be used, or nothing."""
    from maquette.dataset.pictures import check_picture

    look = check_picture(path)
    if isinstance(look, Problem):
        return look.given
    size = look.size_wh
    if size_px is not None and min(size) < size_px:
        return f"{size[0]}×{size[1]}, below {size_px} px"
    return ""


def _copy(source: Path, store: Store, index: int, word: str) -> bool:
    """Copy one picture and its caption; tell whether it was not there yet."""
    name = f"{store.slug}_{index:04d}{source.suffix.lower()}"
    target, digest = store.pictures / name, sha256_file(source)
    text = _caption(source)
    entry = {"source": str(source), "sha256": digest}
    is_there = target.is_file() and sha256_file(target) == digest
    if not is_there:
        write_atomic(target, source.read_bytes())
    if not is_there or not target.with_suffix(".txt").is_file():
        write_atomic(target.with_suffix(".txt"), f"{text or word}\n")
    store.table["pictures"][name] = entry
    return not is_there


def _caption(picture: Path) -> str:
    caption = picture.with_suffix(".txt")
    return caption.read_text(encoding="utf-8", errors="replace").strip() if caption.is_file() else ""


def _stored(store: Store, count: int) -> list[Path]:
    names = sorted(store.table["pictures"])[:count]
    return [store.pictures / name for name in names]
