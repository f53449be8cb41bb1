"""Known failures of machine and installation: memory, disk, devices, missing packages. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

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
            "'WindowsPath' is not iterable",
            "cadam32bit_grad_fp32",
            "cadam_8bit_blockwise",
            "cget_managed_ptr",
            "str2optimizer32bit",
            "str2optimizer8bit_blockwise",
            "Required library version not found: libbitsandbytes",
            "CUDA_SETUP: something unexpected",
            "libbitsandbytes_cpu.so: cannot open",
            "bitsandbytes is not installed",
            "requires bitsandbytes",
            "Importing from bitsandbytes failed",
        ),
        patterns=(
            r"libbitsandbytes_(?P<detail>\w{1,40}\.(?:dll|so))['\"]? .{0,60}(?:not find|No such|cannot open|not found)",
            r"(?P<detail>libcudart\.so[\w.]{0,12}): cannot open shared object",
            r"Could not find the bitsandbytes (?P<detail>\w{1,12} binary)",
            r"module 'bitsandbytes(?:\.\w{1,20})?' has no attribute '(?P<detail>\w{1,60})'",
            r"bitsandbytes[\w./\\-]{0,160} .{0,40}(?P<detail>named symbol not found)",
        ),
        except_texts=("UserWarning", "has no attribute 'AdamW9"),
        summary="The 8-bit optimizer cannot run here.",
        cause=(
            "8-bit optimizers come from bitsandbytes, whose block-wise update exists for CUDA cards alone "
            "(or the package is missing)."
        ),
        remedy=(
            "Use --optimizer_type=AdamW: it needs no package. On a CUDA card the 8-bit one works after `pip install -U "
            "bitsandbytes` in the trainer's environment."
        ),
        readings=(
            Reading(
                when="A Mac",
                machine=("mps",),
                cause="8-bit optimizers come from bitsandbytes, whose block-wise update exists for CUDA cards alone.",
                remedy="On a Mac use --optimizer_type=AdamW.",
            ),
            Reading(
                when="bitsandbytes without its CUDA library",
                signs=(
                    r"WindowsPath|libbitsandbytes|cadam|cget_managed|str2optimizer|CUDA.?Setup|without GPU support|libcudart|"
                    r"bitsandbytes CUDA binary|symbol not found",
                ),
                cause=(
                    "bitsandbytes found no CUDA library of its own and fell back to the one for processors, which has no 8-bit "
                    "optimizer: on Windows old releases bring none, elsewhere PyTorch's CUDA is not seen."
                ),
                remedy=(
                    "In the trainer's environment: pip install -U bitsandbytes (releases since 0.43 bring CUDA libraries for "
                    "Windows, too; remove bitsandbytes-windows first). Or train with --optimizer_type=AdamW."
                ),
            ),
        ),
        more=(
            "Plain AdamW needs 6 bytes more for each trained value: about 110 MB for a rank-32 LoRA of SD "
            "1.5."
        ),
        source=(
            "field notes of a character LoRA on Apple silicon (AdamW8bit fails on MPS); sd-scripts 48d368fa,"
            " read; kohya_ss#64, kohya_ss#152, lora-scripts#16, sd-scripts#598, bitsandbytes#711, bitsandbytes#1200"
        ),
    ),
    Failure(
        code="LOG005",
        name="operator-missing-on-mps",
        severity="error",
        example="The operator 'aten::_linalg_svd.U' is not currently supported on the MPS backend",
        patterns=(
            r"(?P<detail>aten::[\w.]{1,60})?\W{0,4}is not currently (?:supported|implemented) (?:on|for) the MPS",
        ),
        texts=("framework doesn't support float64",),
        except_texts=("will fall back to run on the CPU",),
        readings=(
            Reading(
                when="Numbers in float64",
                signs=(r"float64",),
                cause="Something computes in float64 (an optimizer, a schedule), which Apple's GPU does not have.",
                remedy="Use --optimizer_type=AdamW with --lr_scheduler=cosine or constant, and update the trainer.",
            ),
        ),
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
            "CUDA error: out of memory",
            "MPS backend out of memory",
            "HIP out of memory",
            "HIP error: out of memory",
            "XPU out of memory",
            "OutOfMemoryError",
            "Allocation on device",
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CUBLAS_STATUS_NOT_INITIALIZED",
            "CUDNN_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_NOT_INITIALIZED",
            "cudaErrorMemoryAllocation",
            "ran out of memory on your GPU",
            "Unable to find a valid cuDNN algorithm",
            "CUDA driver error: out of memory",
            "not enough GPU video memory",
            "Invalid buffer size",
        ),
        patterns=(r"CUDNN_BACKEND\w{0,60}.{0,60}(?P<detail>ALLOC_FAILED)",),
        summary="The GPU's memory was full.",
        cause="Weights, activations, gradients and optimizer together did not fit into the GPU's memory.",
        remedy=LESS_MEMORY,
        readings=(
            Reading(
                when="A Mac",
                machine=("mps",),
                cause="Weights, activations, gradients and optimizer together did not fit into what the Mac gives its GPU.",
                remedy=(
                    "Close other programs (browser, ComfyUI) first. Then gradient checkpointing, cached latents, batch 1 with "
                    "accumulation 8, a smaller rank; only then 768 px for SDXL. 8-bit optimizers do not exist on a Mac; "
                    "PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 lifts the limit and lets the system swap."
                ),
            ),
            Reading(
                when="A library that could not start",
                signs=(r"NOT_INITIALIZED|valid cuDNN algorithm",),
                cause=(
                    "cuBLAS or cuDNN could not start: nearly always because nothing of the GPU's memory was left for it, "
                    "seldom because the driver does not fit PyTorch."
                ),
                remedy=(
                    "Close other programs that hold the card (nvidia-smi lists them), then use less memory: gradient "
                    "checkpointing, batch 1, cached latents, an 8-bit optimizer. If it comes at once on an empty card, update "
                    "the driver or reinstall PyTorch."
                ),
            ),
            Reading(
                when="A large card",
                machine=("cuda", "large"),
                cause=(
                    "The card is large enough for a LoRA of SDXL, so most of its memory was held by something else, or batch, "
                    "resolution and precision ask for too much."
                ),
                remedy=(
                    "Look with nvidia-smi what else holds the card (a drawing program, an older run), then bf16 instead of "
                    "float32, gradient checkpointing, a batch half as large; for FLUX and larger an fp8 base."
                ),
            ),
            Reading(
                when="An AMD card",
                machine=("rocm",),
                remedy=(
                    "Close other programs that hold the memory first. Then bf16 instead of float32, gradient checkpointing, "
                    "cached latents, batch 1 with accumulation 8, a smaller rank; only then 768 px for SDXL. "
                    "PYTORCH_HIP_ALLOC_CONF=expandable_segments:True helps against gaps."
                ),
            ),
        ),
        more=(
            "What a step needs grows with the square of the edge length and with the batch. Peers stop here without "
            "advice (kohya_ss#3329)."
        ),
        source=(
            "kohya_ss#3329, sd-scripts#1975, fluxgym#40, ai-toolkit#97, ai-toolkit#574, ai-toolkit#1038, "
            "ComfyUI-FluxTrainer#184; field notes on SDXL with 16 GB; field notes of a character LoRA, pitfall 5"
        ),
    ),
    Failure(
        code="LOG007",
        name="disk-full",
        severity="error",
        texts=(
            "No space left on device",
            "[Errno 28]",
            "Disk quota exceeded",
            "StorageFull",
            "[WinError 112]",
            "os error 112)",
            "There is not enough space on the disk",
            "PytorchStreamWriter failed writing file",
        ),
        patterns=(
            r"\bdisk\b.{0,40}\b(?P<detail>(?:99|1\d\d) ?%)",
            r"unexpected pos (?P<detail>\d{1,15} vs \d{1,15})",
        ),
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
            r"FileNotFoundError.{0,300}?(?P<detail>(?:\w{1,30}_)?train\w{0,30}\.py)",
            r"can't open file .{0,300}?(?P<detail>(?:\w{1,30}_)?train\w{0,30}\.py)",
            r"(?P<detail>(?:\w{1,30}_)?train\w{0,30}\.py).{0,120}No such file or directory",
            r"No such file or directory.{0,300}?(?P<detail>(?:\w{1,30}_)?train\w{0,30}\.py)",
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
            r"ModuleNotFoundError: No module named ['\"](?P<detail>[\w.]{1,80})['\"]",
            r"python(?:3?(?:\.\d{1,2})?|\.exe)?['\"]?: No module named (?P<detail>[\w.]{1,80})",
            r"ModuleNotFoundError: Refer to https://github\.com/facebookresearch/(?P<detail>xformers)",
            r"You need to install (?P<detail>\w{1,40}) to use",
            r"PackageNotFoundError: (?P<detail>[\w-]{1,60})",
            r"ImportError: No (?P<detail>xformers|lion_pytorch|dadaptation|prodigyopt|prodigy|schedulefree|wandb)\b",
        ),
        except_texts=("bitsandbytes", "'triton", "'networks."),
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
        readings=(
            Reading(
                when="LyCORIS",
                signs=(r"lycoris",),
                cause="The network module lycoris.kohya is a package of its own, and the environment lacks it.",
                remedy="In the trainer's environment: pip install lycoris-lora",
            ),
            Reading(
                when="xformers",
                signs=(r"xformers",),
                cause="--xformers was asked for, and the environment lacks the package.",
                remedy="Take --xformers out and use --sdpa, which needs no package and is as fast on current PyTorch.",
            ),
            Reading(
                when="The trainer's own parts",
                signs=(r"'(?:library|toolkit|modules|networks|helpers|extensions_built_in)\b",),
                cause=(
                    "{detail} is a part of the trainer itself: the command ran outside of its folder, or the "
                    "download is not whole."
                ),
                remedy=(
                    "Change into the trainer's folder before the start (cd sd-scripts), and see that its submodules "
                    "are there: git submodule update --init --recursive"
                ),
            ),
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
            "no kernel found to launch",
            "HIP error: invalid device function",
        ),
        patterns=(
            r"named symbol not found (?P<detail>at line \d{1,6} in file)",
            r"FATAL: kernel `?(?P<detail>fmha\w{0,60}`? is for sm\d{1,4})",
            r"xFormers wasn't build with (?P<detail>CUDA support)",
        ),
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
        readings=(
            Reading(
                when="An AMD card",
                signs=(r"HIP error",),
                cause="The installed PyTorch for ROCm holds no kernels for this AMD card.",
                remedy=(
                    "Set HSA_OVERRIDE_GFX_VERSION to the nearest supported card (10.3.0 for RX 6000, 11.0.0 for RX 7000) before "
                    "the start, or install a PyTorch for a newer ROCm."
                ),
            ),
            Reading(
                when="Attention in bf16 on an older card",
                signs=(r"no kernel found to launch",),
                cause=(
                    "PyTorch's attention has no kernel for this precision on this card: bf16 on one that came before "
                    "the RTX 30 series."
                ),
                remedy="Use --mixed_precision=fp16, or --xformers in place of --sdpa.",
            ),
            Reading(
                when="bitsandbytes",
                signs=(r"bitsandbytes|ops\.cu\b|pythonInterface",),
                cause=(
                    "The installed bitsandbytes holds no kernels for this card: it is older than the card, or made "
                    "for another CUDA."
                ),
                remedy="In the trainer's environment: pip install -U bitsandbytes; or train with --optimizer_type=AdamW.",
            ),
            Reading(
                when="xformers",
                signs=(r"xformers|memory_efficient_attention|fmha",),
                cause="The installed xformers holds no kernels for this card or this PyTorch.",
                remedy=(
                    "Use --sdpa instead of --xformers: it needs no package. Or install the xformers made for the "
                    "PyTorch in use."
                ),
            ),
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
            "is_available() should be True but is False",
            "CUDA unknown error",
        ),
        patterns=(
            r"The NVIDIA driver on your system is (?P<detail>too old)",
            r"nvidia-smi has failed(?P<detail>)",
        ),
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
        readings=(
            Reading(
                when="A Mac",
                machine=("mac",),
                cause="A Mac has no CUDA: an option or a script asks for a CUDA card.",
                remedy=(
                    "Use the trainer's way for Apple silicon (device mps): --mixed_precision=no, --optimizer_type=AdamW, "
                    "--no_half_vae, without --xformers; choose mps in `accelerate config`."
                ),
            ),
            Reading(
                when="A CPU build of PyTorch",
                signs=(r"not compiled with CUDA|Torch is not able",),
                cause="The installed PyTorch is a build without CUDA, whatever card is there.",
                remedy=(
                    "In the trainer's environment: pip install -U torch torchvision --index-url "
                    "https://download.pytorch.org/whl/cu128 (with an AMD card the index for ROCm)."
                ),
            ),
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
            "[WinError 1455]",
            "[WinError 1450]",
            "[WinError 8]",
            "zsh: killed",
            "os error 1455",
            "paging file is too small",
            "页面文件太小",
            "exited unexpectedly",
            "std::bad_alloc",
            "Cannot allocate memory",
        ),
        patterns=(
            r"^\s{0,8}(?:\S{1,200}: line \d{1,6}:\s{1,4}\d{1,9} )?Killed\b",
            r"\bBus error\b",
            r"exit ?(?:code|status)\W{1,4}(?P<detail>-9|137|-7|135)\b",
            r"signal 9\b",
            r"^(?:[\w.]{0,40}\.)?MemoryError\b",
            r"ArrayMemoryError: (?P<detail>Unable to allocate [\d.]{1,12} \wi?B)",
            r"not enough memory: you tried to allocate (?P<detail>\d{1,15} bytes)",
        ),
        summary="Main memory ran out: the system ended the run, or refused it more.",
        cause=(
            "Loading a base model needs its file's size and a copy at once, and every data-loader worker "
            "holds its own share of main memory."
        ),
        remedy=(
            "Free main memory or add swap; pass --lowram, --max_data_loader_n_workers=0 or 1 and, for SDXL, "
            "a half-precision "
            "base file. In a container raise its memory limit and --shm-size."
        ),
        readings=(
            Reading(
                when="Windows' page file (1455)",
                signs=(r"1455|1450|WinError 8\]|paging file|页面文件太小",),
                cause=(
                    "Windows could not promise the memory that loading PyTorch's libraries and the model takes: the page file "
                    "is too small (and each data-loader worker loads the libraries again)."
                ),
                remedy=(
                    "Enlarge the page file (System › Advanced › Performance › Virtual memory: system-managed, or 40 GB and more "
                    "on a disk with room) and restart; pass --max_data_loader_n_workers=0."
                ),
            ),
            Reading(
                when="Killed by the system (SIGKILL, 137)",
                signs=(r"SIGKILL|\bKilled\b|\W(?:-9|137)\b|signal 9|oom-kill",),
                cause=(
                    "The system ended the run (SIGKILL), as it does when main memory runs out: loading a base model needs its "
                    "file's size and a copy at once, and every data-loader worker holds its own share."
                ),
                remedy=(
                    "Free main memory or add swap; pass --lowram, --max_data_loader_n_workers=0 or 1 and, for SDXL, a "
                    "half-precision base file. In a container or on Colab raise its memory limit (dmesg names the ended process)."
                ),
            ),
            Reading(
                when="A worker of the data loader",
                signs=(r"exited unexpectedly|shared memory|shm",),
                cause="A worker process that reads pictures ended: main memory or shared memory ran out, or it could not start.",
                remedy=(
                    "Pass --max_data_loader_n_workers=0; in a container raise --shm-size (8g). The true error then "
                    "shows in the main process."
                ),
            ),
            Reading(
                when="Windows",
                machine=("windows",),
                remedy=(
                    "Close other programs and enlarge the page file (System › Advanced › Performance › Virtual memory); pass "
                    "--lowram, --max_data_loader_n_workers=0 and, for SDXL, a half-precision base file."
                ),
            ),
        ),
        more=(
            "Measured: sd-scripts needs 6.7 GB at its peak for SD 1.5. A bus error (SIGBUS) also comes from "
            "a file that was "
            "overwritten while a program had it mapped: give a new LoRA a new name."
        ),
        source=(
            "kohya_ss#1065, sd-scripts#1065, kohya_ss#57, kohya_ss#332, kohya_ss#338, kohya_ss#449; memory and "
            "SIGBUS measured"
        ),
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
