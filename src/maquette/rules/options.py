"""Rules about options among themselves: what excludes, overrules or repeats another."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.families.names import bare_name
from maquette.families.protocol import NOISE_PREDICTIONS, ModelInfo
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.kohya.names import LYCORIS, idle_network_arguments, network_arguments
from maquette.project.idle import follows_schedule, idle_objective
from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import SETTING_OF_OTHER, default_of
from maquette.project.schedules import facts_of, idle_schedule
from maquette.project.values import is_class_path
from maquette.rules.wording import is_sd_scripts, joined, number

RESTARTS = "cosine_with_restarts"
WITHOUT_WARMUP = ("constant", "adafactor", "piecewise_constant")

Conflict = tuple[str, str, str]
"""(where, what is wrong, what to do)"""


@rule("SET012", "conflicting-options", "error", since="0.2")
def conflicting_options(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """Two options exclude each other: the run would stop, most of the time after everything was loaded.

    Why: sd-scripts notices many of these only after it has read the base and the pictures: minutes, on a rented machine paid
    ones. It answers with an AssertionError or with a TypeError at the first sample.
    Found by: the conditions of sd-scripts' own code: cached latents with color_aug or random_crop; cached text encoder outputs
    with shuffled, dropped or warmed-up captions, or while training the text encoder; full_fp16, full_bf16 and fp8_base
    without their mixed precision; two optimizers at once; fused_backward_pass without Adafactor or with accumulation;
    adaptive_noise_scale without noise_offset; scale_v_pred_loss_like_noise_pred without, v_pred_like_loss with
    v_parameterization; persistent data loader workers with none; samples every N steps without prompts; buckets that exclude
    the resolution.
    In Maquette: steps with epochs, conv_alpha without conv_rank, cache_folder without cache_latents, adaptive_noise_scale without
    noise_offset, an average of the weights with an optimizer that averages them.
    Do: What the message says.
    Fault: `--cache_latents --random_crop`
    Instead: `--cache_latents`
    Source: sd-scripts 48d368fa (train_network.py, sdxl_train_network.py, library/train_util.py); sd-scripts#886.
    """
    found = _sd_scripts_conflicts(request) if is_sd_scripts(request) else _maquette_conflicts(request)
    for place, message, remedy in found:
        yield report(request.file, place, message, remedy)


def _maquette_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    if request.steps and request.epochs:
        given = f"steps {request.steps}, epochs {request.epochs}: one of them decides the length."
        yield "[training] steps and epochs", given, "Remove one."
    if request.conv_alpha is not None and request.conv_rank is None:
        yield (
            request.said("conv_alpha"),
            f"{number(request.conv_alpha)} without conv_rank.",
            "Set conv_rank too.",
        )
    if request.other.get("adaptive_noise_scale") is not None and not request.noise_offset:
        given = "adaptive_noise_scale without noise_offset, which it changes."
        yield request.said("adaptive_noise_scale"), given, "Set noise_offset too."
    optimizer = str(request.value("optimizer") or "")
    if request.other.get("ema_decay") is not None and optimizer.lower().endswith("schedulefree"):
        given = f"ema_decay with {optimizer}, which averages the weights itself."
        yield request.said("ema_decay"), given, "Remove it, or use another optimizer."
    if request.cache_folder is not None and request.cache_latents is False:
        given = "A cache folder is given with cache_latents off."
        yield request.said("cache_folder"), given, "Turn it on, or remove cache_folder."


def _sd_scripts_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    yield from _cache_conflicts(request)
    yield from _precision_conflicts(request)
    yield from _optimizer_conflicts(request)
    yield from _loss_conflicts(request)
    yield from _other_conflicts(request)


def _cache_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    other = request.other
    if request.value("cache_latents") or request.value("cache_latents_to_disk"):
        for name in ("color_aug", "random_crop"):
            if request.value(name):
                given = f"{name} changes the picture at every step, and latents are cached once: sd-scripts stops."
                yield request.said(name), given, f"Remove --{name}, or --cache_latents."
    if request.value("cache_text_encoder_outputs") or other.get("cache_text_encoder_outputs_to_disk"):
        place = request.said("cache_text_encoder_outputs")
        changing = [
            name
            for name, is_on in (
                ("shuffle_caption", request.value("shuffle_caption")),
                ("caption_dropout_rate", request.value("caption_dropout_rate")),
                ("caption_tag_dropout_rate", request.value("caption_tag_dropout_rate")),
                ("token_warmup_step", request.value("token_warmup_step")),
            )
            if is_on
        ]
        if changing:
            given = f"Text encoder outputs are cached once, but {joined(changing)} changes captions: sd-scripts stops."
            yield place, given, f"Remove {joined('--' + name for name in changing)}, or the cache."
        if not other.get("network_train_unet_only"):
            given = "Text encoder outputs are cached, but the text encoders are trained: sd-scripts stops."
            yield place, given, "Add --network_train_unet_only, or remove the cache."


def _precision_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    precision, other = request.value("precision"), request.other
    for name, needed in (("full_fp16", "fp16"), ("full_bf16", "bf16")):
        if other.get(name) and precision != needed:
            given = f"{name} with mixed_precision {precision}: sd-scripts stops."
            yield (
                request.said("full_precision"),
                given,
                f"Use --mixed_precision={needed}, or remove --{name}.",
            )
    if (other.get("fp8_base") or other.get("fp8_base_unet")) and precision == "no":
        given = "fp8_base without mixed precision: sd-scripts stops."
        yield request.said("full_precision"), given, "Use --mixed_precision=bf16."


def _optimizer_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    other, place = request.other, request.said("optimizer")
    short = [name for name in ("use_8bit_adam", "use_lion_optimizer") if other.get(name)]
    given_too = request.optimizer not in (None, "adamw8bit", "lion") if len(short) == 1 else False
    if len(short) == 2 or given_too:
        both = joined([*short, *([f"optimizer_type {request.optimizer}"] if given_too else [])])
        yield (
            place,
            f"Two optimizers are asked for, {both}: sd-scripts stops.",
            "Keep --optimizer_type alone.",
        )
    if other.get("fused_backward_pass"):
        if request.value("optimizer") != "adafactor":
            yield "--fused_backward_pass", "It works with Adafactor only.", "Remove it, or use Adafactor."
        elif (request.value("accumulation") or 1) > 1:
            yield (
                "--fused_backward_pass",
                "It does not work with gradient accumulation.",
                "Remove one of them.",
            )


def _loss_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    other = request.other
    predicts_v = bool(request.value("v_parameterization"))
    if other.get("adaptive_noise_scale") is not None and request.noise_offset is None:
        yield (
            "--adaptive_noise_scale",
            "adaptive_noise_scale without noise_offset: sd-scripts stops.",
            "Add --noise_offset.",
        )
    if other.get("scale_v_pred_loss_like_noise_pred") and not predicts_v:
        given = "scale_v_pred_loss_like_noise_pred without v_parameterization: sd-scripts stops."
        yield "--scale_v_pred_loss_like_noise_pred", given, "Remove it."
    if other.get("v_pred_like_loss") and predicts_v:
        given = "v_pred_like_loss with v_parameterization: sd-scripts stops."
        yield "--v_pred_like_loss", given, "Remove it."


def _other_conflicts(request: TrainingRequest) -> Iterator[Conflict]:
    other = request.other
    if other.get("persistent_data_loader_workers") and other.get("max_data_loader_n_workers") == 0:
        given = "Persistent workers with no workers: the data loader stops with a ValueError."
        yield "--persistent_data_loader_workers", given, "Remove it, or use one worker."
    for name in ("sample_every_steps", "sample_every_epochs"):
        if getattr(request, name) and not request.sample_prompts:
            given = (
                "Samples are asked for without prompts: sd-scripts stops with a TypeError at the first one."
            )
            yield request.said(name), given, "Add --sample_prompts=prompts.txt, or remove it."
            break
    if request.value("enable_bucket") and request.resolution_wh and not request.value("bucket_no_upscale"):
        shortest, longest = request.value("min_bucket_px"), request.value("max_bucket_px")
        if min(request.resolution_wh) < shortest:
            given = f"Buckets begin at {shortest} px, above the resolution {min(request.resolution_wh)}: sd-scripts stops."
            yield (
                request.said("min_bucket_px"),
                given,
                f"Use --min_bucket_reso={min(request.resolution_wh) // 2}.",
            )
        if max(request.resolution_wh) > longest:
            given = f"Buckets end at {longest} px, below the resolution {max(request.resolution_wh)}: sd-scripts stops."
            yield (
                request.said("max_bucket_px"),
                given,
                f"Use --max_bucket_reso={2 * max(request.resolution_wh)}.",
            )


@rule("SET013", "conflicting-schedule", "error", since="0.2")
def conflicting_schedule(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """The learning rate's schedule and its parameters exclude each other.

    Why: `constant` with a warm-up ends sd-scripts with `ValueError: constant does not require num_warmup_steps`, after the base
    was loaded; so does a decay-only schedule without its numbers. Elsewhere the parameter would be ignored, and the run is not
    the one that was meant: Maquette ignores nothing.
    Found by: a warm-up with constant (or a scheduler of another library); in Maquette also constant_with_warmup without
    warm-up, cycles without cosine_with_restarts, a power without polynomial.
    Do: Use constant_with_warmup for a warm-up, cosine_with_restarts for cycles.
    Fault: `--lr_scheduler=constant --lr_warmup_steps=100`
    Instead: `--lr_scheduler=constant_with_warmup --lr_warmup_steps=100`
    Source: sd-scripts 48d368fa, library/train_util.py (get_scheduler_fix).
    """
    name = request.value("scheduler") or "constant"
    warm = request.value("warmup_steps") or 0
    free = str(request.value("optimizer") or "").endswith("schedulefree")
    of_a_class = request.other.get("lr_scheduler_type") or is_class_path(name)
    if warm and not free and (name in WITHOUT_WARMUP or of_a_class):
        yield report(
            request.file,
            request.said("warmup_steps"),
            f"{number(warm)} warm-up steps with the schedule {name}, which does not warm up.",
            "Use constant_with_warmup.",
        )
    if is_sd_scripts(request):
        return
    if name == "constant_with_warmup" and not warm:
        yield report(
            request.file,
            request.said("scheduler"),
            "constant_with_warmup without warmup_steps.",
            "Set it, or use constant.",
        )
    for place, given, remedy in _without_effect_on_schedule(request):
        yield report(request.file, place, given, remedy)


def _without_effect_on_schedule(request: TrainingRequest) -> Iterator[Conflict]:
    name, power = request.value("scheduler") or "constant", request.other.get("lr_scheduler_power", 1.0)
    cycles = request.value("cycles") or 1
    if cycles > 1 and "lr_cycles" not in facts_of(name).heeds:
        given = f"{cycles} cycles with the schedule {name}: only {RESTARTS} has cycles."
        yield request.said("cycles"), given, f"Use {RESTARTS}, or remove it."
    if power != 1.0 and name != "polynomial":
        place = request.spelling.get("lr_scheduler_power", "lr_power")
        given = f"A power of {number(power)} with the schedule {name}: only polynomial has one."
        yield place, given, "Use polynomial, or remove it."
    for option in ("lr_decay_steps", "lr_scheduler_timescale", "lr_scheduler_min_lr_ratio"):
        setting = SETTING_OF_OTHER[option]
        value = request.other.get(option)
        if value and setting not in facts_of(name).heeds:
            why = idle_schedule({setting: value}, name)[setting]
            yield request.spelling.get(option, option), f"No effect: {why}.", "Remove it."


@rule("SET014", "overruled-options", "warning", since="0.2")
def overruled_options(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """An option has no effect, because another one overrules it.

    Why: The run is not the one that its author thinks it is; comparisons with other runs mislead.
    Found by: sd-scripts: a text encoder rate with network_train_unet_only; two kinds of attention at once (mem_eff_attn before
    xformers before sdpa); cycles or power without their schedule; rates for Adafactor with relative steps; a schedule for a
    schedule-free optimizer; samples by steps beside samples by epochs; zero_terminal_snr without v_parameterization, which
    trains towards the wrong target at the last timestep.
    Also arguments that the network module never asks for, such as algo=loha with networks.lora, which trains a plain LoRA.
    In both trainers: a threshold without a Huber loss, a discount without multires noise, a random strength without the noise.
    Do: Remove what has no effect, or what overrules it.
    Fault: `--xformers --sdpa`
    Instead: `--sdpa`
    Source: sd-scripts 48d368fa (train_network.py, library/train_util.py).
    """
    of_sd_scripts = (*_overruled(request), *_without_effect_on_schedule(request)) * is_sd_scripts(request)
    for place, given, remedy in (*of_sd_scripts, *_idle_objective(request), *_idle_schedule(request)):
        yield report(request.file, place, given, remedy)


def _idle_schedule(request: TrainingRequest) -> Iterator[Conflict]:
    optimizer = str(request.value("optimizer") or "")
    ends = request.scheduler in (None, "constant", "adafactor") or not request.wrote("scheduler")
    if not ends and not follows_schedule(optimizer, request.optimizer_args):
        given = f"{optimizer} follows no schedule: {request.scheduler} has no effect."
        yield request.said("scheduler"), given, "Remove it."


def _idle_objective(request: TrainingRequest) -> Iterator[Conflict]:
    values = {**request.other, "noise_offset": request.noise_offset}
    for name, why in idle_objective(values).items():
        # A missing offset is a conflict, and programs that save every option write the defaults too.
        if name == "adaptive_noise_scale" or values[name] in (
            None,
            False,
            default_of(SETTING_OF_OTHER[name]),
        ):
            continue
        place = request.spelling.get(name, f"--{name}")
        yield place, f"{name} has no effect: {why}.", "Remove it, or set what it belongs to."


def _overruled(request: TrainingRequest) -> Iterator[Conflict]:
    other, optimizer = request.other, str(request.value("optimizer") or "")
    if other.get("network_train_unet_only") and any(request.text_encoder_lrs or ()):
        given = "A text encoder rate is given, but only the U-Net is trained."
        yield request.said("text_encoder_lrs"), given, "Remove it, or --network_train_unet_only."
    kinds = [name for name in ("mem_eff_attn", "xformers", "sdpa") if other.get(name)]
    if len(kinds) > 1:
        given = f"{joined('--' + kind for kind in kinds)} are given: only {kinds[0]} is used."
        yield request.said("attention"), given, "Keep one; --sdpa works everywhere."
    relative = optimizer == "adafactor" and request.optimizer_args.get("relative_step", "True") == "True"
    if relative and (request.unet_lr or request.text_encoder_lrs):
        given = "Adafactor with relative steps ignores the rates of U-Net and text encoder."
        remedy = 'Add --optimizer_args "relative_step=False", or remove the rates.'
        yield request.said("optimizer"), given, remedy
    idle = idle_network_arguments(request.network_module, network_arguments(other))
    if idle:
        remedy = (
            f"Use --network_module={LYCORIS}, or remove it."
            if "algo" in idle
            else "Correct the name, or remove it."
        )
        given = f"{joined(idle)} in network_args {'is' if len(idle) == 1 else 'are'} never looked at by {request.network_module}."
        yield "--network_args", given, remedy
    if request.sample_every_steps and request.sample_every_epochs:
        given = "Samples by steps have no effect beside samples by epochs."
        yield request.said("sample_every_steps"), given, "Remove one of them."
    if request.zero_terminal_snr and not request.value("v_parameterization"):
        given = "zero_terminal_snr without v_parameterization: at the last timestep there is nothing to predict noise from."
        yield (
            request.said("zero_terminal_snr"),
            given,
            "Remove it, or add --v_parameterization if the base predicts v.",
        )


@rule("SET015", "unreadable-value", "error", since="0.2")
def unreadable_value(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """A value or line cannot be what the trainer needs there.

    Why: It stops at once, or with a message that names no option: `resolution = 512` in a --config_file ends in
    `AttributeError: 'int' object has no attribute 'split'`, after which one project gave up TOML files altogether. A missing
    backslash cuts a command in two, and the second half is never read.
    Found by: the kind of value that each option of sd-scripts takes, from a command line (text, converted) or a --config_file
    (taken as it is), its lists of choices, and the names that it looks up when it runs: optimizers, schedules, network
    modules, the algorithms and presets of LyCORIS, arguments that are no NAME=VALUE. Modules of other packages are not judged.
    Do: What the message says: `resolution = "512,512"` in a --config_file, `resolution = 512` in a dataset TOML.
    Fault: `resolution = 512` in a --config_file
    Instead: `resolution = "512,512"`
    Source: field notes of a pixel-art LoRA ('TOML format error'); sd-scripts 48d368fa (prepare_dataset_args);
    sd-scripts#952, SimpleTuner#988 (resolution parsing).
    """
    for problem in request.problems:
        message = f"{problem.given}; required: {problem.required}."
        yield report(request.file, problem.where, message[:1].upper() + message[1:], problem.remedy)


@rule("SET016", "unknown-option", "error", since="0.2")
def unknown_option(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """An option does not exist: misspelt, of another trainer, or of another version.

    Why: On a command line sd-scripts stops at once with 'unrecognized arguments'. In a --config_file it takes no notice, and the
    run goes on with the default: a misspelt learning rate trains at 2e-6.
    Found by: the options of train_network.py and sdxl_train_network.py; options of other scripts are not judged. An error on a
    command line, a warning in a TOML.
    Do: Correct the name; the nearest one is named.
    Fault: `--learnig_rate=1e-4`
    Instead: `--learning_rate=1e-4`
    Source: sd-scripts 48d368fa (196 options); kohya_ss#3264 (settings dropped in silence).
    """
    for option in request.unknown_options:
        on_command_line = option.startswith("--")
        name, _, guess = option.partition(" (")
        yield report(
            request.file,
            name,
            f"The trainer has no option {name}: "
            + ("it stops there." if on_command_line else "it is ignored, and the default is in force."),
            _capital(guess.rstrip(")"))
            if guess
            else "Remove it, or look for its name in this version of the trainer.",
            severity=None if on_command_line else "warning",
        )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@rule("SET017", "repeated-option", "warning", since="0.2")
def repeated_option(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """An option is given more than once: the last one counts.

    Why: Long commands grow by copying, and the value that is read first is not the one in force.
    Found by: the same option twice in one command or one --config_file.
    Do: Keep one.
    Fault: `--seed=1 … --seed=2`
    Instead: `--seed=2`
    Source: sd-scripts 48d368fa (Python's argparse: the last value wins).
    """
    for option in dict.fromkeys(request.repeated_options):
        yield report(
            request.file, option, f"{option} is given more than once: the last one counts.", "Keep one."
        )


@rule("SET026", "loss-of-another-prediction", "error", since="0.2")
def loss_of_another_prediction(
    request: TrainingRequest, info: ModelInfo, report: Report
) -> Iterator[Finding]:
    """A weight of the loss belongs to another prediction than the base model's.

    Why: scale_v_pred_loss_like_noise_pred turns v-prediction's loss into the noise's: a base that predicts the noise has
    nothing to turn. v_pred_like_loss adds v-prediction's to the noise's; with zero terminal SNR its weight has no end at the
    last timestep.
    Found by: Maquette's settings against what the base predicts, by its file or by `prediction`; sd-scripts' options of these
    names stop by themselves (SET012).
    Do: Leave it out, or say what the base predicts where its file does not.
    Fault: `scale_v_pred_loss_like_noise_pred = true` on a base that predicts the noise
    Instead: the settings without it
    Source: sd-scripts 48d368fa (library/custom_train_functions.py; verify_training_args refuses both).
    """
    if request.trainer != "maquette" or info.prediction not in NOISE_PREDICTIONS:
        return
    if request.other.get("scale_v_pred_loss_like_noise_pred") and info.prediction != "v":
        given = f"true, and {bare_name(info.path)} predicts {info.prediction}: v's loss is not there to be scaled."
        remedy = 'Remove it, or say prediction = "v" where the base does.'
        yield report(request.file, request.said("scale_v_pred_loss_like_noise_pred"), given, remedy)
    added = request.other.get("v_pred_like_loss")
    if added and info.prediction == "v":
        given = f"{number(added)}, and {bare_name(info.path)} predicts v already."
        yield report(request.file, request.said("v_pred_like_loss"), given, "Remove it.")
    elif added and info.zero_terminal_snr:
        given = f"{number(added)} with zero terminal SNR: at the last timestep this weight has no end."
        yield report(request.file, request.said("v_pred_like_loss"), given, "Remove one of the two.")


@rule("SET022", "v-loss-scaled", "warning", since="0.2")
def v_loss_scaled(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """The v-prediction loss is scaled like a noise loss on a model with zero terminal SNR.

    Why: At the last timestep, pure noise, the scale is 0: the model never learns what it was made for, fully black and fully
    bright pictures.
    Found by: scale_v_pred_loss_like_noise_pred together with zero_terminal_snr.
    Do: Remove --scale_v_pred_loss_like_noise_pred; --min_snr_gamma=5 does what it was meant for.
    Fault: `--zero_terminal_snr --scale_v_pred_loss_like_noise_pred`
    Instead: `--zero_terminal_snr --min_snr_gamma=5`
    Source: sd-scripts#673 (such a model could not learn black in five million samples, and learned it at once without),
    sd-scripts#934, sd-scripts#1715.
    """
    scaled = request.other.get("scale_v_pred_loss_like_noise_pred") and request.value("v_parameterization")
    if scaled and request.value("zero_terminal_snr"):
        yield report(
            request.file,
            "--scale_v_pred_loss_like_noise_pred",
            "With zero_terminal_snr it gives the last timestep no weight: dark and bright pictures are not learned.",
            "Remove it; --min_snr_gamma=5 serves instead.",
        )
