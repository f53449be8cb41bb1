"""CSD: contrastive style descriptors (Somepalli et al. 2024): CLIP's vision tower, trained on to tell styles whoever is shown.

Read from safetensors in the layout in which they are published (OpenAI's names below `backbone.`, a projection
`last_layer_style`), run by transformers' CLIP. The sizes stand in the tensors' shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maquette.devices import resolve_device
from maquette.encoders import UNMEASURED_BAND, cosine
from maquette.encoders.preprocess import Preprocessing
from maquette.encoders.source import fingerprint, model_folder
from maquette.errors import ModelError, Problem

HUB_NAME, FILE = "yuxi-liu-wired/CSD", "model.safetensors"
STYLE, BACKBONE = "last_layer_style", "backbone."
HEAD_CHANNELS = 64
"""Of one attention head, in every CLIP tower."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
}
BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")


class Csd:
    """Rows of length 1 that say in which style a picture is made, compared by their cosine."""

    threshold = 0.75
    band = UNMEASURED_BAND
    slack = None
    blind_to = (
        "who is shown, which it was trained to overlook; of 91 artists in a study (arXiv 2605.09030) it found those "
        "of 23 less alike than those of different artists. Its threshold was not measured"
    )
    batch = 16

    def __init__(self, name: str, weights: Path, device: str) -> None:
        from transformers import CLIPVisionModelWithProjection

        self.name, self.device = name, device
        tensors = load_file(weights)
        config = config_of(tensors)
        with torch.device("meta"):
            model = CLIPVisionModelWithProjection(config)
        model.load_state_dict(dict(renamed(tensors)), strict=True, assign=True)
        positions = model.vision_model.embeddings
        positions.position_ids = torch.arange(positions.num_positions)[None]
        self.model = model.float().to(device).eval().requires_grad_(False)
        self.preprocess = Preprocessing(
            shortest_edge=config.image_size,
            size_hw=None,
            resample=Image.Resampling.BICUBIC,
            crop_hw=(config.image_size, config.image_size),
            factor=1 / 255,
            mean=MEAN,
            std=STD,
        )
        self.dims = self.identity_dims = int(config.projection_dim)
        self.fingerprint = f"csd-{fingerprint([weights])}"

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        return self.preprocess(image)

    @torch.no_grad()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        pixels_NCHW = torch.from_numpy(np.stack(prepared)).to(self.device)
        rows_ND = self.model(pixel_values=pixels_NCHW).image_embeds.float()
        rows: NDArray[Any] = torch.nn.functional.normalize(rows_ND, dim=1).cpu().numpy()
        return rows

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        return cosine(pictures_ND, references_RD)


def load(name: str, source: str, device: str | None) -> Csd:
    """Return CSD from a local folder, or the hub. Raises ModelError where its file is not to be had, or is another's."""
    folder = model_folder(
        source or HUB_NAME,
        [FILE],
        [FILE],
        f"Download it once while online, or name a local folder with its {FILE}: --encoder csd=/path/to/folder.",
    )
    try:
        return Csd(f"{name}={source or HUB_NAME}", folder / FILE, device or resolve_device("auto"))
    except (KeyError, RuntimeError, SafetensorError, ValueError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        required = f"CSD's weights: {BACKBONE}… in OpenAI's names, and {STYLE}"
        remedy = f"Get {FILE} of huggingface.co/{HUB_NAME}."
        raise ModelError(
            Problem(str(folder / FILE), f"cannot be read as CSD ({first_line})", required, remedy)
        ) from None


def config_of(tensors: Mapping[str, Tensor]) -> Any:
    """Return the vision tower's configuration, read from the shapes. Raises KeyError, ValueError."""
    from transformers import CLIPVisionConfig

    width, _, patch, _ = tensors[f"{BACKBONE}conv1.weight"].shape
    places = tensors[f"{BACKBONE}positional_embedding"].shape[0] - 1
    blocks = {int(found[1]) for key in tensors if (found := BLOCK.match(key.removeprefix(BACKBONE)))}
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=tensors[f"{BACKBONE}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=len(blocks),
        num_attention_heads=width // HEAD_CHANNELS,
        image_size=round(places**0.5) * patch,
        patch_size=patch,
        projection_dim=tensors[STYLE].shape[1],
        hidden_act="quick_gelu",
    )


def renamed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors under transformers' names; the head for content is left out."""
    yield "visual_projection.weight", tensors[STYLE].T.contiguous()
    for key, tensor in tensors.items():
        if not key.startswith(BACKBONE):
            continue
        key = key.removeprefix(BACKBONE)
        found = BLOCK.match(key)
        if found is None:
            yield f"vision_model.{_mapped(key, NAMES)}", tensor
            continue
        layer = f"vision_model.encoder.layers.{found[1]}"
        if found[2].startswith("attn.in_proj_"):
            kind = found[2].removeprefix("attn.in_proj_")
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                yield f"{layer}.self_attn.{part}_proj.{kind}", piece.contiguous()
        else:
            yield f"{layer}.{_mapped(found[2], BLOCK_NAMES)}", tensor


def _mapped(key: str, names: Mapping[str, str]) -> str:
    """Return a key whose beginning stands in the table under the other name."""
    known = next((name for name in names if key == name or key.startswith(f"{name}.")), None)
    return names[known] + key.removeprefix(known) if known is not None else key
