"""Rules about bf16: who computes in it, and who only pretends to."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.footprint.run import device_of
from maquette.precisions import AMPERE, MACOS_WITH_BF16, release
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest
from maquette.rules.wording import asking, gpu_of


def _asks_for_bf16(request: TrainingRequest) -> bool:
    return "bf16" in (request.value("precision"), request.full_precision)


@rule("ENV013", "bf16-before-ampere", "warning", since="0.2")
def bf16_before_ampere(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """bf16 on a card before Ampere (RTX 20, GTX 16, V100, T4) is emulated or refused.

    Why: These cards have no bf16 arithmetic. Older PyTorch refuses (`bf16 mixed precision requires … a supported device`),
    newer converts back and forth, which is slower than float32.
    Found by: mixed_precision or full precision bf16 on a CUDA card whose compute capability is below 8.0.
    Do: Use fp16 (with --no_half_vae for SDXL), or no mixed precision.
    Fault: `--mixed_precision=bf16` on an RTX 2080
    Instead: `--mixed_precision=fp16`
    Source: NVIDIA's compute capability table; accelerate's is_bf16_available, torch.cuda.is_bf16_supported.
    """
    gpu = gpu_of(request, machine)
    if not _asks_for_bf16(request) or gpu is None or gpu.kind != "cuda" or gpu.compute_capability is None:
        return
    if gpu.compute_capability >= AMPERE:
        return
    major, minor = gpu.compute_capability
    yield report(
        request.file,
        request.said("precision"),
        f"{gpu.name} has compute capability {major}.{minor}: bf16 needs 8.0 (RTX 30 and later), and is refused or slower "
        "than float32 below.",
        f"Use fp16 ({asking(request, precision='fp16')}), or no mixed precision.",
    )


@rule("ENV016", "bf16-on-processor-without-it", "warning", since="0.2")
def bf16_on_processor_without_it(
    request: TrainingRequest, machine: Machine, report: Report
) -> Iterator[Finding]:
    """bf16 on a processor that has no bf16 arithmetic is many times slower than float32.

    Why: Without instructions for it PyTorch converts back and forth, and convolutions take a path without any of the fast
    kernels: on an AMD Zen 3 (AVX2) a 3×3 convolution took 5,810 ms in bf16 and 62 ms in float32, 90 times as long.
    Found by: mixed or full precision bf16 for a run on the processor whose flags hold none of avx512_bf16, amx_bf16 (x86) and
    bf16 (Arm). Where the system does not tell the flags nothing is said.
    Do: Train in float32 there: `--mixed_precision=no`, in Maquette `--precision no`.
    Fault: `--mixed_precision=bf16` on an AMD Zen 3 without a card
    Instead: `--mixed_precision=no`
    Source: measured with PyTorch on both kinds of processor (field notes, second look); Intel's and Arm's instruction sets.
    """
    if not _asks_for_bf16(request) or device_of(request, machine) != "cpu" or machine.bf16_arithmetic != ():
        return
    yield report(
        request.file,
        request.said("precision" if request.value("precision") == "bf16" else "full_precision"),
        "bf16 on this processor, whose flags hold neither avx512_bf16 nor amx_bf16 (on Arm bf16): a convolution was measured to "
        "take 90 times as long as in float32.",
        f"Use float32 ({asking(request, precision='no')}).",
    )


@rule("ENV017", "bf16-before-macos-14", "error", since="0.2")
def bf16_before_macos_14(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
    """bf16 on Apple's GPU needs macOS 14: before it there is none, from then on it trains.

    Why: Apple's Metal has bf16 since macOS 14 (Sonoma). On an older release PyTorch refuses the type or
    switches autocast off, and Accelerate asks for the same release.
    Found by: mixed or full precision bf16 for a run on Apple's GPU, and a macOS release before 14.0. Where the release is not
    known nothing is said.
    Do: Train in float32, or update macOS.
    Fault: `--mixed_precision=bf16` on macOS 13.6
    Instead: `--mixed_precision=no`
    Source: PyTorch's autocast for MPS and Accelerate's is_bf16_available, both of which ask for macOS 14.0.
    """
    here = release(machine.system_version)
    if not _asks_for_bf16(request) or device_of(request, machine) != "mps":
        return
    if here is None or here >= MACOS_WITH_BF16:
        return
    yield report(
        request.file,
        request.said("precision" if request.value("precision") == "bf16" else "full_precision"),
        f"bf16 on Apple's GPU under macOS {machine.system_version}: it came with macOS {MACOS_WITH_BF16[0]}.",
        f"Use float32 ({asking(request, precision='no')}), or update macOS.",
    )
