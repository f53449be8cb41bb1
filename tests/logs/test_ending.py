"""How a run ended: the last error wins, what was survived ended nothing, the trainer's error before the launcher's."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.logs.machine import LogMachine, MachineReader
from tests.logs.judging import ACCELERATE, judged, words
from tests.planted.logs import sd_log, trace

TRITON = (
    "A matching Triton is not available, some optimizations will not be enabled\n"
    "Traceback (most recent call last):\n"
    '  File "E:\\kohya\\venv\\lib\\site-packages\\xformers\\__init__.py", line 55, in _is_triton_available\n'
    "    from xformers.triton.softmax import softmax as triton_softmax  # noqa\n"
    "ModuleNotFoundError: No module named 'triton'\n"
)
WELL = [0.12 - 0.0001 * step for step in range(60)]
UNFINISHED = sd_log(WELL, total=880, end="\n")
OUT_OF_MEMORY = trace("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 80.00 MiB")


@pytest.mark.parametrize(
    "harmless",
    [TRITON, TRITON.replace("  File", "    File"), "ModuleNotFoundError: No module named 'triton'\n"],
)
def test_a_finished_run_is_spared_a_harmless_traceback(harmless: str, tmp_path: Path) -> None:
    assert not judged(tmp_path, sd_log(WELL, head=harmless))


def test_a_run_that_made_all_its_steps_is_spared_without_its_last_words(tmp_path: Path) -> None:
    assert not judged(tmp_path, sd_log(WELL, head=TRITON, end="\n"))


@pytest.mark.parametrize(
    "header",
    ["Exception ignored in: <function _Iter.__del__ at 0x1F>", "Exception ignored in atexit callback:"],
)
def test_what_the_interpreter_ignores_at_its_end_is_nothing(header: str, tmp_path: Path) -> None:
    end = trace("AttributeError: 'NoneType' object has no attribute 'python_exit_status'")
    assert not judged(tmp_path, f"{sd_log(WELL)}{header}\n{end}\n")


def test_an_error_between_steps_is_a_hint_when_the_run_goes_on(tmp_path: Path) -> None:
    first, _, rest = sd_log(WELL).partition("\rsteps:  50%")
    assert rest
    (found,) = judged(tmp_path, f"{first}\n{trace('ValueError: no sample prompts')}\nsteps:  50%{rest}")
    assert (found.code, found.severity) == ("LOG053", "hint")
    assert "ValueError: no sample prompts" in found.message
    assert "failed" not in words(found).replace("upload failed", "")


def test_memory_that_was_full_and_was_survived_is_no_failure(tmp_path: Path) -> None:
    first, _, rest = sd_log(WELL).partition("\rsteps:  50%")
    found = judged(tmp_path, f"{first}\n{OUT_OF_MEMORY}\nsteps:  50%{rest}")
    assert [f.code for f in found] == ["LOG053"]


def test_the_bar_that_is_drawn_again_after_an_error_is_no_step(tmp_path: Path) -> None:
    """tqdm prints its last state once more when the program ends."""
    bar = UNFINISHED.rstrip().rpartition("\r")[2]
    (found,) = judged(tmp_path, f"{UNFINISHED.rstrip()}{OUT_OF_MEMORY}\n\r{bar}\n{ACCELERATE}")
    assert found.code == "LOG006"


def test_the_last_error_wins(tmp_path: Path) -> None:
    first = trace("ModuleNotFoundError: No module named 'wandb'")
    (found,) = judged(
        tmp_path, f"preparing accelerator\n{first}\nloading model\n{OUT_OF_MEMORY}\n{ACCELERATE}"
    )
    assert found.code == "LOG006"


def test_of_a_chain_the_last_link_is_quoted_and_an_earlier_one_may_be_the_known(tmp_path: Path) -> None:
    chain = (
        f"{trace('RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory')}\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
    )
    (known,) = judged(tmp_path, f"{chain}{trace('OSError: the checkpoint could not be read')}\n{ACCELERATE}")
    assert known.code == "LOG043"
    (last,) = judged(tmp_path, f"{chain}{trace('MemoryError')}\n{ACCELERATE}")
    assert last.code == "LOG021"


def test_a_second_run_in_the_same_log_is_judged_for_itself(tmp_path: Path) -> None:
    again = f"preparing accelerator\nloading model for process 0/1\n{OUT_OF_MEMORY}\n{ACCELERATE}"
    (found,) = judged(tmp_path, f"{sd_log(WELL)}{again}")
    assert found.code == "LOG006"
    assert not judged(tmp_path, f"{again}{sd_log(WELL)}"), "the first failed, the second is finished"


def test_a_failure_to_save_after_the_last_step_is_a_failure(tmp_path: Path) -> None:
    text = sd_log(
        WELL,
        end=f"\nsaving checkpoint: out/zkw.safetensors\n{trace('OSError: [Errno 28] No space left on device')}\n",
    )
    (found,) = judged(tmp_path, text)
    assert found.code == "LOG007"


def test_training_has_ended_says_nothing_of_success(tmp_path: Path) -> None:
    """The GUI prints it after every end."""
    (found,) = judged(
        tmp_path,
        f"{UNFINISHED}{trace('ValueError: x')}\n{ACCELERATE}14:06:40-973914 INFO     Training has ended.\n",
    )
    assert found.code == "LOG028"
    assert "ValueError: x" in found.message


@pytest.mark.parametrize("code", ["3221225477", "139"])
def test_a_launcher_s_exit_code_counts_where_no_other_error_stands(code: str, tmp_path: Path) -> None:
    (found,) = judged(tmp_path, UNFINISHED + ACCELERATE.replace("status 1.", f"status {code}."))
    assert found.code == "LOG038"
    (own,) = judged(
        tmp_path, f"{UNFINISHED}{OUT_OF_MEMORY}\n" + ACCELERATE.replace("status 1.", f"status {code}.")
    )
    assert own.code == "LOG006"


def test_where_the_launcher_alone_speaks_the_line_above_it_is_quoted(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, f"preparing accelerator\nno such preset: fast\n{ACCELERATE}")
    assert found.code == "LOG028"
    assert "no such preset: fast" in found.message
    assert "exit status 1" in found.message


def test_a_line_that_calls_itself_an_error_is_quoted_without_a_traceback(tmp_path: Path) -> None:
    (found,) = judged(
        tmp_path,
        "[2025-02-16 13:28:00] [INFO] preparing accelerator\n[2025-02-16 13:28:09] [ERROR] the preset is unknown\n",
    )
    assert found.code == "LOG028"
    assert "the preset is unknown" in found.message


@pytest.mark.parametrize(
    "stop",
    [
        trace("KeyboardInterrupt"),
        "subprocess.CalledProcessError: Command '['p']' died with <Signals.SIGINT: 2>.",
    ],
)
def test_a_stop_by_the_user_is_no_error(stop: str, tmp_path: Path) -> None:
    assert not [f for f in judged(tmp_path, f"{UNFINISHED}{stop}\n") if f.severity == "error"]


def test_an_error_in_a_worker_is_found_below_its_wrapper(tmp_path: Path) -> None:
    text = (
        f"{UNFINISHED}{trace('RuntimeError: Caught RuntimeError in DataLoader worker process 4.')}\n"
        "Original Traceback (most recent call last):\n"
        '  File "/venv/torch/utils/data/_utils/worker.py", line 308, in _worker_loop\n    data = fetcher.fetch(index)\n'
        "RuntimeError: stack expects each tensor to be equal size, but got [4, 64, 64] at entry 0 and [4, 64, 72] at entry 1\n"
    )
    (found,) = judged(tmp_path, text)
    assert found.code == "LOG020"


def test_the_error_of_a_thread_that_only_follows_is_not_the_cause(tmp_path: Path) -> None:
    """OneTrainer's window fails once more while it cleans up."""
    follows = trace("AttributeError: 'NoneType' object has no attribute 'to'")
    text = f"{trace('Exception: could not load model: C:/m/x.safetensors')}\nException in thread Thread-4 (run):\n{follows}\n"
    (found,) = judged(tmp_path, f"Starting UI...\n{text}")
    assert found.code == "LOG014"


# --- the forms in which logs come ------------------------------------------------------------------------------------


def _prefixed(text: str, prefix: str) -> str:
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


def _without_indentation(text: str) -> str:
    return "".join(f"[2025-02-16 13:28:00] [INFO] {line.strip()}\n" for line in text.splitlines())


def _boxed(text: str) -> str:
    *frames, message = text.splitlines()
    box = "".join(f"│ {line:<70} │\n" for line in frames[1:])
    return f"╭{'─' * 22} Traceback (most recent call last) {'─' * 15}╮\n{box}╰{'─' * 72}╯\n{message}\n"


FORMS = {
    "plain": lambda text: text,
    "rank": lambda text: _prefixed(text, "[rank0]: "),
    "time and level": lambda text: _prefixed(text, "[2025-02-16 13:28:00] [INFO] "),
    "fluxgym": _without_indentation,
    "logging": lambda text: _prefixed(text, "2024-08-22 11:22:41,371 - ERROR - "),
    "accelerate": lambda text: _prefixed(text, "10/12/2024 12:00:00 - ERROR - __main__ - "),
    "compose": lambda text: _prefixed(text, "trainer-1  | "),
    "colours": lambda text: "".join(f"\x1b[31m{line}\x1b[0m\n" for line in text.splitlines()),
    "boxes": _boxed,
    "indented": lambda text: _prefixed(text, "    "),
    "returns": lambda text: text.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "message", ["ValueError: optimizer got an empty parameter list", "KeyError: 'callback'"]
)
def test_every_form_of_a_traceback_is_read(form: str, message: str, tmp_path: Path) -> None:
    text = FORMS[form](trace(message))
    (found,) = judged(tmp_path, f"preparing accelerator\n{text}\n")
    assert found.code == ("LOG051" if "optimizer" in message else "LOG028")
    assert message in found.message


def test_a_message_that_rich_wrapped_is_put_together(tmp_path: Path) -> None:
    text = (
        "2024-04-04 00:57:31 INFO     prepare images.                                    train_util.py:1469\n"
        "                    ERROR    No data                                            train_network.py:212\n"
        "                             found. Please verify arguments (train_data_dir\n"
        "                             must be the parent of folders with images)\n"
    )
    (found,) = judged(tmp_path, text)
    assert found.code == "LOG001"
    assert found.place == "line 2"


# --- the machine that the log names ----------------------------------------------------------------------------------

RTX_4090 = (
    "11:46:56-512345 INFO     Torch detected GPU: NVIDIA GeForce RTX 4090 VRAM 24564 Arch (8, 9) Cores 128\n"
)
T4 = "Torch detected GPU: Tesla T4 VRAM 15102 Arch (7, 5) Cores 40\n"
MAC = "accelerator device: mps\n/Users/ann/kohya_ss/sd-scripts/train_network.py\n"


def machine_of(text: str) -> LogMachine:
    reader = MachineReader()
    for line in text.splitlines():
        reader.read(line)
    return reader.machine()


def test_a_card_is_read_with_its_memory() -> None:
    machine = machine_of(RTX_4090)
    assert (machine.device, machine.card) == ("cuda", "RTX 4090")
    assert machine.memory_gib == pytest.approx(24, abs=0.1)
    assert "large" in machine.marks and "old" not in machine.marks
    assert "old" in machine_of(T4).marks
    assert machine_of(MAC).device == "mps"
    assert machine_of("GPU 0 has a total capacity of 8.00 GiB of which 0 bytes is free").memory_gib == 8.0
    assert machine_of("RuntimeError: HIP out of memory").device == "rocm"
    assert machine_of('  File "E:\\kohya\\train_network.py", line 5').system == "windows"


@pytest.mark.parametrize(
    ("machine", "message", "said", "unsaid"),
    [
        (RTX_4090, "AssertionError: Torch not compiled with CUDA enabled", "whl/cu128", "apple"),
        (MAC, "AssertionError: Torch not compiled with CUDA enabled", "apple silicon", "whl/cu128"),
        (RTX_4090, "torch.OutOfMemoryError: CUDA out of memory.", "something else", "768 px"),
        (MAC, "RuntimeError: MPS backend out of memory (MPS allocated: 17.00 GB)", "pytorch_mps", "8-bit optimizer (cuda"),
        (T4, "ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device.", "fp16", "mixed_precision=no"),
        (MAC, "ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device.", "precision=no", "fp16 and"),
        (RTX_4090, "ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device.", "+cpu", "use fp16"),
        (RTX_4090, "ImportError: No bitsandbytes", "pip install -u bitsandbytes", "on a mac"),
        (MAC, "ImportError: No bitsandbytes", "on a mac", "pip install"),
        (MAC, "RuntimeError: Input type (float) and bias type (c10::Half) should be the same", "--mixed_precision=no", "bf16"),
    ],
)  # fmt: skip
def test_a_remedy_fits_the_machine_of_the_log(
    machine: str, message: str, said: str, unsaid: str, tmp_path: Path
) -> None:
    (found,) = judged(tmp_path, f"{machine}preparing accelerator\n{trace(message)}\n")
    assert said in words(found), words(found)
    assert unsaid not in found.remedy.lower(), found.remedy


def test_a_file_that_is_no_log_gets_no_clean_bill(tmp_path: Path) -> None:
    for text in ("apples\npears\n", ""):
        (found,) = judged(tmp_path, text)
        assert (found.code, found.severity) == ("CHK002", "error")


def test_a_harmless_traceback_is_never_the_cause_that_the_launcher_reports(tmp_path: Path) -> None:
    (found,) = judged(
        tmp_path, f"{TRITON}import network module: networks.lora\nno such preset: fast\n{ACCELERATE}"
    )
    assert found.code == "LOG028"
    assert "no such preset: fast" in found.message
    assert "triton" not in found.message
