"""Cached latents are those the encoder gave, or an error or a message; never something else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from maquette.dataset.buckets import assign_buckets
from maquette.dataset.cache import Encode, LatentCache
from maquette.dataset.cache_folder import CacheFolder
from maquette.dataset.config import BucketSettings, SubsetOptions
from maquette.dataset.records import Item
from maquette.dataset.repeats import plan_items
from maquette.errors import DatasetError, OutputError
from maquette.events import Event, Message, Progress, run_stage
from tests.dataset.making import captioned, dataset_at

SETTINGS = BucketSettings(resolution_wh=(64, 64), min_bucket_px=32, max_bucket_px=128, step_px=16)


class Encoder:
    """An encoder as a VAE is one: eight pixels to a latent, plus noise from the generator."""

    def __init__(self, factor: int = 8) -> None:
        self.calls = 0
        self.factor = factor

    def __call__(self, pixels_BCHW: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        self.calls += 1
        pooled = torch.nn.functional.avg_pool2d(pixels_BCHW, self.factor)
        return pooled + torch.stack([torch.randn(pooled.shape[1:], generator=own) for own in generators])


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    captioned(tmp_path / "3_a", 3, (64, 64))
    captioned(tmp_path / "1_b", 2, (128, 64))
    return list(assign_buckets(plan_items(dataset_at(tmp_path).pictures), SETTINGS))


def filled(
    folder: Path | None, items: list[Item], encode: Encode, **options: object
) -> tuple[LatentCache, list[Event]]:
    place = None if folder is None else CacheFolder(folder)
    cache = LatentCache(place, **({"encoder": "vae", "seed": 1} | options))  # type: ignore[arg-type]
    events: list[Event] = []
    run_stage(cache.fill(items, encode), events.append)
    return cache, events


def test_memory_and_disk_and_a_second_run_hold_the_same_latents(tmp_path: Path, items: list[Item]) -> None:
    encoder = Encoder()
    in_memory, _ = filled(None, items, encoder)
    assert encoder.calls == 5
    on_disk, events = filled(tmp_path / "cache", items, encoder)
    assert encoder.calls == 10
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2, 3, 4, 5]
    again, _ = filled(tmp_path / "cache", items[::-1], encoder)
    assert encoder.calls == 10 and run_stage(again.fill(items, encoder)) == 0
    for item in items:
        assert torch.equal(in_memory.latent(item), on_disk.latent(item))
        assert torch.equal(on_disk.latent(item), again.latent(item))


def test_a_latent_does_not_depend_on_the_other_pictures(items: list[Item]) -> None:
    alone, _ = filled(None, items[-1:], Encoder())
    together, _ = filled(None, items, Encoder())
    assert torch.equal(alone.latent(items[-1]), together.latent(items[-1]))


def test_more_than_memory_is_read_from_the_folder(tmp_path: Path, items: list[Item]) -> None:
    small, _ = filled(tmp_path / "cache", items, Encoder(), memory_limit_bytes=0)
    full, _ = filled(None, items, Encoder())
    assert all(torch.equal(small.latent(item), full.latent(item)) for item in items)


@pytest.mark.parametrize("change", [{"encoder": "other"}, {"seed": 2}])
def test_another_encoder_or_seed_is_another_entry(tmp_path: Path, items: list[Item], change: dict) -> None:
    encoder = Encoder()
    first, _ = filled(tmp_path / "cache", items, encoder)
    second, _ = filled(tmp_path / "cache", items, encoder, **change)
    assert encoder.calls == 10
    assert not torch.equal(first.latent(items[0]), second.latent(items[0]))


def test_another_background_is_another_entry(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    encoder = Encoder()
    for background in (None, "white", "black", "white"):
        pictures = dataset_at(tmp_path / "d", options=SubsetOptions(background=background)).pictures
        filled(tmp_path / "cache", list(assign_buckets(plan_items(pictures), SETTINGS)), encoder)
    assert encoder.calls == 3


def test_another_bucket_or_another_picture_is_another_entry_and_a_renamed_one_is_not(tmp_path: Path) -> None:
    encoder = Encoder()

    def fill(settings: BucketSettings) -> None:
        pictures = dataset_at(tmp_path / "d").pictures
        filled(tmp_path / "cache", list(assign_buckets(plan_items(pictures), settings)), encoder)

    captioned(tmp_path / "d", 1, (128, 64))
    fill(SETTINGS)
    fill(BucketSettings(resolution_wh=(64, 64), enabled=False))
    assert encoder.calls == 2
    for ending in ("png", "txt"):
        (tmp_path / "d" / f"p000.{ending}").rename(tmp_path / "d" / f"renamed.{ending}")
    fill(SETTINGS)
    assert encoder.calls == 2
    captioned(tmp_path / "d", 2, (128, 64))
    fill(SETTINGS)
    assert encoder.calls == 3, "p000 has the renamed picture's bytes, p001 is new"


def test_mirrored_showings_have_latents_of_their_own(tmp_path: Path) -> None:
    captioned(tmp_path, 1)
    pictures = dataset_at(tmp_path, options=SubsetOptions(flip_aug=True)).pictures
    (item,) = assign_buckets(plan_items(pictures), SETTINGS)

    cache, _ = filled(None, [item], lambda pixels, _: torch.nn.functional.avg_pool2d(pixels, 8))
    assert torch.allclose(cache.latent(item, flipped=True), cache.latent(item).flip(-1), atol=1e-6)


def test_pictures_of_one_size_are_encoded_together_each_with_its_own_chance(items: list[Item]) -> None:
    encoder = Encoder()
    together, events = filled(None, items, encoder, batch_size=2)
    alone, _ = filled(None, items, Encoder())
    assert encoder.calls == 3, "two of one size, then two and one of another"
    assert [e.done for e in events if isinstance(e, Progress)] == [2, 4, 5]
    assert all(torch.equal(together.latent(item), alone.latent(item)) for item in items)


def test_names_alone_are_believed_where_that_is_asked_and_looked_into_when_shown(
    tmp_path: Path, items: list[Item]
) -> None:
    filled(tmp_path / "cache", items, Encoder())
    victim = sorted((tmp_path / "cache").rglob("*.safetensors"))[0]
    victim.write_bytes(b"damaged")
    encoder = Encoder()
    cache, _ = filled(tmp_path / "cache", items, encoder, trusts_names=True)
    assert encoder.calls == 0 and not any(cache.holds(item) for item in items)
    with pytest.raises(DatasetError, match="skip_cache_check"):
        for item in items:
            cache.latent(item)


def test_what_a_full_folder_does_not_hold_is_kept_in_memory_and_said(
    tmp_path: Path, items: list[Item]
) -> None:
    folder = CacheFolder(tmp_path / "cache", limit_bytes=3000)
    cache = LatentCache(folder, encoder="vae", seed=1, memory_limit_bytes=0)
    events: list[Event] = []
    run_stage(cache.fill(items, Encoder()), events.append)
    assert any("cache_limit_gb" in event.text for event in events if isinstance(event, Message))
    plain, _ = filled(None, items, Encoder())
    assert all(torch.equal(cache.latent(item), plain.latent(item)) for item in items)
    assert 0 < sum(file.stat().st_size for file in folder.path.rglob("*.safetensors")) <= 3000


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one bit flipped": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
    "text": lambda data: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_encoded_again_with_a_word(tmp_path: Path, items: list[Item], damage: str) -> None:
    folder = tmp_path / "cache"
    before, _ = filled(folder, items, Encoder())
    victim = sorted(folder.rglob("*.safetensors"))[0]
    victim.write_bytes(DAMAGE[damage](victim.read_bytes()))
    encoder = Encoder()
    after, events = filled(folder, items, encoder)
    assert encoder.calls == 1
    (message,) = [event for event in events if isinstance(event, Message)]
    assert "encoded again" in message.text and ".png" in message.text
    assert all(torch.equal(before.latent(item), after.latent(item)) for item in items)


def test_an_entry_under_anothers_name_is_not_believed(tmp_path: Path, items: list[Item]) -> None:
    folder = tmp_path / "cache"
    filled(folder, items, Encoder())
    first, second = sorted(folder.rglob("*.safetensors"))[:2]
    shutil.copy(first, second)
    _, events = filled(folder, items, Encoder())
    assert any("belong to something else" in event.text for event in events if isinstance(event, Message))


def test_latents_of_another_size_are_not_believed(tmp_path: Path, items: list[Item]) -> None:
    folder = tmp_path / "cache"
    filled(folder, items, lambda pixels, generator: torch.zeros(1, 4, 5, 8))
    _, events = filled(folder, items, Encoder())
    assert sum("another size" in event.text for event in events if isinstance(event, Message)) == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_latent_that_is_not_a_number_names_its_picture_and_is_not_kept(
    tmp_path: Path, items: list[Item], value: float
) -> None:
    def broken(pixels_BCHW: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        return torch.full((1, 4, 8, 8), value)

    with pytest.raises(DatasetError) as caught:
        list(LatentCache(CacheFolder(tmp_path / "cache"), encoder="vae", seed=1).fill(items, broken))
    assert caught.value.problems[0].where == str(items[0].picture.path)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_place_that_cannot_be_written_is_an_error_before_anything_is_encoded(
    tmp_path: Path, items: list[Item]
) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = Encoder()
    with pytest.raises(OutputError):
        filled(tmp_path / "file" / "cache", items, encoder)
    assert encoder.calls == 0


def test_an_entry_lost_during_the_run_is_an_error(tmp_path: Path, items: list[Item]) -> None:
    cache, _ = filled(tmp_path / "cache", items, Encoder(), memory_limit_bytes=0)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DatasetError, match="are missing"):
        cache.latent(items[0])


def test_a_full_disk_is_an_error_and_leaves_no_junk(tmp_path: Path, items: list[Item]) -> None:
    resource = pytest.importorskip(
        "resource", reason="needs a limit on file sizes to stand in for a full disk"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache = LatentCache(CacheFolder(tmp_path / "cache"), encoder="vae", seed=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OutputError, match="free space"):
            list(cache.fill(items, Encoder()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
