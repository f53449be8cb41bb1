"""The recipe's parts: a resumed loop goes on, normalised latents leave pictures alone, an export loads unchanged."""

import random
from itertools import count
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from maquette.families import load
from maquette.world.attributes import ATTRIBUTE_VALUES
from maquette.world.making.data import Pictures, load_pictures
from maquette.world.making.export import export_model
from maquette.world.making.judge import redraw
from maquette.world.making.loop import TimedLoop, read_modules, recorded
from maquette.world.making.networks import (
    LATENT_CHANNELS,
    LATENT_SCALE,
    new_denoiser,
    new_text_encoder,
    new_vae,
)
from maquette.world.making.text import read_states, text_batch, tokenize
from maquette.world.making.unet import Painter, latents_of, shown, signal_share
from maquette.world.making.vae import normalise_latents, psnr_db
from maquette.world.tokenizer import build_tokenizer, world_vocabulary


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return load_pictures(tmp_path_factory.mktemp("pictures"), 128, 3, quiet)


def test_pictures_are_rendered_once_and_labelled(tmp_path: Path) -> None:
    first = load_pictures(tmp_path, 20, 1, quiet)
    stamp = (tmp_path / "pictures-20-1.npy").stat().st_mtime_ns
    again = load_pictures(tmp_path, 20, 1, quiet)
    assert (tmp_path / "pictures-20-1.npy").stat().st_mtime_ns == stamp
    assert torch.equal(first.labels_NA, again.labels_NA)
    pixels_BCHW = again.batch(torch.tensor([0, 7]))
    assert pixels_BCHW.shape == (2, 3, 64, 64)
    assert -1 <= float(pixels_BCHW.min()) < float(pixels_BCHW.max()) <= 1
    assert shown(first.labels_NA[0].tolist())


def test_a_loop_goes_on_where_its_file_stopped(tmp_path: Path) -> None:
    def run(minutes: float) -> tuple[TimedLoop, nn.Module]:
        torch.manual_seed(0)
        module = nn.Linear(4, 1)
        path, clock = tmp_path / "line.safetensors", count(step=6)
        loop = TimedLoop(
            {"line": module},
            path,
            minutes=minutes,
            learning_rate=0.1,
            say=quiet,
            ema_decay=0.9,
            clock=clock.__next__,
        )
        for _ in loop.steps():
            loop.update(module(torch.ones(8, 4)).pow(2).mean())
        return loop, module

    first, module = run(2.0)
    second, same = run(1.0)
    assert second.step == first.step == recorded(tmp_path / "line.safetensors")["step"] == 20
    assert torch.equal(same.weight, module.weight)
    assert run(3.0)[0].step == 30
    average = read_modules(tmp_path / "line.safetensors", "line", "average")
    assert average.keys() == module.state_dict().keys()


def test_normalising_latents_leaves_pictures_as_they_were(few: Pictures) -> None:
    torch.manual_seed(0)
    vae = new_vae().eval().requires_grad_(False)
    before = psnr_db(vae, few, 32)
    normalise_latents(vae, few, 128)
    assert psnr_db(vae, few, 32) == pytest.approx(before, abs=1e-3)
    with torch.no_grad():
        latent_BCHW = vae.encode(few.batch(torch.arange(128))).latent_dist.mean * LATENT_SCALE
    assert latent_BCHW.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (latent_BCHW.var(dim=(0, 2, 3)) - 1).abs().max() < 1e-2


@pytest.mark.slow
def test_latents_and_redrawn_pictures_are_kept(tmp_path: Path, few: Pictures) -> None:
    torch.manual_seed(0)
    vae = new_vae().eval()
    latent_NCHW = latents_of(vae, few, tmp_path / "latents.safetensors", quiet)
    assert latent_NCHW.shape == (128, LATENT_CHANNELS, 8, 8)
    assert torch.equal(latents_of(vae, few, tmp_path / "latents.safetensors", quiet), latent_NCHW)
    assert redraw(vae, few, tmp_path / "redrawn.npy", quiet, count=50).shape == (50, 64, 64, 3)


def test_the_schedule_is_stable_diffusions() -> None:
    reference = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert torch.allclose(signal_share(), reference.alphas_cumprod, rtol=2e-5)


def test_told_values_come_with_captions_and_states_from_the_end_on() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(world_vocabulary())
    encoder = new_text_encoder(len(tokenizer)).eval()
    ids_BT, told_BA = text_batch(tokenizer, 40, random.Random(0))
    unspoken = torch.tensor([len(values) for values in ATTRIBUTE_VALUES.values()])
    empty_B = ids_BT[:, 1] == ids_BT[:, -1]
    assert ids_BT.shape == (40, 77)
    assert torch.equal((told_BA == unspoken).all(dim=1) | ~empty_B, torch.ones(40, dtype=torch.bool))
    with torch.no_grad():
        end_BD, behind_BD = read_states(encoder, ids_BT, torch.Generator().manual_seed(0))
        state_BTD = encoder(input_ids=ids_BT).last_hidden_state
    first_end = int((ids_BT[0] == ids_BT[0, -1]).int().argmax())
    assert torch.equal(end_BD[0], state_BTD[0, first_end])
    assert (state_BTD[0, first_end:] - behind_BD[0]).abs().sum(dim=1).min() == 0


@torch.no_grad()
def test_an_exported_model_loads_as_the_networks_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vocabulary = world_vocabulary()
    tokenizer = build_tokenizer(vocabulary)
    denoiser, encoder, vae = new_denoiser().eval(), new_text_encoder(len(tokenizer)).eval(), new_vae().eval()
    for module in (denoiser, encoder, vae):
        module.half().float()  # the file keeps float16
    painter = Painter(denoiser=denoiser, encoder=encoder, tokenizer=tokenizer, vae=vae)
    export_model(painter, vocabulary, tmp_path / "world.safetensors")
    model = load(tmp_path / "world.safetensors")

    captions = ["tovaki character, arms up", ""]
    text_BTD = encoder(input_ids=tokenize(tokenizer, captions)).last_hidden_state
    conditioning = model.encode_text(model.tokenize(captions), clip_skip=1)
    assert torch.allclose(conditioning.text_BTD, text_BTD, atol=1e-5)
    noisy_BCHW, timestep_B = torch.randn(2, LATENT_CHANNELS, 8, 8), torch.tensor([10, 900])
    expected_BCHW = denoiser(noisy_BCHW, timestep_B, text_BTD).sample
    assert torch.allclose(model.predict(noisy_BCHW, timestep_B, conditioning, None), expected_BCHW, atol=1e-5)
    drawn_BCHW = vae.decode(noisy_BCHW / LATENT_SCALE).sample.clamp(-1, 1)
    assert torch.allclose(model.decode_latents(noisy_BCHW), drawn_BCHW, atol=1e-4)
