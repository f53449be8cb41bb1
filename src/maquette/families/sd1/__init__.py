"""Stable Diffusion 1.x: one CLIP text encoder, a U-Net that predicts noise (or v), a VAE of scale 0.18215."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.families.common.describe import UNET_PROOF, file_info, folder_info
from maquette.families.common.source import SingleFile, Source
from maquette.families.protocol import BaseModel, FamilySpec, ModelInfo
from maquette.families.sd1.keys import TEXT
from maquette.families.sd1.spec import ACTIVATION, PIPELINES, SPEC

if TYPE_CHECKING:
    import torch


class StableDiffusion1:
    """The family's row in the table. See protocol.Family."""

    spec: FamilySpec = SPEC
    name: str = SPEC.name

    def detect(self, source: Source) -> ModelInfo | None:
        """Return what `source` is when it is SD 1.x; ModelError when it is one that cannot be trained."""
        if isinstance(source, SingleFile):
            tensors = source.header.tensors
            mine = UNET_PROOF in tensors and any(name.startswith(TEXT) for name in tensors)
            return file_info(SPEC, source, text_encoders=1) if mine else None
        parts = source.configs
        mine = (
            source.index.get("_class_name") in PIPELINES
            and {"unet", "vae", "text_encoder"} <= set(parts)
            and parts["text_encoder"].get("hidden_act") == ACTIVATION
            and not parts["unet"].get("addition_embed_type")
        )
        return folder_info(SPEC, source, text_encoders=1) if mine else None

    def load(
        self, info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
    ) -> BaseModel:
        """Return the model with weights in `dtype` on `device`."""
        from maquette.families.sd1.load import load

        return load(info, source, dtype=dtype, device=device)
