"""Rules about the base model: what the file really is, against script, size, settings, name and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from maquette.dataset.facts import DatasetFacts
from maquette.families import FAMILIES, family_of_script
from maquette.families.names import bare_name, distilled_name, is_plain_base, specs_named
from maquette.families.protocol import FamilySpec, ModelInfo
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.machine import Machine
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.rules.wording import is_sd_scripts, savings

FAR_BELOW, BELOW = 0.72, 0.95
"""Share of the native edge: 512 px on a base of 1024 is far below, 768 (0.75) is the known way out of too little memory."""
ABOVE, FAR_ABOVE = 1.2, 1.6
"""640 and 768 px on a base of 512 are above; 1024 is far above."""
ANIME_NAMES = r"anime|anything|animagine|counterfeit|meina|abyssorange|novelai|(^|[^a-z])nai([^a-z]|$)|waifu"
FLAT_STYLE = r"pixel|8-?bit|16-?bit|sprite|cartoon|flat|vector|cel[- ]?shad|line ?art"
FEW_COLOURS = 64
"""Distinct colours of a picture; a photograph has thousands, 24×24 pixel portraits have 5 to 30."""


def spec_of(info: ModelInfo) -> FamilySpec:
    """Return the constants of the family that `info` names."""
    return FAMILIES[info.family].spec


def _by(info: ModelInfo) -> str:
    """Return how it is known what the base is: a hub model that is not on this machine is known by its name."""
    return "as it is published" if info.source == "hub" and not Path(info.path).exists() else "by its tensors"


def _script_spec(request: TrainingRequest) -> FamilySpec | None:
    return family_of_script(request.script, v2=bool(request.other.get("v2")))


def _script_title(request: TrainingRequest) -> str:
    meant = _script_spec(request)
    return meant.title if meant else "another model"


@rule("MOD001", "script-of-another-family", "error", since="0.2")
def script_of_another_family(request: TrainingRequest, info: ModelInfo, report: Report) -> Iterator[Finding]:
    """The training script is for another family than the base model's tensors.

    Why: train_network.py reads SD 1.x and, with --v2, SD 2.x; sdxl_train_network.py SDXL. The wrong one stops while loading,
    with missing or unexpected keys, after minutes of download or reading. Names mislead: AnythingXL_inkBase.safetensors is SD
    1.5.
    Found by: the names of the tensors in the file (`cond_stage_model.transformer` is SD 1.x, `cond_stage_model.model` SD 2.x,
    `conditioner.embedders` SDXL) against the script's name.
    Do: Use the script of the base's family, and its resolution, or another base.
    Fault: `sdxl_train_network.py` on an SD 1.5 file
    Instead: `train_network.py`
    Source: field notes of a character LoRA on Apple silicon (discovery 1: header inspection, 2.0 GB against 6 to 7 GB).
    """
    meant, real = _script_spec(request), spec_of(info)
    if meant is None or request.script in real.training_scripts:
        return
    yield report(
        request.file,
        request.said("script"),
        f"{request.script} trains {meant.title}, but {bare_name(request.base or info.path)} is {real.title} {_by(info)}.",
        f"Use {real.training_scripts[0]}{' --v2' if real.needs_v2 else ''} with {info.resolution} px, "
        f"or a base model of {meant.title}.",
    )


@rule("MOD002", "name-of-another-family", "hint", since="0.2")
def name_of_another_family(
    request: TrainingRequest, info: ModelInfo | None, report: Report
) -> Iterator[Finding]:
    """The base model's name sounds like another family than the one it is trained as.

    Why: An "XL" in a name can be a series name: AnythingXL_inkBase is SD 1.5. Who believes the name chooses the wrong script
    and resolution, and later the wrong base to draw with.
    Found by: the file's or hub model's name, against the tensors of the file, or against the script where the file is not
    at hand. Only tensors prove what it is.
    Do: Nothing, where file and script agree; remember it when drawing. Where the file is not here, look into it first:
    `maquette check BASE.safetensors`.
    Fault: `dreamXL.safetensors` that holds SD 1.5
    Instead: nothing, once you know; draw with the family it is
    Source: field notes of a character LoRA on Apple silicon (AnythingXL_inkBase.safetensors).
    """
    base = request.base or (info.path if info is not None else "")
    named = specs_named(base)
    meant = spec_of(info) if info is not None else _script_spec(request)
    if len(named) != 1 or meant is None or named[0].name == meant.name:
        return
    if info is not None:
        script = _script_spec(request)
        if script is not None and script.name != meant.name:
            return
        message = (
            f"{bare_name(base)} is {meant.title} {_by(info)}, though its name sounds like {named[0].title}."
        )
        remedy = f"Treat it as {meant.title}: {info.resolution} px, in training and in drawing."
    else:
        message = (
            f"{bare_name(base)} sounds like {named[0].title}, and {request.script} trains {meant.title}."
        )
        remedy = "Look into the file before training: maquette check " + base
    yield report(request.file, request.said("base"), message, remedy)


@rule("MOD003", "resolution-below-family", "warning", since="0.2")
def resolution_below_family(
    request: TrainingRequest,
    info: ModelInfo,
    facts: DatasetFacts | None,
    machine: Machine | None,
    report: Report,
) -> Iterator[Finding]:
    """The training resolution is below the base model's own.

    Why: SDXL learned pictures of 1024 px. Trained at 512 px it forgets fine structure: faces and hands become soft, and
    figures are cut as the small crops were. 768 px is the known way out of too little memory, at some loss of detail.
    Found by: the square root of width × height against the resolution that the model states, or its family's (512 for SD
    1.x, 1024 for SDXL). A warning below 72 % of it (512 on SDXL), a hint up to 95 % (768 on SDXL).
    Do: Train at the native resolution, with gradient checkpointing and cached latents if memory is short; 768 next.
    Fault: `--resolution=512,512` on SDXL
    Instead: `--resolution=1024,1024`
    Source: field notes of film-frame LoRAs (SDXL at 1024 on 16 GB, 768 if it does not fit); SDXL's paper.
    """
    for place, width, height in _resolutions(request, facts):
        share = (width * height) ** 0.5 / info.resolution
        if share >= BELOW:
            continue
        spec = spec_of(info)
        yield report(
            request.file,
            place,
            f"{width}×{height} is {share:.0%} of the {info.resolution} px that {spec.title} was trained at"
            + (": fine structure suffers." if share < FAR_BELOW else ", a known way to save memory."),
            f"Use {info.resolution},{info.resolution}{_if_memory_is_short(request, machine)}.",
            severity=None if share < FAR_BELOW else "hint",
        )


def _if_memory_is_short(request: TrainingRequest, machine: Machine | None) -> str:
    free = savings(request, machine) if machine is not None else ""
    return f"; if memory is short, with {free}" if free else ""


@rule("MOD004", "resolution-above-family", "warning", since="0.2")
def resolution_above_family(
    request: TrainingRequest, info: ModelInfo, facts: DatasetFacts | None, report: Report
) -> Iterator[Finding]:
    """The training resolution is far above the base model's own.

    Why: SD 1.5 composes at 512 px. At 1024 it repeats itself (two heads, doubled bodies), a step costs four times the time
    and more memory, and the LoRA learns to cope with that, not the subject.
    Found by: the square root of width × height against the model's own resolution: a hint from 120 % (640 or 768 px on SD
    1.5, which many models stand), a warning from 160 % (1024 px).
    Do: Train at the native resolution, or take a base model that is made for the larger one.
    Fault: `--resolution=1024,1024` on SD 1.5
    Instead: `--resolution=512,512`
    Source: field notes of film-frame LoRAs (512 for SD 1.5, 1024 for SDXL); SD 1.5's model card.
    """
    for place, width, height in _resolutions(request, facts):
        share = (width * height) ** 0.5 / info.resolution
        if share < ABOVE:
            continue
        spec = spec_of(info)
        yield report(
            request.file,
            place,
            f"{width}×{height} is {share:.0%} of the {info.resolution} px that {spec.title} was trained at"
            + (": it repeats itself at that size." if share >= FAR_ABOVE else "."),
            f"Use {info.resolution},{info.resolution}, or a base model made for more.",
            severity=None if share >= FAR_ABOVE else "hint",
        )


def _resolutions(request: TrainingRequest, facts: DatasetFacts | None) -> Iterator[tuple[str, int, int]]:
    """Yield (place, width, height) of each resolution in force: a dataset TOML's own stand before the command's."""
    own = set()
    if facts is not None and facts.is_toml:
        sizes = {source.resolution_wh for source in facts.plan.datasets if source.resolution_wh is not None}
        own = {(f"{facts.root.name}: resolution", *each) for each in sizes}
    if own:
        yield from sorted(own)
    elif request.resolution_wh is not None:
        yield (request.said("resolution_wh"), *request.resolution_wh)
        for size_wh in request.more_resolutions_wh or ():
            yield (request.said("more_resolutions_wh"), *size_wh)


@rule("MOD005", "clip-skip-against-family", "warning", since="0.2")
def clip_skip_against_family(request: TrainingRequest, info: ModelInfo, report: Report) -> Iterator[Finding]:
    """The clip skip is not the one that the base model is used with.

    Why: It decides which text layer conditions the picture. SDXL is built for its last but one and knows no other; a value is
    ignored by sd-scripts with a warning. Anime models of SD 1.5 were trained at 2 and drawn at 2: a LoRA trained at 1 fits
    them less. Above 2 the text says ever less.
    Found by: any other clip_skip than 2 on a family whose clip skip is fixed (an error in Maquette), none or 1 on an SD 1.x
    base with an anime model's name (a hint), 3 or more elsewhere.
    Do: Leave it out for SDXL; use 2 for anime models of SD 1.5, 1 for others; draw with the same value.
    Fault: `--clip_skip=4`
    Instead: `--clip_skip=2` for anime models of SD 1.5, 1 for others
    Source: field notes of a character LoRA on an Anything model (clip skip 2 in training and drawing); sd-scripts 48d368fa:
    'clip_skip will be unexpected' on SDXL.
    """
    spec, asked = spec_of(info), request.clip_skip
    option = spec.option("clip_skip")
    if option is None:
        return
    where = (request.file, request.said("clip_skip"))
    if option.fixed:
        if asked not in (None, option.default):
            yield report(
                *where,
                f"clip_skip {asked} with {spec.title}: {option.default} is the only one this family has.",
                "Remove it.",
                severity="error" if request.trainer == "maquette" else None,
            )
        return
    in_force = asked if asked is not None else option.default
    if in_force > 2:
        yield report(
            *where,
            f"clip_skip {in_force}: this text layer says little; models of this family are drawn with 1 or 2.",
            "Use 1, or 2 for anime models.",
        )
    elif in_force == 1 and re.search(f"(?i){ANIME_NAMES}", bare_name(request.base or info.path)):
        yield report(
            *where,
            f"{bare_name(request.base or info.path)} sounds like an anime model, which are trained and drawn with clip skip 2; "
            "1 is in force.",
            "Use clip_skip 2, and draw with the same.",
            severity="hint",
        )


@rule("MOD006", "prediction-against-model", "error", since="0.2")
def prediction_against_model(request: TrainingRequest, info: ModelInfo, report: Report) -> Iterator[Finding]:
    """A v-prediction model is trained as if it predicted noise, or the reverse.

    Why: The loss then pulls towards the wrong target from the first step: the LoRA undoes the base, pictures become noise or
    grey. It costs the whole run, and the loss looks ordinary.
    Found by: the file's marker tensor `v_pred`, its metadata or its scheduler's configuration, against --v_parameterization;
    `ztsnr` against --zero_terminal_snr (a warning). Where a file says nothing it counts as noise-predicting, so the reverse
    is a warning. Maquette reads it from the file; a `prediction` in its settings that says otherwise is a warning, and what
    counts is measured before the first step.
    Do: Add `--v_parameterization` (and `--zero_terminal_snr` where the model was trained so), or remove it.
    Fault: a v-prediction base without `--v_parameterization`
    Instead: `--v_parameterization`
    Source: sd-scripts 48d368fa (v_parameterization is never detected); the markers that v-prediction models of SDXL carry.
    """
    name = bare_name(request.base or info.path)
    if request.trainer == "maquette" and info.prediction_stated not in (None, info.prediction):
        yield report(
            request.file,
            request.said("v_parameterization"),
            f'prediction = "{info.prediction}", but {name} says of itself that it predicts {info.prediction_stated}.',
            "Remove it, unless you know that the file is wrong.",
            severity="warning",
        )
    if request.trainer != "sd-scripts":
        return
    asked = bool(request.value("v_parameterization"))
    if info.prediction == "v" and not asked:
        also = " and --zero_terminal_snr" if info.zero_terminal_snr and not request.zero_terminal_snr else ""
        yield report(
            request.file,
            request.said("v_parameterization"),
            f"{name} predicts v, but would be trained as if it predicted noise: the whole run pulls the wrong way.",
            f"Add --v_parameterization{also}.",
        )
    elif info.prediction != "v" and asked:
        yield report(
            request.file,
            request.said("v_parameterization"),
            f"--v_parameterization is given, but nothing in {name} says that it predicts v.",
            "Remove it, unless the model's page says that it is a v-prediction model.",
            severity="warning",
        )
    elif info.zero_terminal_snr and asked and not request.value("zero_terminal_snr"):
        yield report(
            request.file,
            request.said("zero_terminal_snr"),
            f"{name} was trained with zero terminal SNR, and would be trained without: dark and bright pictures suffer.",
            "Add --zero_terminal_snr.",
            severity="warning",
        )


@rule("MOD007", "settings-of-another-family", "warning", since="0.2")
def settings_of_another_family(
    request: TrainingRequest, info: ModelInfo, report: Report
) -> Iterator[Finding]:
    """A setting belongs to another family than the base model's.

    Why: `--v2` makes sd-scripts build SD 2.x and stops on an SD 1.x or SDXL file; without it an SD 2.x file stops it. Learning
    rates for more text encoders than there are go to nobody. Captions cached for two encoders exist only with SDXL.
    Found by: --v2 on another family, or none on SD 2.x (errors); more text encoder rates than the base has encoders; cached
    text encoder outputs with a base of one encoder.
    Do: Remove the setting; on SD 2.x add --v2.
    Fault: `--v2` on SD 1.5
    Instead: the command without it
    Source: sd-scripts 48d368fa (train_network.py, sdxl_train_network.py, library/sdxl_train_util.py).
    """
    spec = spec_of(info)
    v2 = bool(request.other.get("v2"))
    if v2 and not spec.needs_v2:
        yield report(
            request.file,
            "--v2",
            f"--v2 means Stable Diffusion 2, and the base is {spec.title}.",
            "Remove --v2.",
            severity="error",
        )
    elif spec.needs_v2 and not v2 and request.script in spec.training_scripts and is_sd_scripts(request):
        also = (
            " and --v_parameterization" if info.prediction == "v" and not request.v_parameterization else ""
        )
        yield report(
            request.file,
            request.said("script"),
            f"The base is {spec.title}, and sd-scripts builds {_script_title(request)} without --v2.",
            f"Add --v2{also}.",
            severity="error",
        )
    rates = request.text_encoder_lrs or ()
    if len(rates) > info.text_encoders:
        yield report(
            request.file,
            request.said("text_encoder_lrs"),
            f"{len(rates)} text encoder rates for {info.text_encoders} text encoder of {spec.title}.",
            "Give one.",
        )
    if (
        is_sd_scripts(request)
        and request.value("cache_text_encoder_outputs")
        and info.text_encoders == 1
        and request.script not in spec.training_scripts
    ):
        yield report(
            request.file,
            request.said("cache_text_encoder_outputs"),
            f"{spec.title} has no cached text encoder outputs in sd-scripts.",
            "Remove it.",
        )


@rule("MOD008", "base-against-style", "hint", since="0.2")
def base_against_style(
    request: TrainingRequest,
    info: ModelInfo,
    profile: Profile | None,
    facts: DatasetFacts | None,
    report: Report,
) -> Iterator[Finding]:
    """A photographic base model may keep drawing photographs, however long a flat style is trained.

    Why: A project trained 203 pixel-art portraits on plain SD 1.5 at rank 32: all epochs, 1 to 9, drew realistic babies. The
    same pictures and captions went to SDXL at rank 128 next. Nobody can say beforehand that it must fail; its sign is early.
    Found by: a base with the name of SD 1.5's own release, or one that says realistic or photo, together with pictures that
    are enlarged pixel art or have at most 64 colours (half of them or more), or a profile whose style words say pixel,
    cartoon, flat and the like.
    Do: Draw samples at the first checkpoint. If they are photographs after a fifth of the steps, stop and take a base that
    already draws the style, or SDXL with a higher rank; more epochs did not help.
    Fault: pixel art on `v1-5-pruned.safetensors`
    Instead: a base made for drawings, and samples at the first checkpoint
    Source: field notes of a pixel-art LoRA (SD 1.5: complete failure in nine of nine epochs).
    """
    if not is_plain_base(spec_of(info), request.base or info.path):
        return
    reason = _flat_pictures(facts) or _flat_words(profile)
    if reason is None:
        return
    yield report(
        request.file,
        request.said("base"),
        f"{bare_name(request.base or info.path)} is made for photographs, and {reason}: it may draw photographs in every epoch.",
        "Watch the samples of the first checkpoint; if they are photographs, take a base that draws this style, or a larger "
        "family with a higher rank.",
    )


def _flat_pictures(facts: DatasetFacts | None) -> str | None:
    measured = [picture.measures for picture in facts.pictures if picture.is_sound] if facts else []
    flat = [each for each in measured if each.grid_px > 1 or 0 < each.num_colours <= FEW_COLOURS]
    if not measured or 2 * len(flat) < len(measured):
        return None
    return f"{len(flat)} of {len(measured)} pictures are pixel art or have few colours"


def _flat_words(profile: Profile | None) -> str | None:
    words = next(
        (word for word in (profile.style if profile else ()) if re.search(f"(?i){FLAT_STYLE}", word)), None
    )
    return f"the profile's style is '{words}'" if words else None


@rule("MOD009", "distilled-base", "warning", since="0.2")
def distilled_base(request: TrainingRequest, info: ModelInfo | None, report: Report) -> Iterator[Finding]:
    """The base model was distilled to draw in a few steps (Turbo, Lightning, LCM, Hyper, DMD): LoRAs trained on it break that.

    Why: Such a model answers every timestep with a guess of the finished picture that is already guided. Training as on an
    ordinary base pulls it back to unguided, many-step answers: with few steps pictures become soft, with many and guidance
    they burn. A LoRA of the undistilled base works on its distilled children.
    Found by: a denoiser that embeds the guidance scale, a scheduler of the kind (LCM, TCD), a title or description that says it,
    else the words Turbo, Lightning, LCM, Hyper, DMD or TCD in the name. A merge under another name is not seen.
    Do: Train on the model that it was made from, and draw with the distilled one and its few steps.
    Fault: `dreamshaperXL_v21TurboDPMSDE.safetensors` as a base
    Instead: the version without Turbo, or the family's own base
    Source: the model cards of SDXL-Lightning, Hyper-SD and LCM (steps and guidance they are made for); arXiv:2311.05556 (a
    LoRA of the base and the acceleration are added to each other).
    """
    name = request.base or (info.path if info is not None else "")
    word = distilled_name(name)
    reason = info.distilled if info is not None else f"its name says '{word}'" if word else ""
    if not reason:
        return
    spec = spec_of(info) if info is not None else _script_spec(request)
    instead = f", or on {spec.hub_names[0]}" if spec is not None and spec.hub_names else ""
    yield report(
        request.file,
        request.said("base"),
        f"{bare_name(name)} is distilled to draw in a few steps ({reason}): training on it undoes that.",
        f"Train on the version that it was distilled from{instead}; the LoRA then works on both.",
    )
