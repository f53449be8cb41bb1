"""Rules about what happens to pictures and captions at each showing."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.dataset.buckets import face_in_name
from maquette.dataset.facts import DatasetFacts, FolderFact
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.wording import is_sd_scripts

DEFAULT_MIN = 1
"""token_warmup_min where nobody says it."""


@rule("SET031", "showing-option-idle", "warning", since="0.2")
def showing_option_idle(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """An option about how pictures or captions are shown changes nothing.

    Why: face_crop_aug_range crops only where buckets are off, and only pictures whose name tells where the face is; whoever
    sets it beside buckets trains whole pictures. In sd-scripts it does nothing beside cached latents either.
    token_warmup_min says with how many parts a warm-up begins that token_warmup_step has to ask for.
    Found by: face_crop_aug_range with buckets on, with cached latents in sd-scripts, or over a folder without a single name
    like name_x_y_w_h; token_warmup_min other than 1 with token_warmup_step 0. In settings, a command or a dataset TOML.
    Do: Leave it out, or switch on what it needs.
    Fault: `face_crop_aug_range = [2.0, 4.0]` with buckets
    Instead: the same with `bucketing = false`, and pictures named fox_120_80_64_64.png
    Source: sd-scripts 48d368fa, train_util.py __getitem__, crop_target, process_caption.
    """
    told: dict[tuple[str, str], str] = {}
    for folder in facts.used_folders:
        for name, why in _idle(folder, facts, request):
            told.setdefault((name, why), folder.path.name)
    for (name, why), where in told.items():
        asked = request if request is not None and getattr(request, name) is not None else None
        place, said = (asked.file, asked.said(name)) if asked is not None else (facts.root, name)
        message = f"{name} has no effect in {where}: {why}."
        yield report(place, said, message, "Leave it out, or switch on what it needs.")


def _idle(
    folder: FolderFact, facts: DatasetFacts, request: TrainingRequest | None
) -> Iterator[tuple[str, str]]:
    """Yield (option, why it does nothing) of one folder."""
    assert folder.subset is not None, "used folders have a subset"
    options = folder.subset.options
    if options.face_crop_aug_range is not None:
        source = facts.plan.datasets[folder.subset.dataset]
        asked = request.value("enable_bucket") if request is not None else None
        if source.enable_bucket if source.enable_bucket is not None else asked:
            yield "face_crop_aug_range", "buckets are on, and whole pictures are fitted to them"
        elif request is not None and is_sd_scripts(request) and request.value("cache_latents"):
            yield "face_crop_aug_range", "latents are cached, from the middle of each picture"
        elif not any(face_in_name(path) for path in folder.files):
            yield "face_crop_aug_range", "no picture is named like name_x_y_w_h after its face"
    if options.token_warmup_min != DEFAULT_MIN and not options.token_warmup_step:
        yield "token_warmup_min", "token_warmup_step is 0, so captions are whole from the first step"
