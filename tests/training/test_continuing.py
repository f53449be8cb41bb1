"""Training that goes on from a LoRA file: its weights are the start, and what does not fit is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import maquette
from maquette.errors import ConfigError, LoraError, OutputError
from maquette.events import Event, Message
from maquette.families import inspect, load
from maquette.families.tiny import write_tiny
from maquette.footprint.run import adapter_of
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import save_lora
from maquette.lora.formats import to_diffusers
from maquette.lora.size import lora_parameters
from maquette.project.config_file import load_settings
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.runs.record import read_record

ShortRun = Callable[..., dict]


@pytest.fixture
def earlier(tiny_base: Path, tmp_path: Path) -> Path:
    """A trained LoRA: rank 3, alpha 1.5, convolutions of rank 2."""
    model = load(tiny_base)
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=3, alpha=1.5, conv_rank=2, conv_alpha=1.0)])
    generator = torch.Generator().manual_seed(1)
    for leaf in adapter.parameters():
        leaf.data.uniform_(-0.05, 0.05, generator=generator)
    path = save_lora(tmp_path / "earlier.safetensors", adapter.state_dict(0), {}, dtype="fp32").path
    adapter.detach()
    return path


def trained(settings: dict[str, Any]) -> tuple[dict[str, torch.Tensor], maquette.TrainResult]:
    result = maquette.train(**settings)
    return load_file(result.lora), result


def test_a_step_without_a_rate_leaves_the_file_as_it_was(
    short_run: ShortRun, earlier: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """In kohya's layout and in diffusers', sizes from the file."""
    before = load_file(earlier)
    tensors, beside = to_diffusers(before, load(tiny_base).lora_targets())
    other = tmp_path / "diffusers.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, other, beside)
    for path in (earlier, other):
        settings = short_run(
            network_weights=path, dim_from_weights=True, learning_rate=1e-12, steps=1, weight_decay=0.0,
            save_precision="fp32", name=path.stem,
        )  # fmt: skip
        after, result = trained(settings)
        assert after.keys() == before.keys()
        for name, value in before.items():
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-9)
    record = read_record(result.run)
    assert list(record.lora_files) == [str(other)] and all(
        len(each) == 64 for each in record.lora_files.values()
    )


def test_the_plan_counts_the_file_s_own_sizes(short_run: ShortRun, earlier: Path, tiny_base: Path) -> None:
    settings = load_settings(None, short_run(network_weights=earlier, dim_from_weights=True))
    info = inspect(tiny_base)
    values = sum(value.numel() for name, value in load_file(earlier).items() if not name.endswith("alpha"))
    assert lora_parameters(info, adapter_of(request_of(settings, UNSAVED), info)) == values


def test_what_the_file_lacks_begins_anew_and_what_is_not_trained_is_named(
    short_run: ShortRun, earlier: Path
) -> None:
    given = short_run(
        network_weights=earlier,
        rank=3,
        alpha=1.5,
        text_encoder_lr=0.0,
        include_layers=("unet",),
        conv_rank=None,
    )
    events: list[Event] = []
    maquette.train(on_event=events.append, **given)
    said = [event.text for event in events if isinstance(event, Message)]
    assert any("modules are not trained here, and the new LoRA will not hold them" in text for text in said)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"rank": 4, "alpha": 2.0},
            r"rank 3 in \d+ of its modules — rank 4.* Give --rank 3, or --dim-from-weights",
        ),
        ({"rank": 3, "alpha": 3.0}, r"alpha 1.5 in \d+ of its modules — alpha 3.* Give --alpha 1.5"),
        ({"rank": 3, "alpha": 1.5, "conv_rank": 1, "conv_alpha": 1.0}, r"conv_rank 2 .* Give --conv-rank 2"),
    ],
)
def test_other_sizes_are_refused_with_what_to_give(
    short_run: ShortRun, earlier: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        trained(short_run(network_weights=earlier, **given))


def test_another_base_a_missing_file_and_no_file_are_refused(
    short_run: ShortRun, earlier: Path, tmp_path: Path
) -> None:
    other = write_tiny("sdxl", tmp_path / "xl.safetensors")
    with pytest.raises(ConfigError, match=r"a LoRA for this base|modules of this base|as this base has"):
        trained(short_run(base=str(other), network_weights=earlier, dim_from_weights=True))
    with pytest.raises(LoraError, match="there is no such file"):
        trained(short_run(network_weights=tmp_path / "gone.safetensors"))
    with pytest.raises(ConfigError, match="Give --network-weights FILE"):
        trained(short_run(dim_from_weights=True))


def test_a_resumed_run_stands_on_the_same_file(short_run: ShortRun, earlier: Path) -> None:
    given = {"network_weights": earlier, "dim_from_weights": True, "save_precision": "fp32"}
    whole, _ = trained(short_run(**given, steps=4, lr_scheduler="constant", name="whole"))
    _, first = trained(short_run(**given, steps=2, lr_scheduler="constant", name="parts"))
    result = maquette.train(resume=first.run, steps=4)
    parts = load_file(result.lora)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    damaged = load_file(earlier)
    name = next(name for name in damaged if not name.endswith("alpha"))
    damaged[name] = damaged[name] + 1
    save_file(damaged, earlier)
    with pytest.raises(OutputError, match="the LoRA that it goes on from changed"):
        maquette.train(resume=first.run, steps=6)


def test_loras_that_are_merged_into_the_base_change_what_is_trained_on(
    short_run: ShortRun, earlier: Path, tiny_base: Path
) -> None:
    from maquette.evaluating.base import load_base

    given = short_run(base_weights=(earlier,), base_weights_multiplier=(0.5,), steps=1)
    events: list[Event] = []
    result = maquette.train(on_event=events.append, **given)
    said = [event.text for event in events if isinstance(event, Message)]
    assert any("at strength 0.5 is part of the base" in text for text in said)
    record = read_record(result.run)
    assert list(record.lora_files) == [str(earlier)]
    base, plain = load_base(record.settings), load(tiny_base)
    adapter = LoraAdapter.attach(plain, [load_file(earlier)])
    adapter.set_multiplier(0.5)
    with adapter.merged():
        for key, target in ((each.key, each) for each in base.lora_targets()):
            merged = next(each for each in plain.lora_targets() if each.key == key)
            assert torch.equal(target.module.weight, merged.module.weight)
    with pytest.raises(ConfigError, match="one for each file"):
        trained(short_run(base_weights=(earlier,), base_weights_multiplier=(0.5, 1.0)))


def test_lokr_of_another_split_is_taken_from_the_file_or_refused(
    short_run: ShortRun, tiny_base: Path, tmp_path: Path
) -> None:
    model = load(tiny_base)
    spec = TrialSpec(kind="lokr", rank=2, alpha=1.0, factor=4, parts=("denoiser",))
    adapter = LoraAdapter.attach(model, [spec])
    path = save_lora(tmp_path / "lokr.safetensors", adapter.state_dict(0), {}, dtype="fp32").path
    adapter.detach()
    given = short_run(adapter="lokr", network_weights=path, text_encoder_lr=0.0, dropout=0.0, steps=1)
    after, _ = trained({**given, "dim_from_weights": True})
    assert {name: value.shape for name, value in after.items()} == {
        name: value.shape for name, value in load_file(path).items()
    }
    with pytest.raises(ConfigError, match=r"split in other sizes|rank \d+ in"):
        trained({**given, "alpha": 1.0})
