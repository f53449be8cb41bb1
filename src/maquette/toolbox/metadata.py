"""What a tool writes into a LoRA's metadata, what a person reads of it, and what of it is private."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.families import FAMILIES
from maquette.lora.kinds import DEFAULT_KIND, KINDS
from maquette.lora.names import ADAPTER_METADATA
from maquette.lora.state import ModuleWeights
from maquette.reading import parse_json

HASHES = ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
"""Of the weights that a file had when they were written: a new file has new ones, or none."""
SPEC_VERSION = "1.0.1"

PRIVATE = re.compile(
    r"ss_(dataset_dirs|reg_dataset_dirs|datasets|tag_frequency|bucket_info|output_name|output_dir|session_id|training_comment|"
    r"sd_model_name|vae_name|tokenizer.*|training_started_at|training_finished_at|seed|.*_path|.*_dir)|"
    r"modelspec\.(author|thumbnail|description|date)|maquette.*|.*(prompt|caption|user|host|path|folder).*",
    re.IGNORECASE,
)
"""Keys that tell of a machine, its user or the pictures."""
HOST_PATH = re.compile(
    r"(^|[\s\"'(=])(/(home|Users|root|mnt|media|tmp|workspace|content|kaggle)/|[A-Za-z]:[\\/]|\\\\\w)"
)
"""What a value looks like that holds a path of someone's machine, whatever its key."""


def is_private(key: str, value: str) -> bool:
    """Tell whether an entry tells of someone's machine, folders, pictures or captions."""
    return bool(PRIVATE.fullmatch(key)) or bool(HOST_PATH.search(value))


def without_hashes(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata without what is true of the old weights alone."""
    return {key: value for key, value in metadata.items() if key not in (*HASHES, ADAPTER_METADATA)}


def described(
    metadata: Mapping[str, str], modules: Mapping[str, ModuleWeights], family: str | None, title: str
) -> dict[str, str]:
    """Return a LoRA's own metadata, rank, alpha and kind as they are now, and what programs sort by where it lacks that."""
    kept = without_hashes(metadata)
    sizes = _sizes(modules)
    missing = {"modelspec.sai_model_spec": SPEC_VERSION, "modelspec.title": title}
    if family is not None:
        spec = FAMILIES[family].spec
        missing |= {
            "ss_base_model_version": spec.ss_base_model_version,
            "modelspec.architecture": spec.modelspec_architecture,
        }
    return {**missing, **kept, **sizes}


def merged(
    metadatas: Sequence[Mapping[str, str]],
    modules: Mapping[str, ModuleWeights],
    family: str | None,
    *,
    title: str,
    merged_from: str,
) -> dict[str, str]:
    """Return the metadata of what several LoRAs became: what all are of, their triggers, what it was made from."""
    common = {
        key: metadatas[0][key]
        for key in (
            "ss_base_model_version",
            "ss_v2",
            "modelspec.architecture",
            "modelspec.resolution",
            "ss_clip_skip",
        )
        if all(each.get(key) == metadatas[0].get(key) for each in metadatas) and key in metadatas[0]
    }
    triggers = dict.fromkeys(
        trigger for each in metadatas if (trigger := each.get("modelspec.trigger_phrase", "").strip())
    )
    if triggers:
        common["modelspec.trigger_phrase"] = ", ".join(triggers)
    common["modelspec.merged_from"] = merged_from
    return described(common, modules, family, title)


def _sizes(modules: Mapping[str, ModuleWeights]) -> dict[str, str]:
    if not modules:
        return {}
    ranks = {weights.rank for weights in modules.values()}
    alphas = {weights.alpha for weights in modules.values()}
    kinds = {weights.kind.row for weights in modules.values()}
    row = kinds.pop() if len(kinds) == 1 else DEFAULT_KIND
    return {
        "ss_network_module": KINDS[row].network_module,
        "ss_network_dim": str(ranks.pop()) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": f"{alphas.pop():g}" if len(alphas) == 1 else "Dynamic",
    }


def commented(metadata: Mapping[str, str], done: str) -> dict[str, str]:
    """Return metadata whose comment begins with what was done to the weights."""
    before = metadata.get("ss_training_comment", "")
    comment = f"{done}; {before}" if before not in ("", "None") else done
    return {**metadata, "ss_training_comment": comment}


def names_with_strengths(paths: Iterable[Path], strengths: Iterable[float]) -> str:
    """Return files as a reader of `modelspec.merged_from` wants them: `fox (× 0.8), style`."""
    return ", ".join(
        path.stem if strength == 1 else f"{path.stem} (× {strength:g})"
        for path, strength in zip(paths, strengths, strict=True)
    )


# --- for people ------------------------------------------------------------------------------------------


def read_for_people(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what a person asks of a LoRA's metadata, as far as they tell it: trigger, base, dataset, steps, settings."""
    pictures = _number(metadata, "ss_num_train_images")
    found = {
        "title": metadata.get("modelspec.title") or metadata.get("ss_output_name"),
        "trigger": metadata.get("modelspec.trigger_phrase"),
        "base": metadata.get("ss_sd_model_name"),
        "base_version": metadata.get("ss_base_model_version"),
        "architecture": metadata.get("modelspec.architecture"),
        "resolution": metadata.get("modelspec.resolution") or metadata.get("ss_resolution"),
        "steps": _number(metadata, "ss_steps"),
        "epochs": _number(metadata, "ss_epoch"),
        "pictures_with_repeats": pictures,
        "folders": _folders(metadata),
        "tags": _tags(metadata),
        "learning_rate": _number(metadata, "ss_learning_rate"),
        "optimizer": metadata.get("ss_optimizer"),
        "seed": _number(metadata, "ss_seed"),
        "clip_skip": _number(metadata, "ss_clip_skip"),
        "comment": metadata.get("ss_training_comment"),
        "merged_from": metadata.get("modelspec.merged_from"),
        "trainer": metadata.get("modelspec.implementation_version")
        or metadata.get("ss_sd_scripts_commit_hash"),
        "date": metadata.get("modelspec.date"),
    }
    return {name: value for name, value in found.items() if value not in (None, "", "None", {}, [])}


def _number(metadata: Mapping[str, str], key: str) -> float | int | None:
    try:
        value = float(metadata[key])
        return int(value) if value.is_integer() else value
    except (KeyError, ValueError, OverflowError):
        return None


def _folders(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return how many pictures, how often repeated, each folder had."""
    folders = _table(metadata.get("ss_dataset_dirs", "{}"))
    return {
        name: f"{entry.get('img_count')} × {entry.get('n_repeats')}"
        for name, entry in folders.items()
        if isinstance(entry, dict)
    }


MOST_TAGS = 10


def _tags(metadata: Mapping[str, str]) -> list[str]:
    """Return the tags that most captions had, most frequent first."""
    counts: dict[str, int] = {}
    for tags in _table(metadata.get("ss_tag_frequency", "{}")).values():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int):
                counts[str(tag)] = counts.get(str(tag), 0) + count
    return sorted(counts, key=lambda tag: (-counts[tag], tag))[:MOST_TAGS]


def _table(text: str) -> dict[str, Any]:
    try:
        table = parse_json(text)
    except (MaquetteError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
