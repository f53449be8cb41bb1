"""Known failures before training begins: the command, its options, its tables, the shell; and ends from outside. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

COMMAND_FAILURES: tuple[Failure, ...] = (
    Failure(
        code="LOG036",
        name="command-refused",
        severity="error",
        example="train_network.py: error: unrecognized arguments: 768",
        patterns=(
            r"error: unrecognized arguments: (?P<detail>.{1,120})",
            r"error: argument (?P<detail>.{1,80}?): (?:invalid|expected|not allowed|ignored explicit)",
            r"error: the following arguments are required: (?P<detail>.{1,120})",
            r"error: ambiguous option: (?P<detail>.{1,80})",
            r"error: one of the arguments (?P<detail>.{1,120}?) is required",
            r"Error: Invalid value for (?P<detail>.{1,120})",
            r"Error: No such option: (?P<detail>.{1,80})",
            r"Error: Missing (?:option|argument) (?P<detail>.{1,80})",
        ),
        summary="The trainer refused its command line.",
        cause="The script does not take what it was given: {detail}. Nothing was loaded yet.",
        remedy=(
            "Correct it and check the command before the next start: save it as train.sh (or train.bat) and run "
            "`maquette check train.sh`."
        ),
        readings=(
            Reading(
                when="A number or word by itself",
                signs=(r"unrecognized arguments: [^-\s]",),
                cause=(
                    "{detail} stands by itself: a value holds a space, so the shell made two words of it (as in "
                    "--resolution=640, 768, or in a path)."
                ),
                remedy='Write the value without the space or in quotes: --resolution="640,768"; quote every path with a space.',
            ),
            Reading(
                when="An option that this script has not",
                signs=(r"unrecognized arguments: -", r"No such option"),
                cause=(
                    "This script has no option {detail}: it is misspelt, belongs to another script (SDXL's and FLUX's have "
                    "some of their own), or the trainer is older or newer than the recipe."
                ),
                remedy=(
                    "Take the option out, or update the trainer (git pull, then its requirements). `maquette check train.sh` "
                    "names the nearest option that exists."
                ),
            ),
            Reading(
                when="A value outside the list",
                signs=(r"invalid choice",),
                cause="{detail} takes only the values that the line lists after “choose from”.",
                remedy="Write one of the listed values, letter for letter.",
            ),
            Reading(
                when="A value of another kind",
                signs=(r"invalid (?:int|float) value",),
                cause="{detail} takes a number, a whole one where the line says int.",
                remedy=(
                    "Write a plain number (--train_batch_size=1, --max_train_steps=1600), without units or quotes "
                    "inside quotes."
                ),
            ),
            Reading(
                when="An option without its value",
                signs=(r"expected (?:one|at least one|\d) argument",),
                cause="{detail} was given without its value: it is empty in the form or the script, or a line ended too early.",
                remedy="Give it a value, or take it out.",
            ),
            Reading(
                when="Something that must be there",
                signs=(r"arguments are required", r"is required", r"Missing (?:option|argument)"),
                cause="{detail} must be given, and was not: a line of the command was cut off, or a field left empty.",
                remedy="Give it. In a script see that every line but the last ends with \\ (bash), ^ (cmd) or ` (PowerShell).",
            ),
        ),
        source="messages of Python's argparse and of click; kohya_ss#192, kohya-trainer#120",
    ),
    Failure(
        code="LOG037",
        name="program-not-found",
        severity="error",
        example="./train.sh: line 12: accelerate: command not found",
        patterns=(
            r"(?P<detail>[^\s:'\"]{1,120}): command not found",
            r"\$'(?P<detail>\\r)': command not found",
            r"'(?P<detail>[\w.-]{1,40})' �����",
            r"(?:^|: )\d{1,6}: (?P<detail>[\w./-]{1,120}): not found$",
            r"(?P<detail>[\w./-]{0,120}(?:accelerate|python3?|torchrun)): No such file or directory",
            r"(?P<detail>[\w./\\-]{1,120})\W{1,3}wurde nicht als Name eines Cmdlet",
            r"无法将\W?(?P<detail>[\w./\\-]{1,120})\W?项识别为",
            r"(?P<detail>[\w./\\-]{1,120})' は、コマンドレット",
            r"command not found: (?P<detail>\S{1,120})",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? is not recognized as (?:an internal|the name|a name)",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? 不是内部或外部命令",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? は、?内部コマンドまたは外部コマンド",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? ist entweder falsch geschrieben",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? n'est pas reconnu en tant que commande",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? no se reconoce como un comando",
            r"(?P<detail>[\w./\\-]{1,120})['\"]? не является внутренней или внешней",
            r"No such file or directory: '(?P<detail>(?:[\w./\\-]{0,120}[/\\])?(?:accelerate|python3?|torchrun)(?:\.exe)?)'",
            r"(?P<detail>[\w./\\-]{1,120}): cannot execute",
            r"(?P<detail>[\w./\\-]{1,120}): bad interpreter",
        ),
        summary="The shell did not find the program.",
        cause=(
            "{detail} is not in the environment that ran the command: the trainer's own environment (venv) was not active, "
            "or the trainer is not installed."
        ),
        remedy=(
            "Activate the trainer's environment first (source venv/bin/activate; on Windows venv\\Scripts\\activate), then "
            "start. If it is still missing there, install the trainer's requirements."
        ),
        readings=(
            Reading(
                when="An option is taken for a program",
                signs=(
                    r"(?:^|[\s:'\"])--?[a-z]\w{1,60}[^:]{0,80}: command not found",
                    r"not found: --",
                    r"['\"]?--\w{1,60}['\"]? (?:is not recognized|不是|は)",
                ),
                cause=(
                    "{detail} is an option, not a program: the line above it does not end with the sign that joins lines, "
                    "or a space or remark follows that sign."
                ),
                remedy="End every line but the last with \\ (bash), ^ (cmd) or ` (PowerShell), nothing after it.",
            ),
            Reading(
                when="cmd's ^ in bash",
                signs=(r"\^: command not found",),
                cause="^ joins lines in Windows' cmd; bash takes it for a word.",
                remedy="Write \\ at the ends of the lines of a .sh file.",
            ),
            Reading(
                when="A script with Windows line ends",
                signs=(r"\$'\\r': command not found", r"\\r: command not found", r"bad interpreter"),
                cause="The script has Windows line ends (\\r\\n), or the interpreter that its first line names is gone.",
                remedy="Convert it: sed -i 's/\\r$//' train.sh; or make the environment anew where the trainer was moved.",
            ),
        ),
        source="messages of bash, zsh, cmd and PowerShell; kohya_ss#1466",
    ),
    Failure(
        code="LOG038",
        name="crashed-below-python",
        severity="error",
        texts=(
            "Segmentation fault",
            "Signals.SIGSEGV",
            "Signals.SIGABRT",
            "Signals.SIGILL",
            "Illegal instruction",
            "illegal hardware instruction",
            "Abort trap",
            "zsh: abort",
            "(core dumped)",
            "terminate called after throwing",
            "Fatal Python error",
            "Windows fatal exception",
            "stack smashing detected",
            "double free or corruption",
        ),
        example="subprocess.CalledProcessError: Command '[…]' returned non-zero exit status 3221225477.",
        patterns=(
            r"code\W{1,3}(?P<detail>32212(?:25477|26505|25725|25781|25501|25620|26356|25794|25785|25595|25495))\b",
            r"status\W{1,3}(?P<detail>3221225477|3221226505|3221225725|3221225781|3221225501|3221225620|3221226356|"
            r"3221225794|3221225785|3221225595|3221225495)\b",
            r"code\W{1,3}(?P<detail>-10737(?:41819|40791|41571|41515|41795|40940|41502|41801))\b",
            r"status\W{1,3}(?P<detail>-1073741819|-1073740791|-1073741571|-1073741515|-1073741795|-1073740940|"
            r"-1073741502|-1073741801)\b",
            r"exit ?(?:status|code)\W{1,4}(?P<detail>-11|139|-6|134|-4|132)\b",
            r"failed with (?:return |exit )?code (?P<detail>-11|139|-6|134|-4|132)\b",
            r"0xC000(?P<detail>0005|0409|00FD|001D|0374)\b",
        ),
        summary="A compiled part of the trainer crashed: Python had no chance to say why.",
        cause=(
            "The process broke off inside compiled code (PyTorch, xformers, bitsandbytes, the driver), so there is no "
            "message: an access to memory that is not there."
        ),
        remedy=(
            "Take compiled extras out one at a time: --sdpa for --xformers, --optimizer_type=AdamW for an 8-bit one, "
            "--max_data_loader_n_workers=0. Then update the driver and reinstall PyTorch with its extras as one set. If it "
            "comes at random steps, watch main memory and the card's temperature."
        ),
        readings=(
            Reading(
                when="3221225477 (0xC0000005)",
                signs=(r"3221225477|-1073741819|0xC0000005",),
                cause=(
                    "3221225477 is Windows' access violation (0xC0000005): compiled code touched memory that is not there. "
                    "Python has no message for it."
                ),
                remedy=(
                    "Most often xformers or bitsandbytes do not fit PyTorch, or memory ran out: use --sdpa and "
                    "--optimizer_type=AdamW for a try, enlarge the page file, update the driver; reinstall PyTorch and xformers "
                    "as one set."
                ),
            ),
            Reading(
                when="3221226505 (0xC0000409)",
                signs=(r"3221226505|-1073740791|0xC0000409",),
                cause=(
                    "3221226505 (0xC0000409) is a program that ended itself on damaged memory or a failed check in "
                    "compiled code."
                ),
                remedy=(
                    "Use --sdpa and --optimizer_type=AdamW for a try; update the graphics driver; reinstall PyTorch with its "
                    "extras as one set."
                ),
            ),
            Reading(
                when="3221225781 or 3221225794 (a DLL)",
                signs=(r"3221225781|3221225794|3221225785|3221225595|-1073741515|-1073741502",),
                cause="The number says that a DLL was not found, or did not start (0xC0000135, 0xC0000142).",
                remedy=(
                    "Install Microsoft's Visual C++ Redistributable (2015–2022, x64), then the trainer's requirements anew; "
                    "restart Windows if many programs show it."
                ),
            ),
            Reading(
                when="3221225725 (0xC00000FD)",
                signs=(r"3221225725|-1073741571|0xC00000FD",),
                cause="3221225725 (0xC00000FD) is a stack overflow: code called itself without end.",
                remedy="Update the trainer and its packages together; report it with the command if it stays.",
            ),
            Reading(
                when="3221225495 (0xC0000017)",
                signs=(r"3221225495|-1073741801",),
                cause="3221225495 (0xC0000017) is Windows without memory for the program.",
                remedy=(
                    "Enlarge the page file (System › Advanced › Performance › Virtual memory: 40 GB or more); close "
                    "other programs."
                ),
            ),
            Reading(
                when="An illegal instruction",
                signs=(
                    r"3221225501|-1073741795|0xC000001D|SIGILL|illegal (?:hardware )?instruction|\W(?:-4|132)\b",
                ),
                cause="The processor does not know an instruction that a package uses: most often it is too old for AVX or AVX2.",
                remedy="Install builds without it (an older PyTorch), or train on a newer computer.",
            ),
            Reading(
                when="An abort",
                signs=(r"SIGABRT|\W(?:-6|134)\b|Abort|terminate called",),
                cause=(
                    "Compiled code ended itself on a failed check; a line above the last ones often names it "
                    "(terminate called, what())."
                ),
                remedy="Look for the lines with “terminate called” or “what():” above, and search for these.",
            ),
        ),
        more=(
            "Signals and their codes: SIGSEGV −11 or 139, SIGABRT −6 or 134, SIGILL −4 or 132. Windows: 0xC0000005 and its "
            "kin, printed as 3221225477 or −1073741819."
        ),
        source="NTSTATUS values of Windows; signal(7); kohya_ss#390, kohya_ss#2556 (no thread settled it)",
    ),
    Failure(
        code="LOG039",
        name="ended-from-outside",
        severity="warning",
        texts=(
            "Signals.SIGTERM",
            "Signals.SIGHUP",
            "Signals.SIGINT",
            "program aborting due to window-CLOSE",
            "program aborting due to control-C",
            "zsh: terminated",
            "zsh: hangup",
        ),
        example="subprocess.CalledProcessError: Command '[…]' returned non-zero exit status 3221225786.",
        patterns=(
            r"code\W{1,3}(?P<detail>3221225786|-1073741510)\b",
            r"status\W{1,3}(?P<detail>3221225786|-1073741510)\b",
            r"^\s{0,8}(?:\S{1,200}: line \d{1,6}:\s{1,4}\d{1,9} )?(?P<detail>T)erminated\b",
            r"exit ?(?:status|code)\W{1,4}(?P<detail>-15|143|-2|130|-1|129)\b",
        ),
        summary="The run was ended from outside, by a person or the system.",
        cause="Nothing in the run failed: something told it to end.",
        remedy="Start it again, from its saved state (--resume) if one was saved.",
        readings=(
            Reading(
                when="Ctrl-C, or the window closed (3221225786)",
                signs=(r"3221225786|-1073741510|SIGINT|window-CLOSE|control-C|\W(?:-2|130)\b",),
                cause="The number or signal is that of Ctrl-C, or of a console window that was closed.",
                remedy=(
                    "If it was not you: a click into a Windows console and Ctrl-C to copy a text end the run. Start it again, "
                    "from its saved state (--resume) if one was saved."
                ),
            ),
            Reading(
                when="The terminal or connection was closed",
                signs=(r"SIGHUP|hangup|\W(?:-1|129)\b",),
                cause="SIGHUP: the terminal or the connection that the run belonged to was closed.",
                remedy="Start long runs in tmux or with nohup, and resume from the saved state (--resume).",
            ),
            Reading(
                when="SIGTERM",
                signs=(r"SIGTERM|terminated\b|\W(?:-15|143)\b",),
                cause=(
                    "SIGTERM: the system, a container's limit, the Stop button of an interface or a rented machine's "
                    "end told it to end."
                ),
                remedy=(
                    "See whether a time limit or another process of the run ended first; resume from the saved state "
                    "(--resume)."
                ),
            ),
        ),
        source="NTSTATUS values of Windows (0xC000013A); signal(7)",
    ),
    Failure(
        code="LOG040",
        name="tables-refused",
        severity="error",
        example="voluptuous.error.MultipleInvalid: extra keys not allowed @ data['bucket_no_upscale']",
        patterns=(
            r"extra keys not allowed @ data(?P<detail>(?:\[[^\]]{1,60}\]){1,8})",
            r"required key not provided @ data(?P<detail>(?:\[[^\]]{1,60}\]){1,8})",
            r"expected .{1,60} for dictionary value @ data(?P<detail>(?:\[[^\]]{1,60}\]){1,8})",
            r"MultipleInvalid: (?P<detail>.{1,120})",
            r"\b(?:toml|tomli|tomllib)\.(?:decoder\.)?TOMLDecodeError: (?P<detail>.{1,120})",
            r"TomlDecodeError: (?P<detail>.{1,120})",
            r"JSONDecodeError: (?P<detail>.{1,120})",
            r"\byaml\.\w{1,20}\.(?P<detail>(?:Scanner|Parser|Constructor|Composer|Reader)Error.{0,80})",
        ),
        summary="A file with settings was refused.",
        cause="The trainer cannot take {detail} in the file of settings or of the dataset.",
        remedy="Correct the file; `maquette check FILE` on it says every such place at once.",
        readings=(
            Reading(
                when="A training setting in the dataset's TOML",
                signs=(r"extra keys not allowed @ data\['(?!datasets|general)[^']{1,60}'\](?!\[)",),
                cause=(
                    "{detail} is no table of a dataset's TOML: this is a file of training settings, and it was given as "
                    "--dataset_config."
                ),
                remedy=(
                    "Give it as --config_file. A dataset's TOML has only [general] and [[datasets]] with their subsets."
                ),
            ),
            Reading(
                when="A key that no dataset has",
                signs=(r"extra keys not allowed",),
                cause=(
                    "The dataset's TOML has a key that sd-scripts does not know there: {detail}. It is misspelt, or "
                    "at the wrong level."
                ),
                remedy=(
                    "Take it out or move it: resolution, batch_size and enable_bucket belong under [[datasets]] or [general], "
                    "image_dir, num_repeats and caption_extension under [[datasets.subsets]]. `maquette check FILE.toml` names "
                    "each place."
                ),
            ),
            Reading(
                when="A key is missing",
                signs=(r"required key not provided",),
                cause="The dataset's TOML lacks {detail}.",
                remedy="Add it: every subset needs image_dir (a fine-tuning subset metadata_file).",
            ),
            Reading(
                when="Backslashes",
                signs=(
                    r"Reserved escape sequence|Invalid \\\\?escape|Unescaped '\\'|invalid escape|Invalid hex value",
                ),
                cause="A Windows path stands in double quotes: there a backslash begins an escape.",
                remedy="Write the path in single quotes ('C:\\pictures') or with slashes (C:/pictures).",
            ),
            Reading(
                when="A tab in YAML",
                signs=(r"cannot start any token",),
                cause="The YAML file is indented with a tab, or a value begins with a reserved sign.",
                remedy="Indent with spaces alone; put values that begin with @, %, ` or a tab in quotes.",
            ),
            Reading(
                when="JSON",
                signs=(r"JSONDecodeError",),
                cause="A JSON file is empty, cut off or has a comma too many: {detail}.",
                remedy="Open the file at that line and column; an interface's own settings file can be deleted and saved anew.",
            ),
        ),
        source="sd-scripts#1486, kohya_ss#1248, blora_for_kohya#4; messages of voluptuous, toml, json and PyYAML",
    ),
    Failure(
        code="LOG048",
        name="setting-refused",
        severity="error",
        example="ValueError: 'cosine_annealing' is not a valid SchedulerType",
        patterns=(
            r"ValueError: '?(?P<detail>[^'\s]{0,60})'? is not a valid (?:SchedulerType|\w{1,40}Type)\b",
            r"bucket_reso_steps is (?P<detail>[^.]{1,12})\. it must be divisible",
            r"(?P<detail>\w{0,40}bucket_reso) must be (?:equal or )?(?:greater|less|divisible)",
            r"resolution.{0,40}must be (?P<detail>divisible by \d{1,4})",
            r"image too large, but (?P<detail>cropping and bucketing are disabled)",
            r"height and width.{0,60}divisible by (?P<detail>\d{1,3})",
            r"Invalid (?P<detail>(?:learning rate|beta parameter|epsilon value|weight_decay value)[^\n]{0,60})",
            r"__init__\(\) got an unexpected keyword argument '(?P<detail>\w{1,60})'",
            r"unknown optimizer type: (?P<detail>\S{1,60})",
            r"module '(?:torch\.optim|bitsandbytes\.optim|dadaptation)[\w.]{0,40}' has no attribute '(?P<detail>\w{1,60})'",
            r"No module named 'networks\.(?P<detail>\w{1,60})'",
            r"malformed node or string.{0,60}(?P<detail>)",
            r"api_key not configured(?P<detail>.{0,60})",
            r"not enough values to unpack \(expected 2, got 1\)(?P<detail>)",
        ),
        except_texts=("Accelerator.__init__",),
        summary="A setting has a value that the trainer does not take.",
        cause="The trainer refused a value: {detail}.",
        remedy="Correct that setting; `maquette check` on the script or TOML judges every value against the trainer's lists.",
        readings=(
            Reading(
                when="A schedule that does not exist",
                signs=(r"valid SchedulerType",),
                cause="There is no learning-rate schedule '{detail}'.",
                remedy=(
                    "Use one of --lr_scheduler=linear, cosine, cosine_with_restarts, polynomial, constant, "
                    "constant_with_warmup or adafactor."
                ),
            ),
            Reading(
                when="wandb without a login",
                signs=(r"api_key not configured",),
                cause="--log_with=wandb was asked for, and that machine has no login for it.",
                remedy="Run wandb login on that machine (or set WANDB_API_KEY), or use --log_with=tensorboard.",
            ),
            Reading(
                when="Steps of buckets, 64 demanded",
                signs=(r"divisible by 64",),
                cause="--bucket_reso_steps is {detail}, and this script takes multiples of 64 alone.",
                remedy="Set --bucket_reso_steps=64.",
            ),
            Reading(
                when="Steps of buckets",
                signs=(r"bucket_reso_steps is",),
                cause=(
                    "--bucket_reso_steps is {detail}: sizes of buckets must be multiples of 64 for SD 1.x and 2.x, "
                    "of 32 for SDXL."
                ),
                remedy="Set --bucket_reso_steps=64 (SDXL: 32 or 64).",
            ),
            Reading(
                when="Pictures larger than the resolution",
                signs=(r"image too large",),
                cause="Pictures are larger than --resolution, and neither buckets nor crops are on.",
                remedy="Add --enable_bucket.",
            ),
            Reading(
                when="Sizes of buckets or pictures",
                signs=(r"bucket_reso must|divisible by",),
                cause=(
                    "A size does not fit the grid: {detail}. Resolution must lie between --min_bucket_reso and "
                    "--max_bucket_reso, all multiples of 64."
                ),
                remedy="Use 512, 768 or 1024 with --min_bucket_reso=256 and --max_bucket_reso twice the resolution.",
            ),
            Reading(
                when="An argument of another optimizer",
                signs=(r"unexpected keyword argument",),
                cause=(
                    "The optimizer or network has no argument {detail}: --optimizer_args or --network_args are those "
                    "of another one, or the package is older."
                ),
                remedy=(
                    "Take {detail} out of --optimizer_args / --network_args, or choose the optimizer or network it "
                    "belongs to."
                ),
            ),
            Reading(
                when="An optimizer that does not exist",
                signs=(
                    r"unknown optimizer|has no attribute '\w{0,60}(?:Adam|Lion|SGD|8bit|Prodigy|DAdapt|scheduler|LR)",
                ),
                cause="There is no optimizer or schedule {detail}, or the installed package is too old for it.",
                remedy=(
                    "Write it as the trainer's list does (AdamW, AdamW8bit, Lion, Prodigy, Adafactor, DAdaptAdam); "
                    "capitals may count."
                ),
            ),
            Reading(
                when="A network module that does not exist",
                signs=(r"No module named 'networks",),
                cause=(
                    "sd-scripts has no module networks.{detail}: --network_module is misspelt, or the command ran "
                    "outside of sd-scripts' folder."
                ),
                remedy=(
                    "Use --network_module=networks.lora (or lycoris.kohya, with `pip install lycoris-lora`) and "
                    "start in sd-scripts' folder."
                ),
            ),
            Reading(
                when="An argument without =",
                signs=(r"arg\.split\(|split\(['\"]=['\"]\)|malformed node",),
                cause=(
                    "An entry of --optimizer_args, --network_args or --lr_scheduler_args is not of the form "
                    "name=value, or its value is no Python value."
                ),
                remedy=(
                    "Write each as name=value without spaces around =: --optimizer_args weight_decay=0.01 "
                    "betas=0.9,0.99; or leave the field empty."
                ),
            ),
            Reading(
                when="Two values expected",
                signs=(r"not enough values to unpack",),
                cause=(
                    "Something that should be a pair was single: most often an entry of --optimizer_args, "
                    "--network_args or --lr_scheduler_args without “=”."
                ),
                remedy="Look at these three: each entry is name=value, without spaces around =; or leave the field empty.",
            ),
        ),
        source="sd-scripts 48d368fa, read; kohya_ss#1817 (lr_scheduler_args)",
    ),
    Failure(
        code="LOG051",
        name="nothing-is-trained",
        severity="error",
        texts=(
            "optimizer got an empty parameter list",
            "does not require grad and does not have a grad_fn",
            "No inf checks were recorded for this optimizer",
            "no trainable parameters",
            "There are not any lora modules",
        ),
        summary="Nothing of the model is set to be trained.",
        cause=(
            "No trainable weight reaches the loss: both learning rates are 0, U-Net and text encoder are both switched off, "
            "or no layer matched what the network module looks for."
        ),
        remedy=(
            "Set --unet_lr (1e-4) and do not combine --network_train_unet_only with --network_train_text_encoder_only; see "
            "that the script fits the model (`maquette models inspect FILE`), and “create LoRA for U-Net: … modules” is not 0."
        ),
        readings=(
            Reading(
                when="Gradients that no optimizer saw",
                signs=(r"No inf checks were recorded",),
                cause=(
                    "The fp16 scaler found no gradient for the optimizer: its parameters took no part in the step (a "
                    "learning rate of 0, a part that is frozen)."
                ),
                remedy="Give every part that is trained a rate above 0, or switch it off; use bf16 where the card has it.",
            ),
        ),
        source="messages of PyTorch; lora-scripts#645, SimpleTuner#843, OneTrainer#448",
    ),
)
