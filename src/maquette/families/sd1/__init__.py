"""Stable Diffusion 1.x: one CLIP text encoder, a U-Net that predicts noise (or v), a VAE of scale 0.18215."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.families.common.describe import UNET_PROOF, file_info, folder_info
from maquette.families.common.layout import ModelLayout, read_hf_text_layout
from maquette.families.common.layout_sources import file_unet, file_vae, folder_text, folder_unet, folder_vae
from maquette.families.common.places import WeightPlace
from maquette.families.common.source import SingleFile, Source
from maquette.families.common.tokenizer import ClipTokenizer
from maquette.families.common.tokenizers import clip_tokenizer_of
from maquette.families.protocol import BaseModel, FamilySpec, ModelInfo
from maquette.families.sd1.keys import TEXT, text_prefix
from maquette.families.sd1.spec import ACTIVATION, PIPELINES, PUBLISHED, SPEC

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

    def tokenizer(self, source: Source | None) -> ClipTokenizer:
        """Return the model's tokenizer: its own, else CLIP's. ModelError when it has one that does not fit it."""
        return clip_tokenizer_of(source)

    def skeleton(self, layout: ModelLayout) -> BaseModel:
        """Return the model's networks of these sizes on the meta device: shapes without weights."""
        from maquette.families.sd1.skeleton import skeleton

        return skeleton(layout)

    def weight_places(self, source: Source) -> tuple[WeightPlace, ...]:
        """Return where `source` has the weight of each layer that an adapter may stand on."""
        from maquette.families.sd1.load import weight_places

        return weight_places(source)

    def layout(self, source: Source | None) -> ModelLayout:
        """Return the sizes of the parts in `source`; of the published model for None."""
        if source is None:
            return PUBLISHED
        if isinstance(source, SingleFile):
            text = read_hf_text_layout(source.shapes(), text_prefix(source), str(source.path))
            return ModelLayout(SPEC.name, file_unet(source), file_vae(source), (text,))
        text = folder_text(source.configs["text_encoder"])
        return ModelLayout(SPEC.name, folder_unet(source), folder_vae(source), (text,))
