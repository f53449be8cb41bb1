"""Faults of the machine and of how the trainer is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maquette.project.machine import Disk, Gpu
from tests.planted.case import Case, close_call, fault

GIB, MIB = 2**30, 2**20
FALLBACK = "export PYTORCH_ENABLE_MPS_FALLBACK=1\n"
MAC = Gpu(kind="mps", name="Apple M1 Pro", total_bytes=11 * GIB)
RTX_2080_TI = Gpu(
    kind="cuda", name="NVIDIA GeForce RTX 2080 Ti", total_bytes=11 * GIB, compute_capability=(7, 5)
)
RTX_5080 = Gpu(kind="cuda", name="NVIDIA GeForce RTX 5080", total_bytes=16 * GIB, compute_capability=(12, 0))


def on_a_mac(case: Case) -> None:
    """Everything as it must be on Apple silicon."""
    case.machine = replace(case.machine, system="Darwin", gpus=(MAC,))
    case.edit(case.script, "set -e\n", "set -e\n" + FALLBACK)
    case.edit(case.script, "--mixed_precision=bf16", "--mixed_precision=no")


def on_card(case: Case, gpu: Gpu) -> None:
    case.machine = replace(case.machine, gpus=(gpu,))


def card(gib: float, free_gib: float | None = None, *processes: str) -> Gpu:
    return Gpu(
        kind="cuda",
        name="NVIDIA GeForce",
        total_bytes=int(gib * GIB),
        free_bytes=None if free_gib is None else int(free_gib * GIB),
        compute_capability=(8, 9),
        processes=processes,
    )


@fault("ENV001", "fp16 on Apple's GPU")
def fp16_on_mps(case: Case) -> None:
    on_a_mac(case)
    case.edit(case.script, "--mixed_precision=no", "--mixed_precision=fp16")


@close_call("ENV001", "fp16 on a CUDA card")
def fp16_on_cuda(case: Case) -> None:
    case.edit(case.script, "--mixed_precision=bf16", "--mixed_precision=fp16")


@fault("ENV002", "8-bit Adam on Apple's GPU")
def eight_bit_on_mps(case: Case) -> None:
    on_a_mac(case)
    case.edit(case.script, "--optimizer_type=AdamW", "--optimizer_type=AdamW8bit")


@close_call("ENV002", "8-bit Adam on a CUDA card")
def eight_bit_on_cuda(case: Case) -> None:
    case.edit(case.script, "--optimizer_type=AdamW", "--optimizer_type=AdamW8bit")


@fault("ENV003", "xformers on an RTX 50 card")
def xformers_on_blackwell(case: Case) -> None:
    on_card(case, RTX_5080)
    case.edit(case.script, "--sdpa", "--xformers")


@close_call("ENV003", "xformers on an RTX 40 card")
def xformers_on_ada(case: Case) -> None:
    case.edit(case.script, "--sdpa", "--xformers")


@fault("ENV004", "no MPS fallback on Apple's GPU")
def no_fallback(case: Case) -> None:
    on_a_mac(case)
    case.edit(case.script, FALLBACK, "")


@close_call("ENV004", "the fallback is set in the shell, not in the script")
def fallback_in_the_shell(case: Case) -> None:
    no_fallback(case)
    case.machine = replace(case.machine, environment={"PYTORCH_ENABLE_MPS_FALLBACK": "1"})


@fault("ENV005", "half-precision VAE on Apple's GPU")
def half_vae_on_mps(case: Case) -> None:
    on_a_mac(case)
    case.edit(case.script, "--mixed_precision=no", "--mixed_precision=bf16")


@close_call("ENV005", "bf16 on Apple's GPU with the VAE in float32")
def float_vae_on_mps(case: Case) -> None:
    half_vae_on_mps(case)
    case.edit(case.script, "--sdpa", "--sdpa --no_half_vae")


@fault("ENV006", "started by python on Apple's GPU")
def started_by_python(case: Case) -> None:
    on_a_mac(case)
    case.edit(case.script, "accelerate launch --num_cpu_threads_per_process=4", "python3")


@close_call("ENV006", "accelerate launch without a number of threads, on CUDA")
def launch_without_threads(case: Case) -> None:
    case.edit(case.script, " --num_cpu_threads_per_process=4", "")


@fault("ENV007", "the sd-scripts submodule is empty")
def empty_submodule(case: Case) -> None:
    import shutil

    shutil.rmtree(case.folder / "sd-scripts")
    (case.folder / "sd-scripts").mkdir()


@close_call("ENV007", "the trainer's folder is on another machine")
def trainer_elsewhere(case: Case) -> None:
    case.edit(case.script, "sd-scripts/train_network.py", "/workspace/sd-scripts/train_network.py")


def _small_root(case: Case) -> None:
    disks = {
        Path("/"): Disk(total_bytes=1000 * GIB, free_bytes=500 * GIB),
        Path("/root"): Disk(total_bytes=10 * GIB, free_bytes=3 * GIB),
        Path("/workspace"): Disk(total_bytes=50 * GIB, free_bytes=45 * GIB),
    }
    case.machine = replace(case.machine, disks=disks, home=Path("/root"))
    case.edit(case.script, "base.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5")


@fault("ENV008", "the base would be downloaded to a 10 GB root")
def cache_on_root(case: Case) -> None:
    _small_root(case)


@close_call("ENV008", "HF_HOME points to the large disk")
def cache_on_workspace(case: Case) -> None:
    _small_root(case)
    case.edit(case.script, "set -e\n", "set -e\nexport HF_HOME=/workspace/.cache/huggingface\n")


def _free(case: Case, mib: int) -> None:
    disks = {Path("/"): Disk(total_bytes=100 * GIB, free_bytes=mib * MIB)}
    case.machine = replace(case.machine, disks=disks)


@fault("ENV009", "150 MB free for five checkpoints of 36 MB")
def full_disk(case: Case) -> None:
    _free(case, 150)


@close_call("ENV009", "200 MB free for five checkpoints of 36 MB and as many samples")
def disk_just_enough(case: Case) -> None:
    _free(case, 200)


@fault("ENV010", "ComfyUI holds most of the card")
def held_by_comfyui(case: Case) -> None:
    on_card(case, card(24, 1.0, "python3 (22.6 GiB)"))


@close_call("ENV010", "the desktop holds 2 GB of the card")
def held_by_the_desktop(case: Case) -> None:
    on_card(case, card(24, 22.0))


@fault("ENV011", "Windows and a card of 2 GB")
def spills_on_windows(case: Case) -> None:
    on_card(case, card(2))
    case.machine = replace(case.machine, system="Windows")


@close_call("ENV011", "Windows and a card of 16 GB")
def fits_on_windows(case: Case) -> None:
    on_card(case, card(16, 15))
    case.machine = replace(case.machine, system="Windows")


@fault("ENV012", "Linux and a card of 2 GB")
def does_not_fit(case: Case) -> None:
    on_card(case, card(2))


@close_call("ENV012", "Linux and a card of 12 GB")
def fits_on_linux(case: Case) -> None:
    on_card(case, card(12, 11.5))


def on_the_processor(case: Case, *flags: str) -> None:
    case.machine = replace(case.machine, gpus=(), bf16_arithmetic=flags)


@fault("ENV016", "bf16 on a processor of AVX2")
def bf16_on_avx2(case: Case) -> None:
    on_the_processor(case)


@close_call("ENV016", "bf16 on a processor with bf16 arithmetic")
def bf16_on_avx512(case: Case) -> None:
    on_the_processor(case, "avx512_bf16")


def bf16_on_a_mac(case: Case, release: str) -> None:
    float_vae_on_mps(case)
    case.machine = replace(case.machine, system_version=release)


@fault("ENV017", "bf16 on Apple's GPU under macOS 13.6")
def bf16_on_ventura(case: Case) -> None:
    bf16_on_a_mac(case, "13.6.9")


@close_call("ENV017", "bf16 on Apple's GPU under macOS 14.0")
def bf16_on_sonoma(case: Case) -> None:
    bf16_on_a_mac(case, "14.0")


@fault("ENV013", "bf16 on an RTX 20 card")
def bf16_on_turing(case: Case) -> None:
    on_card(case, RTX_2080_TI)


@close_call("ENV013", "fp16 on an RTX 20 card")
def fp16_on_turing(case: Case) -> None:
    on_card(case, RTX_2080_TI)
    case.edit(case.script, "--mixed_precision=bf16", "--mixed_precision=fp16")


@fault("ENV014", "Prodigy without its package")
def prodigy_not_installed(case: Case) -> None:
    _prodigy(case)


@close_call("ENV014", "Prodigy, and nothing is known of the trainer's packages")
def packages_unknown(case: Case) -> None:
    _prodigy(case)
    case.machine = replace(case.machine, packages={})


def _prodigy(case: Case) -> None:
    case.edit(case.script, "--optimizer_type=AdamW", "--optimizer_type=Prodigy")
    for rate in ("--learning_rate=1e-4", "--unet_lr=1e-4", "--text_encoder_lr=5e-5"):
        case.edit(case.script, rate, rate.partition("=")[0] + "=1.0")


@fault("ENV015", "a second card is asked for", start="project")
def card_not_there(case: Case) -> None:
    case.edit(case.config, "[training]\n", '[training]\ndevice = "cuda:1"\n')


@close_call("ENV015", "the first card is asked for by number", start="project")
def card_by_number(case: Case) -> None:
    case.edit(case.config, "[training]\n", '[training]\ndevice = "cuda:0"\n')


def of_two_processes(case: Case) -> None:
    case.edit(case.script, "accelerate launch", "accelerate launch --num_processes 2")
    case.edit(case.script, "--save_every_n_steps=200", "--save_every_n_steps=100")


@fault("ENV024", "two processes and one card")
def two_processes_on_a_card(case: Case) -> None:
    on_card(case, card(24, 23.0))
    of_two_processes(case)


@close_call("ENV024", "two processes and two cards")
def two_processes_on_two_cards(case: Case) -> None:
    case.machine = replace(case.machine, gpus=(card(24, 23.0), card(24, 23.0)))
    of_two_processes(case)


def int8_base(case: Case) -> None:
    case.edit(case.config, "[training]\n", '[training]\nbase_precision = "int8"\n')


@fault("ENV025", "an int8 base on a card of 24 GB", start="project")
def int8_on_a_large_card(case: Case) -> None:
    int8_base(case)


@close_call("ENV025", "an int8 base on a card of 7 GB", start="project")
def int8_on_a_small_card(case: Case) -> None:
    on_card(case, card(7, 6.5))
    int8_base(case)


def cuda_graphs(case: Case) -> None:
    case.edit(
        case.config, "[training]\n", '[training]\ncompile_blocks = true\ncompile_mode = "reduce-overhead"\n'
    )


@fault("ENV026", "CUDA graphs on a processor", start="project")
def graphs_on_the_processor(case: Case) -> None:
    on_the_processor(case)
    cuda_graphs(case)


@close_call("ENV026", "CUDA graphs on a CUDA card", start="project")
def graphs_on_a_card(case: Case) -> None:
    cuda_graphs(case)
