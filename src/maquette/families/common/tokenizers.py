"""Which tokenizer a model takes: its own when it carries one, else CLIP's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maquette.errors import ModelError, Problem
from maquette.families.common.source import DiffusersFolder, SingleFile
from maquette.families.common.tokenizer import CLIP_VOCABULARY, ClipTokenizer, clip_tokenizer, tokenizer_from
from maquette.reading import FileKind, Unreadable, read_table, text_of

TOKENIZER = FileKind("a model's tokenizer", "Download the model again.", ModelError)
METADATA_KEY = "maquette.tokenizer"


def clip_tokenizer_of(source: SingleFile | DiffusersFolder | None) -> ClipTokenizer:
    """Return the tokenizer of a model; CLIP's for None."""
    if source is None:
        return clip_tokenizer()
    return file_tokenizer(source) if isinstance(source, SingleFile) else folder_tokenizer(source, "tokenizer")


def file_tokenizer(source: SingleFile) -> ClipTokenizer:
    """Return the tokenizer of a single file: from its metadata, else CLIP's if the token table fits."""
    rows = next(
        (
            entry.shape[0]
            for name, entry in source.header.tensors.items()
            if name.endswith("token_embedding.weight")
        ),
        0,
    )
    own = source.header.metadata.get(METADATA_KEY)
    tokenizer = tokenizer_from(own, str(source.path)) if own else clip_tokenizer()
    if own or rows >= CLIP_VOCABULARY:
        _check_fits(tokenizer, rows, str(source.path))
        return tokenizer
    raise ModelError(
        Problem(
            str(source.path),
            f"its text encoder knows {rows} tokens and the file carries no tokenizer",
            f"CLIP's {CLIP_VOCABULARY} tokens, or a tokenizer in the metadata key '{METADATA_KEY}'",
            "Write the file again together with its tokenizer.",
        )
    )


def folder_tokenizer(source: DiffusersFolder, part: str) -> ClipTokenizer:
    """Return the tokenizer of a diffusers folder: vocab.json and merges.txt, tokenizer.json, or CLIP's."""
    folder = source.path / part
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        lines = _merges(folder / "merges.txt")
        merges = [line for line in lines if line.strip() and not line.startswith("#version")]
        table: Any = {
            "vocab": read_table(folder / "vocab.json", TOKENIZER),
            "merges": merges,
        }
        return tokenizer_from(table, str(folder))
    if (folder / "tokenizer.json").is_file():
        return tokenizer_from(_fast_table(folder / "tokenizer.json"), str(folder))
    return clip_tokenizer()


def _fast_table(path: Path) -> dict[str, Any]:
    """Return vocabulary and merges of a tokenizer.json, with the special tokens that it keeps apart."""
    table = read_table(path, TOKENIZER)
    try:
        vocabulary = dict(table["model"]["vocab"])
        vocabulary.update({token["content"]: token["id"] for token in table.get("added_tokens", [])})
        return {"vocab": vocabulary, "merges": table["model"]["merges"]}
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            Problem(str(path), "no vocabulary and merges", TOKENIZER.required, TOKENIZER.remedy)
        ) from None


def _merges(path: Path) -> list[str]:
    try:
        return text_of(path).splitlines()
    except Unreadable as error:
        raise ModelError(error.problem(path, TOKENIZER.required, TOKENIZER.remedy)) from None


def _check_fits(tokenizer: ClipTokenizer, rows: int, where: str) -> None:
    """Every id must have a row in the token table."""
    highest = max(tokenizer.vocabulary.values())
    if highest >= rows:
        raise ModelError(
            Problem(
                where,
                f"its tokenizer has ids up to {highest}, its text encoder only {rows} tokens",
                "a tokenizer and a text encoder that belong together",
                "Write the file again together with its tokenizer.",
            )
        )
