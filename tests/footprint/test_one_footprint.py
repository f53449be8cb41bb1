"""A run takes the same whoever asks: `check` and `plan` agree to the byte, however the run is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.checking.gather import Context, scopes_of
from maquette.checking.targets import identify
from maquette.events import run_stage
from maquette.footprint.disk import KEPT_STATES
from maquette.footprint.memory import MemoryPlan
from maquette.footprint.run import Footprint
from maquette.planning.options import PlanOptions
from maquette.planning.requests import settings_for
from maquette.planning.run import PlanResult, plan
from maquette.project.machine import Gpu, Machine
from tests.families.full import header_only
from tests.planning.making import folder

PICTURES, BATCH, PX = 20, 40, 1024
CARD = Machine(system="Linux", gpus=(Gpu(kind="cuda", name="RTX 4090", total_bytes=24 * 2**30),))

PROJECT = f"""[model]
base = "base.safetensors"
[dataset]
images = "train"
resolution = {PX}
[lora]
rank = 32
[training]
device = "cuda"
precision = "bf16"
batch_size = {BATCH}
epochs = 10
[saving]
output = "output"
"""
CONFIG = f"""pretrained_model_name_or_path = "base.safetensors"
train_data_dir = "train"
resolution = "{PX},{PX}"
enable_bucket = true
min_bucket_reso = 256
max_bucket_reso = 2048
caption_extension = ".txt"
cache_latents = true
network_module = "networks.lora"
network_dim = 32
network_alpha = 16
mixed_precision = "bf16"
save_precision = "fp16"
optimizer_type = "AdamW"
train_batch_size = {BATCH}
max_train_epochs = 10
output_dir = "output"
output_name = "run"
"""
DATASET = f"""[general]
enable_bucket = true
caption_extension = ".txt"
[[datasets]]
resolution = {PX}
batch_size = {BATCH}
max_bucket_reso = 2048
  [[datasets.subsets]]
  image_dir = "train/1_fox"
  num_repeats = 1
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose batch is larger than its dataset."""
    header_only("sdxl", tmp_path / "base.safetensors")
    folder(tmp_path / "train" / "1_fox", PICTURES, (PX, PX))
    (tmp_path / "maquette.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(target: Path) -> PlanResult:
    return plan(settings_for(target, {}), PlanOptions(measure=False), CARD)


def checked(path: Path) -> Footprint:
    (scope,) = run_stage(scopes_of(identify(path), Context(machine=CARD)))
    found: Footprint = scope.facts[Footprint]
    assert scope.facts[MemoryPlan] == found.memory
    return found


def command(config: str) -> str:
    """Return the command line that says what `config` says."""
    lines = (line.partition(" = ") for line in config.splitlines())
    options = " ".join(f"--{name}" if value == "true" else f"--{name}={value}" for name, _, value in lines)
    return f"accelerate launch sd-scripts/sdxl_train_network.py {options}\n"


def written(run: Path, how: str) -> Path:
    """Write the run in one of the ways that `check` reads; return what is checked."""
    if how == "project":
        return run
    if how == "config":
        (run / "run.toml").write_text(CONFIG)
        return run / "run.toml"
    if how == "command":
        (run / "train.sh").write_text(command(CONFIG))
    if how == "dataset":
        (run / "dataset.toml").write_text(DATASET)
        rest = [
            line for line in CONFIG.splitlines() if not line.startswith(("train_data_dir", "train_batch"))
        ]
        (run / "train.sh").write_text(command("\n".join([*rest, 'dataset_config = "dataset.toml"'])))
    return run / "train.sh"


@pytest.mark.parametrize("how", ["project", "command", "config", "dataset"])
def test_check_and_plan_agree_to_the_byte(run: Path, how: str) -> None:
    """AdamW, cached latents, and a VAE in bf16: what both trainers do alike. Only their states differ: none is asked for."""
    by_plan, by_check = planned(run), checked(written(run, how))
    assert by_check.memory == by_plan.memory
    assert by_check.steps == by_plan.schedule.steps == 10
    assert by_check.checkpoint_bytes == by_plan.checkpoint_bytes
    assert len(by_check.checkpoints) == len(by_plan.checkpoints)
    sizes = {part.name: part.bytes for part in by_check.disk if part.bytes}
    expected = dict(by_plan.disk.parts)
    if how != "project":
        expected.pop("states")
    assert sizes == expected


def test_a_batch_holds_no_more_than_its_bucket(run: Path) -> None:
    """Batch 40 over 20 pictures is trained as 20."""
    memory = checked(run).memory
    (run / "maquette.toml").write_text(PROJECT.replace(f"batch_size = {BATCH}", f"batch_size = {PICTURES}"))
    assert checked(run).memory == memory
    assert checked(run).memory_request.batch == PICTURES


def test_a_third_state_stands_beside_the_two_that_are_kept(run: Path) -> None:
    """The newest is written before the oldest goes: weight and two moments in float32, three times."""
    found = checked(run)
    (states,) = (part for part in found.disk if part.name == "states")
    trainable = found.memory_request.work().trainable
    assert (states.count, KEPT_STATES) == (3, 3)
    assert states.bytes == pytest.approx(3 * 12 * trainable, rel=0.001)
