"""CLIP, SigLIP and DINOv2 through transformers: the vision half alone, weights as safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maquette.devices import resolve_device
from maquette.encoders import UNMEASURED_BAND, cosine
from maquette.encoders.preprocess import CONFIG_NAME, Preprocessing, read_preprocessing
from maquette.encoders.source import MODEL_FILE, fingerprint, in_cache, model_folder
from maquette.errors import ModelError, Problem
from maquette.reading import read_table, shown

PATTERNS = ("config.json", CONFIG_NAME, "model*.safetensors", "model.safetensors.index.json")
REQUIRED = ("config.json", CONFIG_NAME, "*.safetensors")


@dataclass(frozen=True)
class VisionKind:
    """How one kind of model is loaded, and which of its outputs stands for the picture."""

    hub_name: str
    model_types: tuple[str, ...]
    model_class: str
    output: str
    width: str
    """The key of the output's width in the (vision) configuration."""
    blind_to: str


KINDS: dict[str, VisionKind] = {
    "clip": VisionKind(
        "openai/clip-vit-large-patch14",
        ("clip", "clip_vision_model"),
        "CLIPVisionModelWithProjection",
        "image_embeds",
        "projection_dim",
        "two subjects of one kind that look much alike; it goes by style, too. Its threshold was measured on one film",
    ),
    "siglip": VisionKind(
        "google/siglip-base-patch16-224",
        ("siglip", "siglip_vision_model"),
        "SiglipVisionModel",
        "pooler_output",
        "hidden_size",
        "two subjects of one kind that look much alike; it goes by style, too. Its threshold was not measured",
    ),
    "dinov2": VisionKind(
        "facebook/dinov2-base",
        ("dinov2", "dinov2_with_registers"),
        "AutoModel",
        "pooler_output",
        "hidden_size",
        "drawings; an equal pose or background counts as likeness. Its threshold was not measured",
    ),
}


class TransformersVision:
    """A vision model whose rows have length 1, compared by their cosine."""

    threshold = 0.75
    band = UNMEASURED_BAND
    slack = None
    batch = 16

    def __init__(self, name: str, kind: VisionKind, folder: Path, device: str) -> None:
        self.name = name
        self.kind = kind
        self.blind_to = kind.blind_to
        self.device = device
        self.preprocess: Preprocessing = read_preprocessing(folder)
        self.model = _load(kind, folder).to(device).eval().requires_grad_(False)
        config = self.model.config
        self.dims = int(getattr(config, kind.width))
        self.identity_dims = self.dims
        files = [folder / "config.json", folder / CONFIG_NAME, *folder.glob("*.safetensors")]
        self.fingerprint = f"{kind.output}-{fingerprint(files)}"

    def prepare(self, image: Any) -> NDArray[Any]:
        return self.preprocess(image)

    @torch.no_grad()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        pixels_NCHW = torch.from_numpy(np.stack(prepared)).to(self.device)
        rows_ND = getattr(self.model(pixel_values=pixels_NCHW), self.kind.output).float()
        rows: NDArray[Any] = torch.nn.functional.normalize(rows_ND, dim=1).cpu().numpy()
        return rows

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        return cosine(pictures_ND, references_RD)


def load(name: str, source: str, device: str | None) -> TransformersVision:
    """Return the model of one of KINDS from a hub name or folder, on `device` (None: the fastest here)."""
    kind = KINDS[name]
    folder = model_folder(source or kind.hub_name, PATTERNS, REQUIRED)
    _require_kind(name, kind, folder)
    shown = f"{name}={source or kind.hub_name}"
    return TransformersVision(shown, kind, folder, device or resolve_device("auto"))


def is_here(name: str) -> bool:
    """Return whether the model that `name` alone stands for is in the hub's cache."""
    return in_cache(KINDS[name].hub_name, PATTERNS, REQUIRED) is not None


def _require_kind(name: str, kind: VisionKind, folder: Path) -> None:
    found = read_table(folder / "config.json", MODEL_FILE).get("model_type")
    if found in kind.model_types:
        return
    other = next((other for other, spec in KINDS.items() if found in spec.model_types), None)
    remedy = f"Say --encoder {other}={folder}" if other else f"Known kinds: {', '.join(KINDS)}."
    raise ModelError(Problem(str(folder), f"a model of type {shown(found)}", f"a {name} model", remedy))


def _vision_config(folder: Path) -> Any:
    """Return the vision half's configuration; the width of the projection stands in the whole model's alone."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    vision = getattr(config, "vision_config", None)
    if vision is None:
        return config
    if hasattr(config, "projection_dim"):
        vision.projection_dim = config.projection_dim
    return vision


def _load(kind: VisionKind, folder: Path) -> Any:
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # the text half's weights are left out on purpose
    try:
        model_class = getattr(transformers, kind.model_class)
        return model_class.from_pretrained(
            folder,
            config=_vision_config(folder),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            Problem(
                str(folder),
                f"cannot be loaded ({first_line})",
                "a whole model",
                "Download it again, or choose another.",
            )
        ) from None
    finally:
        transformers.logging.set_verbosity(before)
