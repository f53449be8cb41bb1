"""Recommended settings as a run of sd-scripts: STUDY/kohya/ with config.toml, train.sh and, for a flat folder, dataset.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.config import bucket_settings
from maquette.dataset.folders import prefix_of
from maquette.errors import MaquetteError
from maquette.kohya.writing import DATASET_NAME, KohyaRun, kohya_run
from maquette.project.settings import Settings

KOHYA = "kohya"


@dataclass(frozen=True, kw_only=True)
class KohyaExport:
    """The run, or why there is none."""

    run: KohyaRun | None = None
    problem: str = ""


def kohya_export(settings: Settings, folder: Path) -> KohyaExport:
    """Return `settings` as a run of the trainer that sd-scripts has for the base's family; its files will lie in `folder`."""
    from maquette import families

    try:
        info = families.inspect_or_known(settings.model.base)
        spec = families.FAMILIES[info.family].spec
        sides, _ = bucket_settings(
            settings.dataset.resolution,
            min_bucket_px=settings.dataset.min_bucket_px,
            max_bucket_px=settings.dataset.max_bucket_px,
            step_px=settings.dataset.bucket_step_px,
        )
    except MaquetteError as error:
        return KohyaExport(problem=str(error.problems[0]))
    if not spec.training_scripts:
        return KohyaExport(problem=f"sd-scripts has no LoRA trainer for {spec.title}")
    return KohyaExport(
        run=kohya_run(
            settings,
            script=spec.training_scripts[0],
            needs_v2=spec.needs_v2,
            is_kohya_folder=_is_kohya_folder(settings.dataset.images),
            dataset_file=str(folder.resolve() / DATASET_NAME),
            base_says={
                "v_parameterization": info.prediction == "v",
                "zero_terminal_snr": bool(info.zero_terminal_snr),
            },
            buckets=(sides.min_bucket_px, sides.max_bucket_px),
        )
    )


def _is_kohya_folder(images: Path) -> bool:
    return images.is_dir() and any(
        prefix_of(each.name) is not None for each in images.iterdir() if each.is_dir()
    )
