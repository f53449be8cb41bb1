"""Rules about devices, arithmetic and how the trainer is started: what stops or slows a run on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from maquette.families import FAMILIES
from maquette.families.protocol import ModelInfo
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.footprint.run import device_of
from maquette.kohya.options import SCRIPTS
from maquette.kohya.request import is_run_elsewhere
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest
from maquette.rules.wording import asking, device_words, gpu_of, is_sd_scripts
from maquette.spoken import counted

HALF = ("fp16", "bf16")
BLACKWELL = (12, 0)
"""Compute capability of the RTX 50 cards."""
MPS_FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
PACKAGE_OF = {"lion": "lion-pytorch", "prodigy": "prodigyopt"}


@rule("ENV001", "fp16-without-cuda", "error", since="0.2")
def fp16_without_cuda(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """Half precision (fp16) on Apple's GPU or on a processor stops with an error, or trains to NaN.

    Why: fp16 reaches only to 65,504, so its gradients need CUDA's loss scaling. Accelerate 1.3 refuses it on MPS
    (`ValueError: fp16 mixed precision requires a GPU (not 'mps')`); later ones (1.15, with PyTorch 2.5) let it start,
    and losses can become NaN. On a processor most fp16 operations are missing or slower than float32.
    Found by: mixed_precision or full_fp16 with fp16, and a device other than a CUDA or ROCm card.
    Do: Use no mixed precision there (float32): `--mixed_precision=no`, in Maquette `--precision no`.
    Fault: `--mixed_precision=fp16` on Apple's GPU
    Instead: `--mixed_precision=no`
    Source: field notes of a character LoRA on Apple silicon; accelerate's Accelerator; diffusers#7563.
    """
    device = device_of(request, machine)
    asked = request.value("precision") == "fp16" or request.full_precision == "fp16"
    if not asked or device in ("cuda", "rocm", "xpu"):
        return
    option = "--mixed_precision=no" if is_sd_scripts(request) else "--precision no"
    yield report(
        request.file,
        request.said("precision" if request.value("precision") == "fp16" else "full_precision"),
        f"fp16 on {device_words(request, machine)}: fp16 trains on CUDA only. On other devices it stops with 'fp16 mixed "
        f"precision requires a GPU' or ends in NaN.",
        f"Use {option}.",
    )


@rule("ENV002", "8-bit-without-cuda", "error", since="0.2")
def eight_bit_without_cuda(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """An 8-bit or paged optimizer needs an NVIDIA card.

    Why: AdamW8bit and its kin are bitsandbytes' CUDA kernels. On Apple's GPU the first update falls back to the processor
    and stops: `NotImplementedError: optimizer_update_8bit_blockwise` — after models were loaded and latents cached. From
    0.50 on it has an update for processors.
    Found by: an optimizer whose name ends in 8bit or begins with Paged, and a device other than a CUDA or ROCm card, unless
    that is the processor and bitsandbytes 0.50 or newer is installed.
    Do: Use plain AdamW. A LoRA's optimizer state is small (SD 1.5 at rank 32: 151 MB in float32), so 8 bits save little.
    Fault: `--optimizer_type=AdamW8bit` on Apple's GPU
    Instead: `--optimizer_type=AdamW`
    Source: field notes of a character LoRA on Apple silicon (AdamW8bit failed, AdamW trained all three versions); bitsandbytes
    0.50.2 on a processor (all of its optimizers that Maquette names trained and resumed).
    """
    optimizer, device = request.value("optimizer") or "", device_of(request, machine)
    if not _is_bitsandbytes(optimizer) or device in ("cuda", "rocm"):
        return
    packages = machine.packages_for(request.trainer) if request.trainer != "other" else None
    if device == "cpu" and _updates_on_processors(packages):
        return
    yield report(
        request.file,
        request.said("optimizer"),
        f"{optimizer} needs CUDA, and this run would use {device_words(request, machine)}: bitsandbytes stops at the first "
        "update with NotImplementedError (optimizer_update_8bit_blockwise).",
        f"Use AdamW: {asking(request, optimizer='AdamW')}.",
    )


def _updates_on_processors(packages: Mapping[str, str] | None) -> bool:
    """Return whether bitsandbytes is there, and as new as the first release that was seen to train on a processor."""
    version = re.match(r"(\d+)\.(\d+)", (packages or {}).get("bitsandbytes", ""))
    return version is not None and (int(version[1]), int(version[2])) >= (0, 50)


def _is_bitsandbytes(optimizer: str) -> bool:
    return optimizer.lower().endswith("8bit") or optimizer.lower().startswith("paged")


@rule("ENV003", "xformers-unsupported", "error", since="0.2")
def xformers_unsupported(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """xformers has no kernels for this device: PyTorch's own attention does the same.

    Why: xformers runs on CUDA only, and its wheels carry no attention kernels for RTX 50 cards (compute capability 12.0):
    `NotImplementedError: No operator found for memory_efficient_attention_forward`, still so with 0.0.35. SDPA is PyTorch's
    own attention with the same result.
    Found by: xformers asked for on Apple's GPU, on a processor, or on a card of compute capability 12.0 or above.
    Do: Use `--sdpa` instead of `--xformers`.
    Fault: `--xformers` on an RTX 5080
    Instead: `--sdpa`
    Source: field notes of film-frame LoRAs on an RTX 5080; xformers#1279, #1251; ComfyUI-Windows-Portable#134.
    """
    if request.attention != "xformers":
        return
    if _runs_xformers(request, machine):
        return
    reason = (
        f"its kernels stop before compute capability {BLACKWELL[0]}.{BLACKWELL[1]}"
        if device_of(request, machine) == "cuda"
        else "it runs on CUDA cards only"
    )
    yield report(
        request.file,
        request.said("attention"),
        f"xformers does not work on {device_words(request, machine)}: {reason}.",
        "Use --sdpa instead of --xformers: PyTorch's own attention gives the same result.",
    )


def _runs_xformers(request: TrainingRequest, machine: Machine) -> bool:
    gpu = gpu_of(request, machine)
    capability = gpu.compute_capability if gpu is not None else None
    return device_of(request, machine) == "cuda" and (capability is None or capability < BLACKWELL)


@rule("ENV004", "mps-fallback-missing", "warning", since="0.2")
def mps_fallback_missing(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """On Apple's GPU a missing operation ends the run unless PyTorch may fall back to the processor.

    Why: PyTorch has not every operation for MPS. Without PYTORCH_ENABLE_MPS_FALLBACK=1 the first missing one stops the run
    with `NotImplementedError: The operator 'aten::…' is not currently supported on the MPS backend`, perhaps in the middle.
    Found by: sd-scripts on an Apple GPU; the variable is neither set in the script nor in the shell. A value of 0 counts as
    not set.
    Do: Put `export PYTORCH_ENABLE_MPS_FALLBACK=1` before the command. Only operations that are missing move; the rest stays
    on the GPU.
    Fault: `accelerate launch train_network.py …` on a Mac
    Instead: `export PYTORCH_ENABLE_MPS_FALLBACK=1` before it
    Source: field notes of a character LoRA on Apple silicon (pitfall 6); PyTorch's MPS notes.
    """
    if not is_sd_scripts(request) or device_of(request, machine) != "mps":
        return
    value = request.environment.get(MPS_FALLBACK, machine.environment.get(MPS_FALLBACK, "0"))
    if value.strip().strip("\"'") not in ("", "0"):
        return
    yield report(
        request.file,
        MPS_FALLBACK,
        f"{MPS_FALLBACK} is not set, so the first operation that Apple's GPU lacks ends the run.",
        f"Add `export {MPS_FALLBACK}=1` before the command.",
    )


@rule("ENV005", "half-precision-vae", "warning", since="0.2")
def half_precision_vae(
    request: TrainingRequest, machine: Machine | None, info: ModelInfo | None, report: Report
) -> Iterator[Finding]:
    """A VAE in half precision can turn latents into NaN: the LoRA then learns nothing, samples are black.

    Why: SDXL's own VAE overflows in fp16, and on Apple's GPU half-precision VAEs give NaN for some pictures. Cached latents
    keep the NaN for the whole run; sd-scripts stops at caching (`NaN detected in latents`) or, without a cache, trains on
    with a loss of nan. Without mixed precision the VAE computes in float32 anyway, and bf16 does not overflow on CUDA.
    Found by: sd-scripts without --no_half_vae, and either fp16 on a family whose VAE overflows there, or mixed precision on
    MPS. A given --vae whose name says fp16 is taken for a repaired one.
    Do: Add `--no_half_vae`: encoding takes a little longer, once. Or give a repaired VAE, e.g. sdxl-vae-fp16-fix.
    Fault: `sdxl_train_network.py --mixed_precision=fp16`
    Instead: the same with `--no_half_vae`
    Source: diffusers#7563 (NaN on MPS traced to fp16 latents), sd-scripts#952 (black SDXL samples), sd-scripts 48d368fa:
    the VAE takes the precision of mixed_precision unless no_half_vae is given.
    """
    precision = request.value("precision")
    if not is_sd_scripts(request) or request.value("no_half_vae") or precision not in HALF:
        return
    device = device_of(request, machine) if machine is not None else "cuda"
    if device == "mps" and precision == "bf16":
        why = f"the VAE computes in {precision} on Apple's GPU, which gives NaN for some pictures"
    elif precision == "fp16" and device != "mps" and info is not None and _overflows(info):
        if request.vae and "fp16" in request.vae.lower():
            return
        own = "the VAE given" if request.vae else "its VAE"
        why = f"{own} computes in fp16, and {FAMILIES[info.family].spec.title}'s overflows there unless it was repaired"
    else:
        return
    yield report(
        request.file,
        request.said("no_half_vae") if request.no_half_vae is not None else "--no_half_vae is missing",
        f"{_capital(why)}: latents become NaN, the loss nan, samples black.",
        "Add --no_half_vae.",
    )


def _overflows(info: ModelInfo) -> bool:
    return not FAMILIES[info.family].spec.half_precision_vae


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@rule("ENV006", "not-launched-by-accelerate", "warning", since="0.2")
def not_launched_by_accelerate(
    request: TrainingRequest, machine: Machine, report: Report
) -> Iterator[Finding]:
    """The training script is started by python itself, not by `accelerate launch` with its threads.

    Why: On Apple silicon the same run took 33 to 83 seconds a step when started with python3, about 2 seconds with
    `accelerate launch --num_cpu_threads_per_process=4`. On CUDA the difference is small, but several cards and a saved
    accelerate configuration are left out. `accelerate launch` without the number of threads takes one thread.
    Found by: what stands before the script's name. A warning off CUDA, a hint on CUDA; a hint where accelerate is told no
    number of threads off CUDA.
    Do: Start it as `accelerate launch --num_cpu_threads_per_process=4 train_network.py …`.
    Fault: `python train_network.py …`
    Instead: `accelerate launch --num_cpu_threads_per_process=4 train_network.py …`
    Source: field notes of a character LoRA on Apple silicon (Issues Encountered: training speed).
    """
    if not is_sd_scripts(request) or request.launcher is None:
        return
    on_cuda = device_of(request, machine) in ("cuda", "rocm")
    script = request.script or next(iter(SCRIPTS))
    start = f"accelerate launch --num_cpu_threads_per_process=4 {script}"
    if request.launcher == "python":
        slow = (
            "its settings and threads"
            if on_cuda
            else "33 to 83 seconds a step instead of 2 were measured on a Mac"
        )
        yield report(
            request.file,
            _line(request),
            f"{script} is started by python, without accelerate launch: {slow}"
            + (" are left out." if on_cuda else "."),
            f"Start it as: {start} …",
            severity="hint" if on_cuda else None,
        )
    elif request.launcher == "accelerate" and not on_cuda and not _has_threads(request, machine):
        yield report(
            request.file,
            _line(request),
            "accelerate launch is told no number of threads and takes one.",
            f"Start it as: {start} …",
            severity="hint",
        )


def _has_threads(request: TrainingRequest, machine: Machine) -> bool:
    given = {**machine.environment, **request.environment}
    return "num_cpu_threads_per_process" in request.launcher_options or "OMP_NUM_THREADS" in given


def _line(request: TrainingRequest) -> str:
    return f"line {request.line}" if request.line else ""


@rule("ENV007", "trainer-missing", "error", since="0.2")
def trainer_missing(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """The training script is not where the command looks for it, often because sd-scripts was never fetched.

    Why: kohya_ss brings sd-scripts as a git submodule. A clone without it leaves `sd-scripts/` empty, and the command ends
    with `FileNotFoundError: …/sd-scripts/train_network.py`.
    Found by: the folder that the command names is on this machine and holds no script of that name. Where the whole folder
    is absent nothing is said: the script may be meant for another machine.
    Do: In the kohya_ss folder: `git submodule update --init --recursive`, then look whether the script is there.
    Fault: `accelerate launch sd-scripts/train_network.py` with an empty sd-scripts/
    Instead: `git submodule update --init --recursive` first
    Source: field notes of a character LoRA on Apple silicon (discovery 2: `git submodule status` showed a leading dash).
    """
    path = request.script_path
    if path is None or not path.parent.is_dir() or path.exists() or is_run_elsewhere(request):
        return
    held = [entry.name for entry in path.parent.iterdir() if entry.name != ".git"]
    if held:
        given, remedy = f"it is not in {path.parent}", _nearest(path, held)
    else:
        given = f"{path.parent} is empty: the git submodule was not fetched"
        remedy = f"cd {path.parent.parent} && git submodule update --init --recursive"
    yield report(
        request.file, _line(request) or request.said("script"), f"{path.name} is missing: {given}.", remedy
    )


def _nearest(path: Path, names: list[str]) -> str:
    from maquette.errors import nearest

    guess = nearest(path.name, names)
    return f"Did you mean {path.parent / guess}?" if guess else "Correct the path of the script."


@rule("ENV014", "package-missing", "error", since="0.2")
def package_missing(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """The optimizer or attention that is asked for needs a package that is not installed.

    Why: sd-scripts imports it after it has loaded the models: `ImportError: No bitsandbytes`.
    Found by: the packages of the environment that the trainer runs in (a `venv` beside its script, or the one that this
    program runs in when sd-scripts runs there too). Where that is not known nothing is said.
    Do: Install it in the trainer's environment, or ask for AdamW and --sdpa, which need nothing.
    Fault: `--optimizer_type=Prodigy` without the package
    Instead: `pip install prodigyopt`, or `--optimizer_type=AdamW`
    Source: sd-scripts 48d368fa, library/train_util.py (get_optimizer, replace_unet_modules); sd-scripts#886.
    """
    packages = machine.packages_for("sd-scripts") if is_sd_scripts(request) else None
    if packages is None:
        return
    wanted = {request.said("optimizer"): _package_of(request.value("optimizer") or "")}
    if request.attention == "xformers":
        wanted[request.said("attention")] = "xformers"
    for place, package in wanted.items():
        # Without CUDA these two are wrong whether installed or not, which rules of their own say.
        hopeless = package in ("bitsandbytes", "xformers") and device_of(request, machine) not in (
            "cuda",
            "rocm",
        )
        if package and package not in packages and not hopeless:
            yield report(
                request.file,
                place,
                f"It needs the package {package}, which is not installed in the trainer's environment.",
                f"Install it there (pip install {package}), or use AdamW and --sdpa.",
            )


def _package_of(optimizer: str) -> str | None:
    name = optimizer.lower()
    if _is_bitsandbytes(name):
        return "bitsandbytes"
    if name.startswith("dadapt"):
        return "dadaptation"
    if name.endswith("schedulefree"):
        return "schedulefree"
    return PACKAGE_OF.get(name)


@rule("ENV015", "device-not-here", "error", since="0.2")
def device_not_here(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """The device that the settings ask for is not in this machine.

    Why: The run could not start. Maquette never takes another device in silence: on a processor a run of minutes takes a
    night.
    Found by: a device named in the settings (`cuda`, `cuda:1`, `mps`) against the accelerators of the machine.
    Do: Use `--device auto`, or the name of a device that is there.
    Fault: `--device cuda:1` with one card
    Instead: `--device auto`
    Source: Maquette's own settings.
    """
    asked = request.device or "auto"
    if asked.partition(":")[0] in ("auto", "cpu") or gpu_of(request, machine) is not None:
        return
    if asked == "mps":
        found = "mps, which this machine does not have"
    else:
        count = sum(gpu.kind == "cuda" for gpu in machine.gpus)
        found = f"{asked}, but {count} CUDA device{'s' if count != 1 else ''} found"
    yield report(request.file, request.said("device"), f"{found}.", "Use --device auto.")


@rule("ENV024", "fewer-gpus-than-processes", "error", since="0.2")
def fewer_gpus_than_processes(
    request: TrainingRequest, machine: Machine, report: Report
) -> Iterator[Finding]:
    """A run asks for more processes than the machine has GPUs.

    Why: Each process takes the GPU of its number. The one without stops the run (`invalid device ordinal`).
    Found by: `processes` of the settings, or the processes that a command's launcher is told to start, against the GPUs of the
    kind that the run would use.
    Do: Use as many processes as there are GPUs. The same number of pictures in a step, and so the same training, comes of a
    larger batch or, where memory does not allow it, of accumulation.
    Fault: `--processes 4` with two cards
    Instead: `--processes 2 --accumulation 2`
    Source: Maquette's own settings; PyTorch's `torch.cuda.set_device`.
    """
    processes, gpu = request.value("processes") or 1, gpu_of(request, machine)
    if gpu is None:
        return
    count = sum(each.kind == gpu.kind for each in machine.gpus)
    if processes <= count:
        return
    batch, accumulation = request.value("batch_size") or 1, request.value("accumulation") or 1
    one = f"Use one process with a batch of {processes * batch}, or with an accumulation of {processes * accumulation}."
    found = f"{processes} processes, and this machine has {counted(count, 'GPU')} of the kind {gpu.kind}."
    yield report(request.file, request.said("processes"), found, one)
