"""Known failures of machine and installation: memory, disk, devices, missing packages. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure

LESS_MEMORY = (
    "Close other programs that hold the memory first. Then, from free to costly for quality: bf16 "
    "instead of float32 and "
    "an 8-bit optimizer (CUDA only), gradient checkpointing (a quarter slower, same result), cached "
    "latents (and caches "
    "on disk), batch 1 with accumulation 8 in place of a larger batch, a smaller rank; only then 768"
    " px for SDXL, and "
    "last frozen text encoders (--network_train_unet_only)."
)

MACHINE_FAILURES: tuple[Failure, ...] = (
    Failure(
        code="LOG003",
        name="fp16-refused-on-mps",
        severity="error",
        texts=("fp16 mixed precision requires a GPU",),
        summary="accelerate refuses half precision on this device.",
        cause="Mixed precision fp16 needs a CUDA card; Apple's GPU (mps) and the CPU do not count as one.",
        remedy=(
            'Start with --mixed_precision="no" (and --save_precision="float" or "fp16"), with --no_half_vae '
            "on a Mac."
        ),
        more="The run ends before its first step, so nothing is lost but the loading time.",
        source=(
            "field notes of a character LoRA on Apple silicon (PyTorch 2.5.1, accelerate 1.3.0), pitfall 1"
        ),
    ),
    Failure(
        code="LOG004",
        name="eight-bit-optimizer-failed",
        severity="error",
        texts=(
            "optimizer_update_8bit_blockwise",
            "No bitsandbytes",
            "No module named 'bitsandbytes'",
            "CUDA Setup failed despite",
            "bitsandbytes was compiled without GPU support",
        ),
        summary="The 8-bit optimizer cannot run here.",
        cause=(
            "8-bit optimizers come from bitsandbytes, whose block-wise update exists for CUDA cards alone "
            "(or the package is missing)."
        ),
        remedy=(
            "Use --optimizer_type=AdamW: on Apple silicon and on a CPU always; on CUDA or after `pip install"
            " bitsandbytes`."
        ),
        more=(
            "Plain AdamW needs 6 bytes more for each trained value: about 110 MB for a rank-32 LoRA of SD "
            "1.5."
        ),
        source=(
            "field notes of a character LoRA on Apple silicon (AdamW8bit fails on MPS); sd-scripts 48d368fa,"
            " read"
        ),
    ),
    Failure(
        code="LOG005",
        name="operator-missing-on-mps",
        severity="error",
        example="The operator 'aten::_linalg_svd.U' is not currently supported on the MPS backend",
        patterns=(
            r"(?P<detail>aten::[\w.]+)?\W*is not currently (?:supported|implemented) (?:on|for) the MPS",
        ),
        except_texts=("will fall back to run on the CPU",),
        summary="An operation is missing on Apple's GPU.",
        cause=(
            "PyTorch has no Metal version of an operation that training used ({detail}), and was not allowed"
            " to fall back to the CPU."
        ),
        remedy="Set `export PYTORCH_ENABLE_MPS_FALLBACK=1` before the command, in the same shell or script.",
        source="field notes of a character LoRA on Apple silicon, pitfall 6",
    ),
    Failure(
        code="LOG006",
        name="gpu-memory-full",
        severity="error",
        texts=(
            "CUDA out of memory",
            "MPS backend out of memory",
            "HIP out of memory",
            "OutOfMemoryError",
            "CUBLAS_STATUS_ALLOC_FAILED",
        ),
        summary="The GPU's memory was full.",
        cause="Weights, activations, gradients and optimizer together did not fit into the GPU's memory.",
        remedy=LESS_MEMORY,
        more=(
            "What a step needs grows with the square of the edge length and with the batch. Peers stop here "
            "without "
            "advice (kohya_ss#3329)."
        ),
        source=(
            "kohya_ss#3329, sd-scripts#1975; field notes on SDXL with 16 GB; field notes of a character "
            "LoRA, pitfall 5"
        ),
    ),
    Failure(
        code="LOG007",
        name="disk-full",
        severity="error",
        texts=("No space left on device", "[Errno 28]", "Disk quota exceeded"),
        patterns=(r"\bdisk\b.{0,40}\b(?:99|1\d\d) ?%",),
        summary="The disk was full.",
        cause="A download, cache or checkpoint found no room.",
        remedy=(
            "Send caches to the large disk: export HF_HOME=/workspace/.cache/huggingface (and TRANSFORMERS_CACHE, "
            "HF_DATASETS_CACHE); delete a half-written last checkpoint before resuming."
        ),
        more=(
            "Rented machines often have a root of 10 GB, where ~/.cache/huggingface lies, beside a 50 GB "
            "/workspace: one "
            "run stood at 105 % of its root. A file that was being written then is cut off."
        ),
        source="field notes of a pixel-art LoRA on a rented GPU",
    ),
    Failure(
        code="LOG008",
        name="training-script-missing",
        severity="error",
        example="can't open file 'sd-scripts/train_network.py': [Errno 2] No such file or directory",
        patterns=(
            r"(?:FileNotFoundError|No such file or directory|can't open file).*?(?P<detail>(?:\w+_)?train\w*\.py)",
            r"(?P<detail>(?:\w+_)?train\w*\.py).*No such file or directory",
        ),
        summary="The training script is not where the command looks.",
        cause=(
            "{detail} does not exist there. Most often sd-scripts is a git submodule of kohya_ss that was "
            "never checked out: an empty folder."
        ),
        remedy=(
            "In the kohya_ss folder: git submodule update --init --recursive. Then check that "
            "sd-scripts/train_network.py exists."
        ),
        source="field notes of a character LoRA on Apple silicon, pitfall 2",
    ),
    Failure(
        code="LOG009",
        name="log-package-missing",
        severity="error",
        example="ModuleNotFoundError: No module named 'xformers'",
        patterns=(
            r"ModuleNotFoundError: No module named ['\"](?P<detail>[\w.]+)['\"]",
            r"ImportError: No (?P<detail>xformers|lion_pytorch|dadaptation|prodigy|schedulefree|wandb)\b",
        ),
        except_texts=("bitsandbytes", "'triton"),
        summary="A Python package is missing.",
        cause=(
            "The environment that ran the command lacks {detail}: it is not installed, or another "
            "environment was active."
        ),
        remedy=(
            "Activate the trainer's own environment (source venv/bin/activate) and install its requirements "
            "there. For "
            "xformers: leave --xformers out and use --sdpa, which needs no package."
        ),
        more=(
            "A missing triton does not count: xformers says so on every Windows and Mac machine, and goes on."
        ),
        source="sd-scripts 48d368fa, read; kohya_ss#3096, kohya_ss#3332",
    ),
    Failure(
        code="LOG010",
        name="card-not-supported-by-build",
        severity="error",
        texts=(
            "no kernel image is available",
            "is not compatible with the current PyTorch installation",
            "No operator found for `memory_efficient_attention",
            "xFormers can't load C++/CUDA extensions",
        ),
        patterns=(r"FATAL: kernel `?fmha\w*`? is for sm\d+", r"xFormers wasn't build with CUDA support"),
        summary="PyTorch or xformers was built without code for this card.",
        cause=(
            "The installed build holds no kernels for the card. RTX 50 cards (sm_120) need PyTorch 2.7 with "
            "CUDA 12.8 or newer, and an xformers of the same build."
        ),
        remedy=(
            "Use --sdpa instead of --xformers. If PyTorch itself is meant: pip install -U torch torchvision "
            "--index-url "
            "https://download.pytorch.org/whl/cu128"
        ),
        source="kohya_ss#3096, kohya_ss#3238, ComfyUI#7380",
    ),
    Failure(
        code="LOG011",
        name="cuda-unusable",
        severity="error",
        texts=(
            "CUDA driver version is insufficient",
            "Torch not compiled with CUDA enabled",
            "Found no NVIDIA driver",
            "No CUDA GPUs are available",
            "forward compatibility was attempted on non supported HW",
            "Torch is not able to use GPU",
        ),
        patterns=(r"The NVIDIA driver on your system is too old",),
        summary="PyTorch cannot use the graphics card.",
        cause=(
            "Either the driver is missing or older than PyTorch's CUDA, or a CPU build of PyTorch is "
            "installed."
        ),
        remedy=(
            "Run nvidia-smi: its CUDA version must not be below that of PyTorch (python -c 'import torch; "
            "print(torch.version.cuda)'). Update the driver, or install a PyTorch for the older CUDA; in a "
            "container start "
            "it with the GPU passed through."
        ),
        source="messages of PyTorch 2.x; kohya_ss#3332",
    ),
    Failure(
        code="LOG021",
        name="killed-by-system",
        severity="error",
        texts=(
            "Signals.SIGKILL",
            "Signals.SIGBUS",
            "DefaultCPUAllocator: not enough memory",
            "DefaultCPUAllocator: can't allocate memory",
            "is killed by signal: Bus error",
            "insufficient shared memory",
            "oom-kill",
        ),
        patterns=(
            r"^\s*(?:\S+: line \d+:\s+\d+ )?Killed\b",
            r"\bBus error\b",
            r"exit ?(?:code|status)\W+(?:-9|137|-7|135)\b",
            r"signal 9\b",
        ),
        summary="The operating system ended the run, for want of main memory.",
        cause=(
            "Loading a base model needs its file's size and a copy at once, and every data-loader worker "
            "holds its own share of main memory."
        ),
        remedy=(
            "Free main memory or add swap; pass --lowram, --max_data_loader_n_workers=0 or 1 and, for SDXL, "
            "a half-precision "
            "base file. In a container raise its memory limit and --shm-size."
        ),
        more=(
            "Measured: sd-scripts needs 6.7 GB at its peak for SD 1.5. A bus error (SIGBUS) also comes from "
            "a file that was "
            "overwritten while a program had it mapped: give a new LoRA a new name."
        ),
        source="kohya_ss#1065, sd-scripts#1065; memory and SIGBUS measured",
    ),
    Failure(
        code="LOG022",
        name="trained-on-cpu",
        severity="warning",
        example="accelerator device: cpu",
        patterns=(r"accelerator device: ?cpu\b",),
        summary="The run used the CPU though a GPU was probably meant.",
        cause=(
            "accelerate chose the CPU: no usable GPU was seen, or its configuration says so. A step then "
            "takes seconds to minutes."
        ),
        remedy=(
            "Run `accelerate env` and nvidia-smi; answer `accelerate config` again, and check that PyTorch "
            "is not a CPU build."
        ),
        source="sd-scripts 48d368fa, measured: 1.7 s a step at 128 px and 3.5 s at 256 px on two cores",
    ),
)
