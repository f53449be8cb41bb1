"""Faults of training logs: the clean log with one thing changed or added."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.planted.case import Case, close_call, fault


def moving_average(losses: Sequence[float], window: int) -> list[float]:
    """Return sd-scripts' avr_loss: over the first epoch the mean so far, then the mean of the last `window`."""
    return [
        sum(losses[max(0, index + 1 - window) : index + 1]) / min(window, index + 1)
        for index in range(len(losses))
    ]


def raw_losses(
    level: Callable[[float], float], steps: int, *, seed: int = 5, noise: float = 0.06
) -> list[float]:
    """Return noisy step losses around `level(share of the run)`; skewed as a diffusion loss is."""
    generator = random.Random(seed)
    shape = 1.6
    return [
        max(0.002, level(step / steps) + noise * (generator.gammavariate(shape, 1 / shape) - 1))
        for step in range(steps)
    ]


def clock(seconds: float) -> str:
    """Return seconds as tqdm writes them."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def progress(
    values: Sequence[float], *, pace: Callable[[int], float] = lambda step: 2.0, total: int | None = None
) -> str:
    """Return the progress bar of a run, one return (\\r) a step."""
    total = total or len(values)
    parts, elapsed = [f"steps:   0%|          | 0/{total} [00:00<?, ?it/s]"], 0.0
    for step, value in enumerate(values, start=1):
        elapsed += pace(step)
        left = (total - step) * elapsed / step
        bar = "█" * (10 * step // total) + " " * (10 - 10 * step // total)
        parts.append(
            f"steps: {100 * step // total:3d}%|{bar}| {step}/{total} [{clock(elapsed)}<{clock(left)}, "
            f"{elapsed / step:5.2f}s/it, avr_loss={value:.3g}]"
        )
    return "\r".join(parts)


def sd_log(
    values: Sequence[float],
    *,
    batches: int | None = None,
    total: int | None = None,
    pace: Callable[[int], float] = lambda step: 2.0,
    head: str = "",
    end: str = "\nsaving checkpoint: output/zkw_fox.safetensors\nmodel saved.\n",
) -> str:
    """Return a log of sd-scripts' train_network.py."""
    window = f"  num batches per epoch / 1epochのバッチ数: {batches}\n" if batches else ""
    return (
        f"{head}running training / 学習開始\n{window}  gradient accumulation steps / 勾配を合計するステップ数 = 1\n"
        f"  total optimization steps / 学習ステップ数: {total or len(values)}\n"
        f"{progress(values, pace=pace, total=total)}{end}"
    )


def log_of(case: Case) -> Path:
    """Return the case's log."""
    return case.paths[0]


def add_to_head(case: Case, text: str) -> None:
    """Put lines before training begins."""
    case.edit(log_of(case), "running training", f"{text}\nrunning training")


def die_with(case: Case, text: str) -> None:
    """Cut the log before its first step and end it with `text`."""
    whole = log_of(case).read_text(encoding="utf-8")
    log_of(case).write_text(f"{whole.partition('running training')[0]}{text}\n", encoding="utf-8")


def trace(message: str) -> str:
    """Return a traceback that ends with `message`."""
    return (
        'Traceback (most recent call last):\n  File "sd-scripts/train_network.py", line 1115, in <module>\n'
        f"    trainer.train(args)\n{message}"
    )


ENDINGS = {
    "LOG001": "ERROR    No data found. Please verify arguments (train_data_dir must be the parent of folders with images)",
    "LOG002": trace("AttributeError: 'int' object has no attribute 'split'"),
    "LOG003": trace("ValueError: fp16 mixed precision requires a GPU (not 'mps')."),
    "LOG004": trace(
        "NotImplementedError: Could not run 'bitsandbytes::optimizer_update_8bit_blockwise' from the 'CPU' backend."
    ),
    "LOG005": trace(
        "NotImplementedError: The operator 'aten::_linalg_svd.U' is not currently supported on the MPS backend."
    ),
    "LOG006": trace(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 146.00 MiB. GPU 0 has a total capacity of 8.00 GiB"
    ),
    "LOG007": trace("OSError: [Errno 28] No space left on device"),
    "LOG008": "python3: can't open file '/tools/kohya_ss/sd-scripts/train_network.py': [Errno 2] No such file or directory",
    "LOG009": trace("ModuleNotFoundError: No module named 'xformers'"),
    "LOG010": trace("RuntimeError: CUDA error: no kernel image is available for execution on the device"),
    "LOG011": trace("RuntimeError: Found no NVIDIA driver on your system."),
    "LOG012": "lora key not loaded: lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
    "LOG013": trace("PIL.UnidentifiedImageError: cannot identify image file '/data/10_zkw/fox_07.png'"),
    "LOG014": trace(
        "RuntimeError: Error(s) in loading state_dict for UNet2DConditionModel:\n\tsize mismatch for conv_in.weight"
    ),
    "LOG016": trace("RuntimeError: NaN detected in latents: C:\\aa\\image\\40_aa\\1.png"),
    "LOG017": trace(
        "OSError: We couldn't connect to 'https://huggingface.co' to load this file, couldn't find it in the cached files"
    ),
    "LOG018": trace("ValueError: SchedulerType.CONSTANT does not require `num_warmup_steps`. Set None or 0."),
    "LOG019": trace(
        "ValueError: loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
    ),
    "LOG020": trace("zipfile.BadZipFile: File is not a zip file"),
    "LOG021": "subprocess.CalledProcessError: Command '['python', 'sdxl_train_network.py']' died with <Signals.SIGKILL: 9>.",
    "LOG025": "ERROR    illegal char in file (not UTF-8) / ファイルにUTF-8以外の文字があります: fox_03.txt",
    "LOG026": trace(
        "AssertionError: when caching latents, either color_aug or random_crop cannot be used / latentをキャッシュするとき"
    ),
    "LOG028": trace("IndexError: list index out of range"),
    "LOG036": "train_network.py: error: argument --mixed_precision: invalid choice: 'fp32' (choose from 'no', 'fp16', 'bf16')",
    "LOG037": "./train.sh: line 12: accelerate: command not found",
    "LOG038": "subprocess.CalledProcessError: Command '['python', 'train_network.py']' returned non-zero exit status 3221225477.",
    "LOG039": "subprocess.CalledProcessError: Command '['python', 'train_network.py']' returned non-zero exit status 3221225786.",
    "LOG040": trace("voluptuous.error.MultipleInvalid: extra keys not allowed @ data['bucket_no_upscale']"),
    "LOG041": trace(
        "UnicodeDecodeError: 'gbk' codec can't decode byte 0xab in position 2574: illegal multibyte sequence"
    ),
    "LOG042": trace("RuntimeError: CUDA error: unspecified launch failure"),
    "LOG043": trace("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"),
    "LOG044": trace("FileNotFoundError: [Errno 2] No such file or directory: '/data/prompts.txt'"),
    "LOG045": trace("PermissionError: [Errno 13] Permission denied: '/data/out/zkw.safetensors'"),
    "LOG046": trace("RuntimeError: expected scalar type Half but found Float"),
    "LOG047": trace("ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device."),
    "LOG048": trace("ValueError: 'cosine_annealing' is not a valid SchedulerType"),
    "LOG049": trace(
        "ImportError: cannot import name 'cached_download' from 'huggingface_hub' (/venv/huggingface_hub/__init__.py)"
    ),
    "LOG050": trace("ValueError: invalid literal for int() with base 10: 'CROP'"),
    "LOG051": trace("ValueError: optimizer got an empty parameter list"),
    "LOG052": trace("torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:"),
    "LOG054": trace("RuntimeError: use_libuv was requested but PyTorch was build without libuv support"),
    "LOG055": trace("AttributeError: Can't pickle local object 'train.<locals>.<lambda>'"),
}
"""How a log ends by code, in the programs' own words."""

NOTES = {
    "LOG015": "Token indices sequence length is longer than the specified maximum sequence length for this model (91 > 77).",
    "LOG022": "accelerator device: cpu",
    "LOG023": "WARNING  ignore directory without repeats / 繰り返し回数のないディレクトリを無視します: extras",
    "LOG024": "WARNING  No caption file found for 15 images. Training will continue without captions for these images.",
    "LOG027": "WARNING  some of reg images are not used / 正則化画像の数が多いので、一部使用されない正則化画像があります",
    "LOG035": "INFO     found directory dataset/train/1_zkw_fox contains 20 image files\n"
    "  num train images * repeats / 学習画像の数×繰り返し回数: 220",
}
"""What a run that goes on says by code."""

HARMLESS = {
    "LOG001": "INFO     all data found, 200 train images with repeats.",
    "LOG002": "INFO     resolution: '512' split into (512, 512)",
    "LOG003": "INFO     mixed precision: fp16 on cuda",
    "LOG004": "INFO     use 8-bit AdamW optimizer | {}",
    "LOG005": "UserWarning: The operator 'aten::nonzero' is not currently supported on the MPS backend "
    "and will fall back to run on the CPU.",
    "LOG006": "INFO     CUDA memory: 7.21 GiB reserved of 8.00 GiB",
    "LOG007": "Filesystem /dev/sda1 50G 44G 6G disk use 88% of /workspace",
    "LOG008": "INFO     No such file or directory: config.json, using defaults",
    "LOG009": "A matching Triton is not available, some optimizations will not be enabled.\n"
    "ModuleNotFoundError: No module named 'triton'",
    "LOG010": "INFO     Enable SDPA for U-Net (kernel image chosen)",
    "LOG011": "INFO     CUDA driver version 12.8",
    "LOG012": "INFO     all lora keys loaded: 264",
    "LOG013": "INFO     identified 20 image files",
    "LOG014": "INFO     U-Net: <All keys matched successfully>",
    "LOG015": "INFO     max_token_length: 225",
    "LOG016": "INFO     no NaN in latents",
    "LOG017": "INFO     load from https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
    "LOG018": "INFO     lr_scheduler constant_with_warmup, num_warmup_steps 50",
    "LOG019": "INFO     resume training from local state: output/zkw_fox-000002-state",
    "LOG020": "INFO     caching latents to fox_01.npz",
    "LOG021": "INFO     worker 4137 skilled at batch 137",
    "LOG022": "accelerator device: cuda",
    "LOG023": "INFO     directory dataset/train has 1 subset",
    "LOG024": "INFO     caption files found for 20 images",
    "LOG025": "INFO     caption file has 2 lines, the first is used",
    "LOG026": "INFO     adaptive_noise_scale is off",
    "LOG027": "WARNING  no regularization images / 正則化画像が見つかりませんでした",
    "LOG036": "INFO     unrecognized arguments are passed on to the network module: dropout=0.1",
    "LOG037": "INFO     accelerate found at venv/bin/accelerate",
    "LOG038": "INFO     seed: 3221225477",
    "LOG039": "INFO     press Ctrl-C to stop",
    "LOG040": "INFO     extra keys in the metadata: ss_tag",
    "LOG041": "INFO     captions read with utf-8",
    "LOG042": "INFO     CUDA_LAUNCH_BLOCKING is not set",
    "LOG043": "INFO     safetensors header: 1,024 bytes",
    "LOG044": "INFO     the system found the path: E:\\lora\\img",
    "LOG045": "INFO     permission to write: output",
    "LOG046": "INFO     text encoder is fp16, U-Net is fp16",
    "LOG047": "INFO     mixed precision: bf16, supported by this card",
    "LOG048": "INFO     bucket_reso_steps: 64",
    "LOG049": "INFO     numpy 1.26.4, torch 2.5.1, torchvision 0.20.1",
    "LOG050": "INFO     folder 10_CROP: 10 repeats",
    "LOG051": "INFO     create LoRA for U-Net: 192 modules.",
    "LOG052": "INFO     dynamo_backend: no",
    "LOG054": "INFO     distributed training: no, 1 process",
    "LOG055": "INFO     data loader: 2 workers",
}
"""Lines that come near a failure's words in a run that went well."""


def _register() -> None:
    for code, text in ENDINGS.items():
        fault(code, "the log ends with it", start="log")(lambda case, text=text: die_with(case, text))  # type: ignore[misc]
    for code, text in NOTES.items():
        fault(code, "the trainer says so and goes on", start="log")(
            lambda case, text=text: add_to_head(case, text)
        )  # type: ignore[misc]
    for code, text in HARMLESS.items():
        close_call(code, f"“{text[:50]}”", start="log")(lambda case, text=text: add_to_head(case, text))  # type: ignore[misc]


_register()


@close_call("LOG028", "a traceback of xformers that asks for triton, and then the run finished", start="log")
def harmless_traceback(case: Case) -> None:
    add_to_head(case, trace("ModuleNotFoundError: No module named 'triton'"))


@close_call("LOG028", "a traceback of the interpreter's end after the model was saved", start="log")
def ignored_at_the_end(case: Case) -> None:
    text = log_of(case).read_text(encoding="utf-8")
    end = trace("AssertionError: can only test a child process")
    log_of(case).write_text(
        f"{text}Exception ignored in: <function _Iter.__del__ at 0x1F>\n{end}\n", encoding="utf-8"
    )


@fault("LOG053", "an upload fails at the beginning, and the run goes on to its end", start="log")
def upload_failed(case: Case) -> None:
    add_to_head(case, trace("requests.exceptions.ChunkedEncodingError: Response ended prematurely"))


@close_call("LOG053", "the model was saved without any traceback", start="log")
def nothing_survived(case: Case) -> None:
    add_to_head(case, "INFO     samples: 0 errors")


@close_call("LOG028", "the user stopped the run", start="log")
def stopped_by_user(case: Case) -> None:
    die_with(case, trace("KeyboardInterrupt"))


def _averages(level: Callable[[float], float], *, steps: int = 920, window: int = 230) -> list[float]:
    return moving_average(raw_losses(level, steps), window)


@fault("LOG029", "the loss is NaN from step 400 on", start="log")
def nan_from_400(case: Case) -> None:
    text = log_of(case).read_text(encoding="utf-8")

    text = re.sub(r"\| (\d+)/1000 [^]]*avr_loss=[\d.]+\]", _spoiled, text)
    log_of(case).write_text(text, encoding="utf-8")


def _spoiled(match: re.Match[str]) -> str:
    """Return a bar's end, its loss NaN from step 400 on."""
    return re.sub(r"avr_loss=.*", "avr_loss=nan]", match[0]) if int(match[1]) >= 400 else match[0]


@close_call("LOG029", "one step shows inf and the next is well again", start="log")
def one_odd_value(case: Case) -> None:
    text = log_of(case).read_text(encoding="utf-8")
    log_of(case).write_text(re.sub(r"(\| 400/1000 [^]]*avr_loss=)[\d.]+", r"\1inf", text), encoding="utf-8")


@fault("LOG030", "6,000 steps without a fall", start="log")
def flat(case: Case) -> None:
    values = _averages(lambda share: 0.09, steps=6000, window=500)
    log_of(case).write_text(sd_log(values, batches=500), encoding="utf-8")


@close_call("LOG030", "a fall by a fifth", start="log")
def slow_fall(case: Case) -> None:
    values = _averages(lambda share: 0.10 - 0.02 * share, steps=6000, window=500)
    log_of(case).write_text(sd_log(values, batches=500), encoding="utf-8")


@close_call("LOG030", "too short to tell", start="log")
def flat_but_short(case: Case) -> None:
    log_of(case).write_text(
        sd_log(_averages(lambda share: 0.09, steps=300, window=100), batches=100), encoding="utf-8"
    )


@fault("LOG031", "the loss of the field notes: 0.0717 at step 1,400, 0.0855 at 1,840", start="log")
def rises(case: Case) -> None:
    def level(share: float) -> float:
        return 0.0717 if 0.5 < share < 0.76 else 0.0855

    values = moving_average(raw_losses(level, 1840, noise=0.05), 460)
    log_of(case).write_text(sd_log(values, batches=460), encoding="utf-8")


@close_call("LOG031", "the last epoch is 3 % above the one before", start="log")
def barely_rises(case: Case) -> None:
    values = _averages(lambda share: 0.12 - 0.04 * min(share, 0.75) / 0.75 + 0.003 * (share > 0.75))
    log_of(case).write_text(sd_log(values, batches=230), encoding="utf-8")


def _falling(steps: int) -> list[float]:
    return [0.075 + 0.04 / (1 + step / 60) for step in range(steps)]


@fault("LOG032", "2 s a step, 24 s from step 500 on", start="log")
def spills(case: Case) -> None:
    text = sd_log(_falling(1000), pace=lambda step: 2.0 if step < 500 else 24.0)
    log_of(case).write_text(text, encoding="utf-8")


@close_call("LOG032", "a minute of samples every 200 steps", start="log")
def samples_between(case: Case) -> None:
    text = sd_log(_falling(1000), pace=lambda step: 62.0 if step % 200 == 0 else 2.0)
    log_of(case).write_text(text, encoding="utf-8")


@fault("LOG033", "started with python3 on a Mac: 33 to 83 s a step", start="log")
def slow_from_the_start(case: Case) -> None:
    generator = random.Random(3)
    text = sd_log(_falling(60), pace=lambda step: generator.uniform(33, 83))
    log_of(case).write_text(text, encoding="utf-8")


@close_call("LOG033", "8 s a step", start="log")
def slow_card(case: Case) -> None:
    log_of(case).write_text(sd_log(_falling(60), pace=lambda step: 8.0), encoding="utf-8")


@fault("LOG034", "the terminal closed at step 600 of 1,000", start="log")
def closed(case: Case) -> None:
    log_of(case).write_text(sd_log(_falling(600), total=1000, end="\n"), encoding="utf-8")


@close_call("LOG034", "the last line of the bar was not written, but the model was saved", start="log")
def last_line_missing(case: Case) -> None:
    log_of(case).write_text(sd_log(_falling(999), total=1000), encoding="utf-8")


@close_call("LOG035", "as many regularization pictures as pictures", start="log")
def regularization_of_equal_count(case: Case) -> None:
    add_to_head(
        case,
        "INFO     found directory dataset/reg/1_fox contains 20 image files\n"
        "  num train images * repeats / 学習画像の数×繰り返し回数: 200",
    )
