"""Strangers' text files, damaged, and the law that every reader of one is held to.

Read, or refused in one line that a terminal shows as it is, even one of ASCII alone; nothing else is raised, nothing else touched.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import maquette.world
from maquette.captioning.journal import Journal as Answers
from maquette.cli.output import json_line, say
from maquette.curating.decisions import Decisions, as_text, decision_of, read_decisions
from maquette.curating.records import Look
from maquette.dataset.measure_cache import MeasureCache
from maquette.deploying.folders import comfyui_folders
from maquette.elsewhere.runs import is_run_of_a_trainer, runs_of
from maquette.encoders.preprocess import read_preprocessing
from maquette.errors import MaquetteError, Problem
from maquette.evaluating.report import read_block
from maquette.events import Artifact, Message, Progress, Stamps, Started
from maquette.families import inspect
from maquette.kohya.config_file import read_config_file
from maquette.kohya.dataset_toml import read_dataset_file
from maquette.kohya.prompts import read_prompt_file
from maquette.kohya.request import read_commands
from maquette.logs.reading import read_log
from maquette.lora.reading import read_lora_facts
from maquette.project.config_file import load_settings
from maquette.project.journal import Journal
from maquette.project.machine_look import read_machine
from maquette.project.profile_file import read_profile
from maquette.project.undoing import changes_at, undo
from maquette.runs.deliveries import Delivered, read_deliveries
from maquette.runs.events import read_events
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.spoken import printable
from tests.fuzz.samples import (
    AI_TOOLKIT,
    BATCH,
    CONFIG_FILE,
    DATASET_TOML,
    EXTRA_PATHS,
    GUI,
    MACHINE,
    MAQUETTE_TOML,
    ONETRAINER,
    POWERSHELL,
    PREPROCESSOR,
    PROFILE_TOML,
    PROMPTS,
    SCRIPT,
    SHEET,
    SHEET_YAML,
)
from tests.fuzz.texts import spoiled
from tests.runs.making import stored

Files = Mapping[str, bytes]
VICTIM = "victim"
LONGEST_LINE = 6000
"""Letters of a message: a path, and a value that is shown cut."""


@dataclass(frozen=True)
class Reader:
    """One way in: sound files, which of them is damaged, and who reads them. It returns the problems inside its facts."""

    name: str
    file: str
    read: Callable[[Path], Iterable[Problem] | None]
    """Gets the path of `file`, in a folder of its own."""
    sound: Callable[[], Files]
    frame: Callable[[bytes], bytes] = field(default=lambda data: data)
    """Turns the damaged text into the file's bytes."""
    hole_bytes: int = 0
    """Of the file, behind them."""


def inputs(seed: int, count: int) -> Iterator[tuple[Reader, bytes]]:
    """Yield (reader, damaged bytes of its file), the readers in turn."""
    rng = random.Random(seed)
    others = [reader.sound()[reader.file] for reader in READERS]
    start = rng.randrange(len(READERS))
    for index in range(count):
        reader = READERS[(start + index) % len(READERS)]
        yield reader, reader.frame(spoiled(reader.sound()[reader.file], others, rng))


def hold_to_the_law(reader: Reader, data: bytes, folder: Path) -> bool:
    """Lay the files out in the empty `folder`, let the reader read; return whether it took them without a problem."""
    victim = folder / VICTIM
    victim.write_bytes(b"somebody's own")
    inside = folder / "given"
    for name, content in {**reader.sound(), reader.file: data}.items():
        path = inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if reader.hole_bytes:
        os.truncate(inside / reader.file, len(data) + reader.hole_bytes)
    try:
        problems = tuple(reader.read(inside / reader.file) or ())
    except MaquetteError as error:
        problems = error.problems
        assert problems
    for problem in problems:
        _is_one_line(problem)
    assert victim.read_bytes() == b"somebody's own"
    assert sorted(path.name for path in folder.iterdir()) == ["given", VICTIM]
    return not problems


def _is_one_line(problem: Problem) -> None:
    assert problem.given.strip()
    assert problem.required.strip() or problem.remedy.strip()
    raw = io.BytesIO()
    with contextlib.redirect_stderr(
        io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    ) as terminal:
        say(f"error: {problem}")
        terminal.flush()
    line = raw.getvalue().decode()
    assert line.endswith("\n")
    assert "\n" not in line[:-1]
    assert printable(line) == line
    assert len(line) < LONGEST_LINE, line[:500]
    told = json_line({"error": [vars(problem)]})
    assert json.loads(told) == {"error": [vars(problem)]}
    assert printable(told) == told


# --- settings and descriptions ---------------------------------------------------------------------------


def _requests(path: Path) -> Iterator[Problem]:
    """Read a run by the door that `check` and `init` take."""
    is_run_of_a_trainer(path)
    for request in runs_of(path).requests:
        yield from request.problems


def _commands(path: Path) -> Iterator[Problem]:
    for request in read_commands(path):
        yield from request.problems


# --- records ---------------------------------------------------------------------------------------------


@cache
def _history() -> Files:
    """Return a folder whose captions were changed twice."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a.txt").write_text("zzfox, before\n", encoding="utf-8")
        for step in range(2):
            recorder = Journal(root).begin("captions", "caption", session="one")
            recorder.write(root / "a.txt", f"zzfox, {step}\n".encode())
            recorder.write(root / "b.txt", b"\0\xff" * 9, note="new")
            recorder.write(root / "b.txt", b"\0\xfe" * 9)
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def _undo(path: Path) -> None:
    """Look at the changes and take them back, as `maquette undo` does."""
    root = path.parents[2]
    for change in changes_at(root):
        list(Journal(root).differences(change))
    undo(root)


def _answers() -> Files:
    rows = [
        {"how": "x"},
        {"picture": "a.png", "state": "1-2", "text": "zzfox", "refused": False},
        {"picture": "b.png", "state": "1-2", "text": "", "refused": True},
    ]
    return {".maquette/captioning.jsonl": _rows(rows)}


@cache
def _decisions() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        pictures = {f"{name}.png": decision_of(Look(name=f"{name}.png")) for name in "ab"}
        told = Decisions(
            folder=Path(folder), settings={"threshold": 0.5, "encoder": "world"}, pictures=pictures
        )
        return {"curation.json": as_text(told).encode()}


def _events() -> Files:
    told = (
        Started(stage="training", total=10, unit="step"),
        Progress(stage="training", done=1, total=10, values={"loss": 0.1}),
        Message(text="slow", level="warning"),
        Artifact(kind="lora", path=Path("x.safetensors")),
    )
    stamps = Stamps()
    return {"events.jsonl": _rows(stamps.stamp(event).to_json() for event in told)}


def _metrics() -> Files:
    return {
        "metrics.jsonl": _rows(
            {"step": step, "loss": 0.1 + step / 100, "seconds": 0.5, "rate": 1e-4} for step in range(1, 9)
        )
    }


def _delivered() -> Files:
    told = Delivered(
        program="comfyui",
        lora="x.safetensors",
        lora_name="x",
        sha256="0" * 64,
        weights="step 9",
        strength="0.8",
    )
    return {"deliveries.jsonl": _rows([asdict(told)] * 2)}


def _report() -> Files:
    block = '<script type="application/json" id="maquette-report">{"version": 1, "run": {"steps": 9}, "verdict": ["a", null]}</script>'
    return {"report.html": f"<!doctype html><title>x</title>{block}</html>".encode()}


def _rows(rows: Iterable[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _recalled(path: Path) -> None:
    """Put the text where the cache keeps a measure, then read it."""
    text = path.read_bytes().decode(errors="replace")
    picture = path.with_name("a.png")
    picture.write_bytes(b"x")
    cache_folder = path.with_name("cache")
    MeasureCache(cache_folder).close()
    kept = MeasureCache(cache_folder)
    assert kept.recall([picture]) == {}
    kept.close()
    for file in cache_folder.rglob("*.sqlite*"):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE measures SET value = ?", (text,))
            connection.commit()


# --- models ----------------------------------------------------------------------------------------------


def framed(header: bytes) -> bytes:
    """Return a file of safetensors with that header and enough bytes behind it."""
    return len(header).to_bytes(8, "little") + header + bytes(4096)


@cache
def _lora_header() -> bytes:
    metadata = {
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_base_model_version": "sd_v1",
        "ss_tag_frequency": '{"a": {"b": 1}}',
    }
    shapes: dict[str, list[int]] = {}
    for module in (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ):
        shapes |= {
            f"{module}.lora_down.weight": [1, 8],
            f"{module}.lora_up.weight": [8, 1],
            f"{module}.alpha": [],
        }
    return _header(shapes, {"__metadata__": metadata})


@cache
def _peft_header() -> bytes:
    shapes = {
        f"base_model.model.unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.{part}.lora_{side}.weight": [
            1,
            8,
        ][:: 1 if side == "A" else -1]
        for part in ("to_q", "to_k", "to_out.0")
        for side in "AB"
    }
    return _header(shapes, {})


@cache
def _base_header() -> bytes:
    """Return the header of the base model that the package holds."""
    with (Path(maquette.world.__file__).parent / "pack" / "small_world.safetensors").open("rb") as file:
        return file.read(int.from_bytes(file.read(8), "little"))


def _header(shapes: Mapping[str, list[int]], table: dict[str, Any]) -> bytes:
    offset = 0
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    return json.dumps(table).encode()


def _lora(path: Path) -> Iterator[Problem]:
    for depth in ("header", "values"):
        facts = read_lora_facts(path, depth=depth)
        if facts.problem is not None:
            yield facts.problem
        if facts.beside_problem is not None:
            yield facts.beside_problem


def _folder_of_a_model() -> dict[str, bytes]:
    parts = {
        "unet": {
            "in_channels": 4,
            "sample_size": 64,
            "cross_attention_dim": 768,
            "block_out_channels": [32, 64],
            "attention_head_dim": 8,
        },
        "vae": {
            "latent_channels": 4,
            "scaling_factor": 0.18215,
            "block_out_channels": [32, 64],
            "sample_size": 512,
        },
        "text_encoder": {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "max_position_embeddings": 77,
            "vocab_size": 49408,
            "hidden_act": "quick_gelu",
        },
    }
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "safety_checker": [None, None],
    }
    index |= {name: ["diffusers", name] for name in (*parts, "scheduler")}
    scheduler = {
        "_class_name": "DDIMScheduler",
        "prediction_type": "epsilon",
        "beta_start": 0.00085,
        "beta_end": 0.012,
    }
    files: dict[str, Any] = {"model_index.json": index, "scheduler/scheduler_config.json": scheduler}
    files |= {f"{name}/config.json": config for name, config in parts.items()}
    weights = {
        f"{name}/{stem}.safetensors": framed(_header({"a.weight": [2, 2]}, {}))
        for name, stem in (("vae", "diffusion_pytorch_model"), ("text_encoder", "model"))
    }
    shards = {
        "metadata": {"total_size": 8},
        "weight_map": {"a.weight": "shard-1.safetensors", "b.weight": "shard-1.safetensors"},
    }
    files["unet/diffusion_pytorch_model.safetensors.index.json"] = shards
    weights["unet/shard-1.safetensors"] = framed(_header({"conv_in.weight": [32, 4, 3, 3]}, {}))
    return {name: json.dumps(value).encode() for name, value in files.items()} | weights


def _inspected(up: int) -> Callable[[Path], None]:
    """Return a reader of the model whose folder is so many folders above the file."""

    def read(path: Path) -> None:
        inspect(path.parents[up])

    return read


def _of_run(read: Callable[[RunFolder], Any]) -> Callable[[Path], None]:
    return lambda path: _done(read(RunFolder(path.parent)))


def _done(_: Any) -> None:
    """Forget a result: what was read says nothing about itself."""


def _text(
    name: str, content: str | Mapping[str, Any], read: Callable[[Path], Any], title: str = ""
) -> Reader:
    """Return a reader of one file; JSON is given as its values."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    return Reader(title or name, name, lambda path: _problems(read(path)), lambda: {name: text.encode()})


def _problems(found: Any) -> Iterable[Problem]:
    """Return the problems in what a reader of settings found; other results have none."""
    return found if isinstance(found, Iterator) else getattr(found, "problems", None) or ()


def _model(file: str, up: int) -> Reader:
    return Reader(f"base: {file}", file, _inspected(up), _folder_of_a_model)


READERS: tuple[Reader, ...] = (
    _text("maquette.toml", MAQUETTE_TOML, load_settings),
    _text("profile.toml", PROFILE_TOML, read_profile),
    _text("profile.yaml", SHEET_YAML, read_profile),
    _text("profile.json", SHEET, read_profile),
    _text("machine.json", MACHINE, read_machine),
    _text("dataset.toml", DATASET_TOML, lambda path: iter(read_dataset_file(path)[1])),
    _text("config.toml", CONFIG_FILE, read_config_file),
    _text("run.toml", CONFIG_FILE, _requests, "a run: TOML"),
    _text("gui.json", GUI, _requests, "a run: kohya_ss' GUI"),
    _text("onetrainer.json", ONETRAINER, _requests, "a run: OneTrainer"),
    _text("toolkit.yaml", AI_TOOLKIT, _requests, "a run: ai-toolkit"),
    _text("train.sh", SCRIPT, _commands),
    _text("train.ps1", POWERSHELL, _commands),
    _text("train.bat", BATCH, _requests),
    _text("prompts.txt", PROMPTS, read_prompt_file),
    _text(
        "extra_model_paths.yaml",
        EXTRA_PATHS,
        lambda path: comfyui_folders(path.parent, "loras", Path("models/loras")),
    ),
    _text("preprocessor_config.json", PREPROCESSOR, lambda path: read_preprocessing(path.parent)),
    Reader(
        "run.json 1",
        "run.json",
        lambda path: _done(read_record(path)),
        lambda: {"run.json": stored(1).read_bytes()},
    ),
    Reader(
        "run.json 2",
        "run.json",
        lambda path: _done(read_record(path)),
        lambda: {"run.json": stored(2).read_bytes()},
    ),
    Reader("events.jsonl", "events.jsonl", lambda path: _done(read_events(path)), _events),
    Reader("metrics.jsonl", "metrics.jsonl", lambda path: _done(read_log(path)), _metrics),
    Reader("deliveries.jsonl", "deliveries.jsonl", _of_run(read_deliveries), _delivered),
    Reader("history", ".maquette/history/000002.jsonl", _undo, _history),
    Reader(
        "answers",
        ".maquette/captioning.jsonl",
        lambda path: _done(Answers(path.parents[1], {"a": 1}).num_recalled),
        _answers,
    ),
    Reader("curation.json", "curation.json", lambda path: _done(read_decisions(path.parent)), _decisions),
    Reader(
        "measures",
        "measure.json",
        _recalled,
        lambda: {"measure.json": b'{"measures": {"thumbnail": "00", "bars": [0, 0]}}'},
    ),
    Reader("report.html", "report.html", lambda path: _done(read_block(path)), _report),
    Reader("LoRA", "x.safetensors", _lora, lambda: {"x.safetensors": _lora_header()}, framed),
    Reader(
        "adapter_config.json",
        "adapter_config.json",
        lambda path: _lora(path.with_name("adapter_model.safetensors")),
        lambda: {
            "adapter_config.json": b'{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "rank_pattern": {"to_q": 1}, "alpha_pattern": {"to_k": 3}}',
            "adapter_model.safetensors": framed(_peft_header()),
        },
    ),
    Reader(
        "base sd1",
        "base.safetensors",
        lambda path: _done(inspect(path)),
        lambda: {"base.safetensors": _base_header()},
        framed,
        2**24,
    ),
    _model("model_index.json", 0),
    _model("unet/config.json", 1),
    _model("vae/config.json", 1),
    _model("text_encoder/config.json", 1),
    _model("scheduler/scheduler_config.json", 1),
    _model("unet/diffusion_pytorch_model.safetensors.index.json", 1),
)
