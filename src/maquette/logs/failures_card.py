"""Known failures of the graphics card at work: faults, precisions, several cards. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

CARD_FAILURES: tuple[Failure, ...] = (
    Failure(
        code="LOG042",
        name="card-fault",
        severity="error",
        texts=(
            "CUBLAS_STATUS_EXECUTION_FAILED",
            "CUBLAS_STATUS_INTERNAL_ERROR",
            "CUBLAS_STATUS_NOT_SUPPORTED",
            "CUBLAS_STATUS_INVALID_VALUE",
            "CUDNN_STATUS_EXECUTION_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR",
            "CUDNN_STATUS_MAPPING_ERROR",
            "unspecified launch failure",
            "illegal memory access",
            "an illegal instruction was encountered",
            "misaligned address",
            "device-side assert triggered",
            "the launch timed out and was terminated",
            "uncorrectable ECC error",
            "GPU is lost",
            "GPU has fallen off the bus",
            "device not ready",
            "CUDA error: unknown error",
            "unable to find an engine to execute this computation",
        ),
        summary="A computation on the card broke off.",
        cause=(
            "The card or its driver gave up in the middle of a step, and the line in the trace need not be the guilty one. "
            "Reports of it name unstable clocks, memory that was nearly full, drivers, and numbers that became NaN; no single "
            "cause is known."
        ),
        remedy=(
            "Start again from the last saved state. If it comes back: take overclocking and undervolting off, update the "
            "driver, leave 1 GB of memory free, try --sdpa for --xformers and bf16 for fp16; set CUDA_LAUNCH_BLOCKING=1 once "
            "to see the true line."
        ),
        readings=(
            Reading(
                when="An index outside of its table",
                signs=(r"device-side assert",),
                cause=(
                    "An index was larger than its table (a token, a timestep, a label): an error of data or "
                    "settings, not of the card."
                ),
                remedy=(
                    "Set CUDA_LAUNCH_BLOCKING=1 and start once more: the trace then names the line. Look at clip_skip, timesteps "
                    "and tokens of an embedding."
                ),
            ),
            Reading(
                when="Windows' time limit",
                signs=(r"launch timed out",),
                cause="Windows ended a computation that held the screen's card for more than two seconds.",
                remedy="Lower batch or resolution, or raise TdrDelay in the registry; connect the screen to another card.",
            ),
            Reading(
                when="The card itself",
                signs=(r"ECC error|GPU is lost|fallen off the bus",),
                cause="The card or its connection failed: the driver lost it or its memory reported an error.",
                remedy="Restart the computer; check power cable, temperature and clocks. On a rented machine take another one.",
            ),
            Reading(
                when="A precision that the card has not",
                signs=(r"NOT_SUPPORTED|INVALID_VALUE",),
                cause=(
                    "The card or the installed PyTorch has no such multiplication: most often bf16 or fp8 on a card "
                    "that is too old for it."
                ),
                remedy="Use --mixed_precision=fp16 (or no), leave out fp8 options, and install a current PyTorch.",
            ),
        ),
        source="LyCORIS#40, kohya_ss#1380, kohya_ss#2002, kohya_ss#733 (none settled); messages of CUDA",
    ),
    Failure(
        code="LOG046",
        name="precisions-mixed",
        severity="error",
        example="RuntimeError: Input type (float) and bias type (struct c10::Half) should be the same",
        patterns=(
            r"Input type \((?P<detail>[^)]{1,60})\) and (?:bias|weight) type",
            r"expected scalar type (?P<detail>\w{1,20} but found \w{1,20})",
            r"to have the same dtype, but got:? (?P<detail>.{1,80})",
            r"must have the same dtype(?P<detail>.{0,80})",
            r"Query/Key/Value should either all have the same (?P<detail>dtype)",
            r"[Ee]xpected query, key, and value to have the same dtype(?P<detail>.{0,80})",
            r"\"(?P<detail>\w{1,60})\" not implemented for '(?:Half|BFloat16|Float8\w{0,12})'",
            r"expected .{0,12}\bdtype\b.{0,40} but got (?P<detail>.{1,60})",
            r"Index put requires the source and destination dtypes match(?P<detail>.{0,80})",
        ),
        summary="Numbers of two precisions met in one computation.",
        cause=(
            "One part of the model runs in another precision than the next ({detail}): weights were loaded in half precision "
            "and the step runs in full, or the other way round."
        ),
        remedy=(
            "Use one precision throughout: --mixed_precision=fp16 (or bf16) together with --save_precision of the same, and "
            "without --full_fp16 or --full_bf16; add --no_half_vae when the VAE is named. For samples during training update "
            "the trainer."
        ),
        readings=(
            Reading(
                when="A precision that the card has not",
                signs=(r"_cuda\" not implemented for '|not implemented for 'Float8",),
                cause="This PyTorch has no such operation in bf16 or fp8 on the card: PyTorch or the card is too old for it.",
                remedy="Use --mixed_precision=fp16 without fp8 options, or install a current PyTorch.",
            ),
            Reading(
                when="Half precision on the processor",
                signs=(r"not implemented for '",),
                cause=(
                    "The processor (or this PyTorch) has no such operation in half precision: the run is not on a graphics card, "
                    "or a part was left on the processor."
                ),
                remedy=(
                    "See that the card is used (accelerator device in the log; `accelerate config`); on a processor alone use "
                    "--mixed_precision=no without --full_fp16."
                ),
            ),
            Reading(
                when="A Mac",
                machine=("mps",),
                remedy="On a Mac use --mixed_precision=no and --no_half_vae, with --save_precision=fp16 for the file alone.",
            ),
        ),
        source="messages of PyTorch; sd-scripts 48d368fa, read",
    ),
    Failure(
        code="LOG047",
        name="bf16-refused",
        severity="error",
        texts=(
            "bf16 mixed precision requires",
            "Your setup doesn't support bf16",
            "Current CUDA Device does not support bfloat16",
            "BFloat16 is not supported on MPS",
            "bfloat16 is not supported",
            "does not support bfloat16",
            "Bfloat16 is only supported on GPUs with compute capability",
        ),
        summary="The card or the installation has no bf16.",
        cause="bf16 needs an NVIDIA card of the RTX 30 series or newer (compute capability 8.0), and a PyTorch that sees it.",
        remedy="Use fp16: --mixed_precision=fp16 and --save_precision=fp16, and answer `accelerate config` the same way.",
        readings=(
            Reading(
                when="A Mac",
                machine=("mps",),
                cause="PyTorch takes a Mac's GPU for one without bf16 here (and accelerate refuses fp16 on it, too).",
                remedy="On a Mac use --mixed_precision=no with --no_half_vae.",
            ),
            Reading(
                when="An older card",
                machine=("old",),
                cause="This card has no bf16: it came with the RTX 30 series (T4, V100, GTX and RTX 20 cards lack it).",
                remedy="Use --mixed_precision=fp16 and --save_precision=fp16; for SDXL add --no_half_vae.",
            ),
            Reading(
                when="A card that has it",
                machine=("cuda", "large"),
                cause="The card has bf16, so PyTorch does not see it: a CPU build is installed, or the driver is too old.",
                remedy=(
                    "Run python -c 'import torch; print(torch.__version__, torch.cuda.is_available())': a version that ends in "
                    "+cpu is to be replaced by pip install -U torch torchvision --index-url https://download.pytorch.org/whl/cu128"
                ),
            ),
        ),
        source="kohya-trainer#246, kohya_ss#93, kohya_ss#523, ComfyUI-FluxTrainer#181; messages of accelerate and transformers",
    ),
    Failure(
        code="LOG054",
        name="several-cards-misled",
        severity="error",
        texts=(
            "use_libuv was requested but PyTorch",
            "Distributed package doesn't have NCCL",
            "NCCL error",
            "ncclInternalError",
            "ncclSystemError",
            "ncclUnhandledCudaError",
            "EADDRINUSE",
            "CUDA error: invalid device ordinal",
            "Duplicate GPU detected",
        ),
        patterns=(
            r"(?P<detail>[Aa]ddress) already in use",
            r"Watchdog caught collective operation timeout(?P<detail>)",
        ),
        summary="Training on several cards could not begin.",
        cause=(
            "accelerate was told to train on several cards or machines, and their connection failed: on Windows PyTorch has "
            "no NCCL, elsewhere a port is taken or a card is missing."
        ),
        remedy=(
            "With one card: answer `accelerate config` with “no distributed training”, or start with accelerate launch "
            "--num_processes=1 --num_machines=1."
        ),
        readings=(
            Reading(
                when="Windows",
                signs=(r"libuv|doesn't have NCCL",),
                cause="PyTorch for Windows cannot train on several cards this way, and was asked to.",
                remedy=(
                    "Use one card (accelerate launch --num_processes=1; `accelerate config` anew), or WSL for "
                    "several; USE_LIBUV=0 may help with some builds."
                ),
            ),
            Reading(
                when="A port that is taken",
                signs=(r"EADDRINUSE|ddress already in use",),
                cause="Another run, or one that did not end, holds the port.",
                remedy="End it, or add --main_process_port=29501 to accelerate launch.",
            ),
            Reading(
                when="A card that is not there",
                signs=(r"invalid device ordinal|Duplicate GPU",),
                cause="More processes were started than there are cards, or a card number that does not exist was named.",
                remedy=(
                    "Set --num_processes to the number of cards, and correct --gpu_ids or CUDA_VISIBLE_DEVICES (they "
                    "count from 0)."
                ),
            ),
        ),
        source="musubi-tuner#343, lora-scripts#527, LoRAMaster#2; messages of PyTorch",
    ),
)
