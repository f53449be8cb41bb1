"""CSD is read in the layout in which it is published, and computes what that layout's own network computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from maquette.encoders import load_encoder
from maquette.encoders.csd import FILE, config_of, renamed
from maquette.errors import ModelError


def layout(
    width: int, layers: int, patch: int, side: int, out: int, device: str = "cpu"
) -> dict[str, Tensor]:
    """Return random tensors under the published names, in the published shapes."""
    chance = torch.Generator(device).manual_seed(0) if device == "cpu" else None

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance, device=device) * 0.2

    tensors = {
        "backbone.class_embedding": some(width),
        "backbone.positional_embedding": some((side // patch) ** 2 + 1, width),
        "backbone.conv1.weight": some(width, 3, patch, patch),
        "last_layer_style": some(width, out),
        "last_layer_content": some(width, out),
    }
    for norm in ("ln_pre", "ln_post"):
        tensors |= {
            f"backbone.{norm}.weight": 1 + some(width),
            f"backbone.{norm}.bias": some(width),
        }
    for layer in range(layers):
        block = f"backbone.transformer.resblocks.{layer}"
        shapes: dict[str, tuple[int, ...]] = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width),
            "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width),
            "mlp.c_proj.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
        }
        tensors |= {f"{block}.{name}": some(*shape) for name, shape in shapes.items()}
    return tensors


def published_network(tensors: Mapping[str, Tensor], pixels: Tensor, layers: int) -> Tensor:
    """Return the style rows as OpenAI's tower computes them, written out from the published tensors alone."""
    own = {key.removeprefix("backbone."): tensor for key, tensor in tensors.items()}
    width = own["class_embedding"].shape[0]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), own[f"{name}.weight"], own[f"{name}.bias"])

    patches = F.conv2d(pixels, own["conv1.weight"], stride=own["conv1.weight"].shape[-1])
    x = patches.flatten(2).transpose(1, 2)
    first = own["class_embedding"].expand(len(x), 1, width)
    x = norm(torch.cat([first, x], dim=1) + own["positional_embedding"], "ln_pre")
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}"
        attention = torch.nn.MultiheadAttention(width, width // 64, batch_first=True)
        attention.load_state_dict(
            {
                name: own[f"{block}.attn.{name}"]
                for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
            }
        )
        read = norm(x, f"{block}.ln_1")
        x = x + attention(read, read, read, need_weights=False)[0]
        wide = F.linear(
            norm(x, f"{block}.ln_2"), own[f"{block}.mlp.c_fc.weight"], own[f"{block}.mlp.c_fc.bias"]
        )
        wide = wide * torch.sigmoid(1.702 * wide)
        x = x + F.linear(wide, own[f"{block}.mlp.c_proj.weight"], own[f"{block}.mlp.c_proj.bias"])
    return F.normalize(norm(x[:, 0], "ln_post") @ own["last_layer_style"], dim=1)


def test_it_computes_what_the_published_layout_means(tmp_path: Path) -> None:
    tensors = layout(128, 2, 8, 32, 12)
    save_file(tensors, tmp_path / FILE)
    encoder = load_encoder(f"csd={tmp_path}", "cpu")
    chance = np.random.default_rng(0)
    images = [Image.fromarray(chance.integers(0, 256, (40, 56, 3), np.uint8)) for _ in range(3)]
    prepared = [encoder.prepare(image) for image in images]
    assert [each.shape for each in prepared] == [(3, 32, 32)] * 3
    rows = encoder.encode(prepared)
    with torch.no_grad():
        expected = published_network(tensors, torch.from_numpy(np.stack(prepared)), layers=2)
    assert rows.shape == (3, encoder.dims) == (3, 12)
    assert np.abs(rows - expected.numpy()).max() < 1e-4


def test_the_full_layout_fits_to_the_last_tensor() -> None:
    """ViT-L/14 at 224 px: 297 tensors, all of which but the head for content have their place."""
    tensors = layout(1024, 24, 14, 224, 768, device="meta")
    assert len(tensors) == 297
    config = config_of(tensors)
    assert (config.image_size, config.num_attention_heads, config.num_hidden_layers) == (224, 16, 24)
    with torch.device("meta"):
        wanted = CLIPVisionModelWithProjection(config).state_dict()
    found = dict(renamed(tensors))
    assert {key: tensor.shape for key, tensor in found.items()} == {
        key: tensor.shape for key, tensor in wanted.items()
    }


@pytest.mark.parametrize("without", ["last_layer_style", "backbone.conv1.weight", "backbone.ln_pre.bias"])
def test_another_models_file_is_said_plainly(tmp_path: Path, without: str) -> None:
    tensors = layout(128, 1, 8, 32, 12)
    del tensors[without]
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(ModelError, match=r"cannot be read as CSD.*last_layer_style"):
        load_encoder(f"csd={tmp_path}", "cpu")
