"""Known failures of packages that do not fit each other. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

PACKAGE_FAILURES: tuple[Failure, ...] = (
    Failure(
        code="LOG055",
        name="workers-not-started",
        severity="error",
        texts=(
            "cannot pickle '",
            "Can't pickle",
            "EOFError: Ran out of input",
            "before the current process has finished its bootstrapping phase",
            "Cannot re-initialize CUDA in forked subprocess",
        ),
        example="AttributeError: Can't pickle local object 'train.<locals>.<lambda>'",
        except_texts=("UnpicklingError",),
        summary="Workers of the data loader could not be started.",
        cause=(
            "On Windows and Macs a worker is a fresh process to which everything is sent, and something could not be sent: "
            "training itself is well."
        ),
        remedy=(
            "Use no workers: --max_data_loader_n_workers=0 (and without --persistent_data_loader_workers); in ai-toolkit "
            "num_workers: 0 of the dataset, in other trainers “dataloader threads” 0 or 1."
        ),
        source="ai-toolkit#34; messages of Python's multiprocessing",
    ),
    Failure(
        code="LOG049",
        name="packages-do-not-fit",
        severity="error",
        texts=(
            "Numpy is not available",
            "compiled using NumPy 1.x cannot be run in",
            "numpy.core.multiarray failed to import",
            "numpy.dtype size changed",
            "operator torchvision::nms does not exist",
            "Descriptors cannot be created directly",
            "undefined symbol",
            "DLL load failed while importing",
            "text_model.embeddings.position_ids",
            "The specified procedure could not be found",
            "The specified module could not be found",
            "'type' object is not subscriptable",
            "'**' can only be an entire path component",
        ),
        patterns=(
            r"cannot import name '(?P<detail>\w{1,60}' from '[\w.]{1,60})'",
            r"module '(?P<detail>(?:torch|numpy|transformers|diffusers|PIL|xformers)[\w.]{0,40}' has no attribute '\w{1,60})'",
            r"ImportError: (?P<detail>[\w-]{1,40}[<>=!~][\d.,<>=!~a-z]{1,80}) is required",
            r"Could not find module '(?P<detail>[^']{1,160}\.dll)",
            r"(?P<detail>lib[\w.+-]{1,40}\.so[\w.]{0,12}): cannot open shared object file",
            r"requires transformers(?P<detail>[<>=! ]{1,4}[\d.]{1,12})",
        ),
        except_texts=(
            "bitsandbytes",
            "libcudart",
            "torch.optim",
            "libtcmalloc",
            "nvinfer",
            "TensorRT",
            "cadam32bit",
        ),
        summary="Installed packages do not fit each other.",
        cause=(
            "One package was replaced by a version that another does not know ({detail}): most often by installing something "
            "else into the trainer's environment."
        ),
        remedy=(
            "Reinstall the trainer's own list into its own environment: activate it, then pip install -r requirements.txt "
            "(kohya_ss: its setup script). Best into a fresh one."
        ),
        readings=(
            Reading(
                when="NumPy 2",
                signs=(r"numpy",),
                cause="NumPy 2 is installed, and another package was built for NumPy 1.",
                remedy='In the trainer\'s environment: pip install "numpy<2"',
            ),
            Reading(
                when="position_ids",
                signs=(r"position_ids",),
                cause=(
                    "transformers is newer than the trainer: since 4.31 CLIP has no position_ids, and the checkpoint "
                    "still does."
                ),
                remedy=(
                    "Update the trainer, or install the transformers of its requirements.txt (pip install -r "
                    "requirements.txt)."
                ),
            ),
            Reading(
                when="torchvision and PyTorch",
                signs=(r"torchvision::nms",),
                cause="torchvision belongs to another PyTorch than the one installed.",
                remedy=(
                    "Install both as one set: pip install -U torch torchvision --index-url "
                    "https://download.pytorch.org/whl/cu128 "
                    "(on a Mac without the index)."
                ),
            ),
            Reading(
                when="A DLL",
                signs=(r"DLL load failed|specified (?:procedure|module) could not|\.dll",),
                cause=(
                    "A DLL that a package needs is missing or of another version: Microsoft's runtime, or PyTorch "
                    "and its extras from two releases."
                ),
                remedy=(
                    "Install Microsoft's Visual C++ Redistributable (2015–2022, x64); then reinstall PyTorch and its "
                    "extras as one set."
                ),
            ),
            Reading(
                when="An old Python",
                signs=(r"'type' object is not subscriptable",),
                cause="The trainer is written for Python 3.10 or newer, and an older one ran it.",
                remedy="Make the trainer's environment with Python 3.10 or 3.11.",
            ),
            Reading(
                when="A library of the system",
                signs=(r"libGL|libgthread",),
                cause="OpenCV needs a library of the system that this machine lacks ({detail}).",
                remedy="apt-get install libgl1 libglib2.0-0, or pip install opencv-python-headless in place of opencv-python.",
            ),
        ),
        source="kohya_ss#2203; messages of NumPy, PyTorch, transformers and Python; Easy Training Scripts#6",
    ),
    Failure(
        code="LOG052",
        name="compile-needs-triton",
        severity="error",
        texts=(
            "BackendCompilerFailed",
            "Cannot find a working triton installation",
            "triton_key",
            "Compiler: cl is not found",
            "Failed to find C compiler",
            "torch._inductor.exc",
            "Unsupported: torch.compile",
        ),
        summary="torch.compile was asked for and cannot work here.",
        cause=(
            "PyTorch's compiler (dynamo, inductor) needs triton and a C compiler; on Windows and Macs they are missing as a "
            "rule."
        ),
        remedy=(
            "Switch it off: accelerate launch --dynamo_backend=no, answer `accelerate config` with no dynamo, and leave out "
            "--torch_compile. Nothing but some speed is lost."
        ),
        source="messages of PyTorch and triton",
    ),
)
