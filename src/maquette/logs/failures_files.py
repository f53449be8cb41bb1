"""Known failures of files: models that are none, paths, permissions, encodings, folders' names. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

FILE_FAILURES: tuple[Failure, ...] = (
    Failure(
        code="LOG041",
        name="wrong-encoding",
        severity="error",
        example="UnicodeDecodeError: 'cp932' codec can't decode byte 0x83 in position 6: illegal multibyte sequence",
        patterns=(
            r"'(?P<detail>[\w-]{2,20})' codec can't (?:decode|encode)",
            r"UnicodeDecodeError: '?(?P<detail>[\w-]{2,20})",
        ),
        summary="A text has another encoding than the program expects.",
        cause="Somewhere a text was read or written as {detail}, and it is not.",
        remedy=(
            "Save captions, TOML files and prompts as UTF-8. On Windows set PYTHONUTF8=1 before the start (set PYTHONUTF8=1; "
            "in PowerShell $env:PYTHONUTF8=1)."
        ),
        readings=(
            Reading(
                when="A backslash that begins an escape",
                signs=(r"unicodeescape",),
                cause="A Windows path stands in a Python text, where \\U begins an escape.",
                remedy="Write the path with slashes (C:/Users/…) or doubled backslashes.",
            ),
            Reading(
                when="A text in UTF-16",
                signs=(r"codec can't decode byte 0x(?:ff|fe) in position 0",),
                cause=(
                    "A caption, TOML or prompt file is UTF-16 (as PowerShell's > and old editors write), and UTF-8 "
                    "is expected."
                ),
                remedy="Save the file as UTF-8; `maquette check` on the folder names the captions.",
            ),
            Reading(
                when="Printing fails",
                signs=(r"can't encode",),
                cause=(
                    "A message holds characters that the console or the log file cannot show in {detail}: Japanese words of "
                    "sd-scripts, a path, a caption. Training itself is well."
                ),
                remedy=(
                    "Set PYTHONUTF8=1 (or PYTHONIOENCODING=utf-8) before the start; on Windows also chcp 65001 in "
                    "that window."
                ),
            ),
            Reading(
                when="The text is not UTF-8",
                signs=(r"'?utf-?8'? codec can't decode", r"UnicodeDecodeError: '?utf"),
                cause=(
                    "A caption, TOML or path file is not UTF-8: an editor or a script saved it in Windows' own code page (or as "
                    "UTF-16)."
                ),
                remedy=(
                    "Save the file as UTF-8; `maquette check` on the folder names the captions. If the file is an interface's "
                    "TOML, keep paths to letters of English."
                ),
            ),
            Reading(
                when="Windows' own code page",
                signs=(
                    r"'(?:gbk|gb2312|gb18030|cp\d{3,4}|big5|euc[_-]\w{2}|shift_jis|charmap|ascii|latin-1|iso-?8859-?\d{1,2})'",
                ),
                cause=(
                    "The program read a UTF-8 text in the system's own code page ({detail}). With byte 0x80 at the beginning "
                    "it may also be a model file that is taken for a text."
                ),
                remedy=(
                    "Set PYTHONUTF8=1 before the start (set PYTHONUTF8=1 in cmd, $env:PYTHONUTF8=1 in PowerShell, export in "
                    "bash). If an error about a model file stands above it, that one comes first."
                ),
            ),
        ),
        source=(
            "kohya_ss#2331, kohya_ss#2334, sd-scripts#232, sd-scripts#513, lora-scripts#53, lora-scripts#440, Easy "
            "Training Scripts#122"
        ),
    ),
    Failure(
        code="LOG043",
        name="model-file-unreadable",
        severity="error",
        texts=(
            "HeaderTooLarge",
            "HeaderTooSmall",
            "InvalidHeader",
            "MetadataIncompleteBuffer",
            "incomplete metadata, file not fully covered",
            "UnpicklingError",
            "PytorchStreamReader failed",
            "failed finding central directory",
            "pickle data was truncated",
            "invalid load key",
            "Weights only load failed",
            "storage has wrong byte size",
            "Unable to load weights from pytorch checkpoint",
            "No such device (os error 19)",
        ),
        patterns=(
            r"unexpected EOF, expected \d{1,15} more bytes(?P<detail>)",
            r"Error while deserializing(?: header)?: (?P<detail>\w{1,60})",
        ),
        summary="A model file is not what its name says, or is damaged.",
        cause=(
            "The base model, VAE, LoRA or text encoder being loaded is cut off, or no file of that kind: a renamed .ckpt, a "
            "web page or a pointer of Git LFS saved as .safetensors, a download that broke off."
        ),
        remedy=(
            "Run `maquette models inspect FILE`: it says what the file is. Then download it again, in full, and compare size "
            "or sha256 with its page."
        ),
        readings=(
            Reading(
                when="HeaderTooLarge and its like",
                signs=(
                    r"HeaderToo(?:Large|Small)|InvalidHeader(?:Start|Length)?\b(?!Deser)",
                    r"header: (?:header too|invalid UTF-8|invalid header|invalid JSON)",
                ),
                cause=(
                    "The file is no safetensors at all, whatever its ending: most often a renamed .ckpt, a pointer of Git LFS, "
                    "or a saved web page."
                ),
                remedy=(
                    "Run `maquette models inspect FILE`. A renamed .ckpt gets its right ending back; a pointer or web page is "
                    "downloaded again (git lfs pull, or the download button)."
                ),
            ),
            Reading(
                when="MetadataIncompleteBuffer",
                signs=(r"MetadataIncompleteBuffer|not fully covered",),
                cause=(
                    "The safetensors file ends too early: its header promises more than is there. The download or "
                    "copy broke off."
                ),
                remedy=(
                    "Download or copy it again and compare its size with the page; `maquette models inspect FILE` "
                    "confirms it."
                ),
            ),
            Reading(
                when="A disk that cannot be mapped (os error 19)",
                signs=(r"os error 19",),
                cause=(
                    "The model lies on a disk that cannot be mapped into memory: a Windows disk under WSL (/mnt/c), "
                    "a network or FUSE folder."
                ),
                remedy="Copy the model to a disk of the system itself (under WSL into the home folder) and give that path.",
            ),
            Reading(
                when="A web page",
                signs=(r"invalid load key, '<'",),
                cause="The file begins with “<”: it is a saved web page, not a model.",
                remedy="Download the model itself: its page asks for a login or a click first.",
            ),
            Reading(
                when="A pointer of Git LFS",
                signs=(r"invalid load key, 'v'",),
                cause="The file begins with “v” (“version https://git-lfs…”): it is a pointer of Git LFS, not the model.",
                remedy="Run git lfs install and git lfs pull in that folder, or download the file from its page.",
            ),
            Reading(
                when="A pickle that PyTorch refuses",
                signs=(r"Weights only load failed|weights_only",),
                cause=(
                    "PyTorch 2.6 and newer do not run code from .ckpt, .pt and .bin files, and this one holds more than "
                    "tensors (or is no model file)."
                ),
                remedy=(
                    "Use the model's .safetensors file. Convert a .ckpt only if you trust where it came from: "
                    "loading it runs its code."
                ),
            ),
            Reading(
                when="A zip archive without its end",
                signs=(r"central directory|PytorchStreamReader|unexpected EOF|truncated|wrong byte size",),
                cause="The .ckpt, .pt or .bin file is cut off: the download or copy broke off.",
                remedy="Download it again and compare its size with the page, or take the .safetensors file.",
            ),
        ),
        source=(
            "sd-scripts#990, kohya_ss#1973, lora-scripts#276, diffusion-pipe#395, kohya_ss#172; messages of "
            "safetensors and PyTorch"
        ),
    ),
    Failure(
        code="LOG044",
        name="path-not-there",
        severity="error",
        general=True,
        example="FileNotFoundError: [WinError 3] The system cannot find the path specified: 'E:\\\\lora\\\\img'",
        patterns=(
            r"FileNotFoundError: (?:\[[^\]]{1,20}\] )?(?P<detail>.{1,200})",
            r"NotADirectoryError: (?:\[[^\]]{1,20}\] )?(?P<detail>.{1,200})",
            r"IsADirectoryError: (?:\[[^\]]{1,20}\] )?(?P<detail>.{1,200})",
            r"The system cannot find the (?:path|file|drive) specified(?P<detail>.{0,120})",
            r"code: 3?2?, kind: NotFound(?P<detail>)",
            r"Error no file named (?P<detail>.{1,80} found in directory .{1,160})",
            r"does not appear to have a file named (?P<detail>.{1,120})",
            r"ValueError: (?P<detail>.{1,160}) is not a directory",
            r"\[Errno 36\] File name too long(?P<detail>.{0,120})",
            r"\[WinError (?P<detail>(?:53|67|123|161|206|267)\].{0,160})",
            r"\[Errno 22\] Invalid argument: (?P<detail>.{1,160})",
            r"can't open file (?P<detail>.{1,160}): \[Errno 2\]",
            r"(?P<detail>[\w./\\ -]{1,120}): No such file or directory",
        ),
        except_texts=("exists, using", "using defaults"),
        summary="A file or folder is not where the command says.",
        cause="This path does not exist on that machine: {detail}",
        remedy=(
            "Correct the path (model, pictures, output, VAE, prompts, resume): copy it from the file manager; in a script put "
            "it in quotes. `maquette check` on the script says which paths are missing."
        ),
        readings=(
            Reading(
                when="A folder that is no model in diffusers' layout",
                signs=(r"no file named|have a file named",),
                cause="The folder or hub name is not a whole model in diffusers' layout: {detail} is missing.",
                remedy=(
                    "Give the folder that holds model_index.json, downloaded in full, or the single .safetensors file where the "
                    "trainer takes one; `maquette models inspect PATH` says what it is."
                ),
            ),
            Reading(
                when="A name that Windows does not allow",
                signs=(r"WinError 123|Errno 22",),
                cause=(
                    "The path holds a sign that Windows does not allow (quotes inside it, ?, *, |, a line's end), or "
                    "an escape: {detail}"
                ),
                remedy="Write the path with slashes (C:/lora/img) or doubled backslashes, without quotes inside the value.",
            ),
            Reading(
                when="A name too long",
                signs=(r"WinError 206|Errno 36",),
                cause="A path or file name is longer than the system allows: {detail}",
                remedy="Shorten folders and names (--output_name, captions used as names), nearer to the disk's root.",
            ),
        ),
        source="messages of Python, Windows and POSIX; kohya_ss#2142",
    ),
    Failure(
        code="LOG045",
        name="file-not-writable",
        severity="error",
        general=True,
        example="PermissionError: [Errno 13] Permission denied: 'E:\\\\lora\\\\out\\\\mk.safetensors'",
        patterns=(
            r"PermissionError: (?:\[[^\]]{1,20}\] )?(?P<detail>.{1,200})",
            r"\[Errno 13\] Permission denied(?P<detail>.{0,160})",
            r"\[Errno 30\] Read-only file system(?P<detail>.{0,160})",
            r"\[WinError (?:5|32|33)\](?P<detail>.{0,160})",
            r"kind: PermissionDenied(?P<detail>)",
            r"code: 1224\b(?P<detail>.{0,40})",
            r"os error 1224(?P<detail>)",
            r"(?P<detail>[\w./\\ -]{1,120}): Permission denied",
        ),
        summary="The system did not let the trainer open or write a file.",
        cause="Not allowed: {detail}",
        remedy=(
            "See that the folder may be written to, that the path is a file where a file is meant, and that no other program "
            "has it open."
        ),
        readings=(
            Reading(
                when="Another program holds the file",
                signs=(r"WinError (?:32|33)|1224|user-mapped",),
                cause="Another program holds the file: most often a drawing program that has the last LoRA of that name loaded.",
                remedy="Close it or choose another --output_name, then start again or save anew.",
            ),
            Reading(
                when="Windows",
                machine=("windows",),
                cause="Windows refused it: {detail}",
                remedy=(
                    "If it is the LoRA's own file: a drawing program has it open, so close that or choose another --output_name. "
                    "Else choose a folder of your own (not Program Files or C:\\), not read-only, not under OneDrive; give a "
                    "file where a file is meant."
                ),
            ),
            Reading(
                when="A read-only disk",
                signs=(r"Errno 30",),
                cause="The disk or folder is mounted read-only: {detail}",
                remedy="Choose an output and cache folder on a disk that can be written to (in a container: a mounted volume).",
            ),
        ),
        source="messages of Python, Windows and safetensors",
    ),
    Failure(
        code="LOG050",
        name="folder-without-a-count",
        severity="error",
        example="ValueError: invalid literal for int() with base 10: 'CROP'",
        patterns=(
            r"invalid literal for int\(\) with base 10: ['\"](?P<detail>.{0,80}?)['\"]",
            r"could not convert string to float: ['\"](?P<detail>.{0,80}?)['\"]",
        ),
        summary="A name was read as a number and is none.",
        cause=(
            "The trainer read '{detail}' as a whole number. In kohya_ss that is a folder's name: each folder in the image "
            "folder must begin with its repeats, as in 10_name."
        ),
        remedy="Rename or move the folder '{detail}…' out of the image folder: only N_name folders may lie there.",
        readings=(
            Reading(
                when="A size",
                signs=(r"base 10: ['\"]\d{2,5} ?[xX*×] ?\d{2,5}",),
                cause="A size is written '{detail}', and two numbers with a comma are required.",
                remedy="Write --resolution=512,512 (width, height) without spaces.",
            ),
            Reading(
                when="A number that is none",
                signs=(r"string to float",),
                cause="'{detail}' stands where a number is required: a learning rate, a weight, an argument of the optimizer.",
                remedy="Write plain numbers with a point: 0.0001 or 1e-4, without commas, units or spaces; no field empty.",
            ),
            Reading(
                when="A number with a point",
                signs=(r"base 10: ['\"]-?\d{0,12}[.,]\d{0,12}",),
                cause="'{detail}' stands where a whole number is required.",
                remedy="Write it without a point: 10, not 10.0.",
            ),
            Reading(
                when="An empty field",
                signs=(r"base 10: ['\"]['\"]",),
                cause="A field that must hold a whole number is empty.",
                remedy="Fill in the numbers of the form (steps, epochs, batch size, seed), or load the preset again.",
            ),
        ),
        source="kohya_ss#216",
    ),
)
