"""Stable Diffusion XL (base): two text encoders, pooled text, picture sizes; its VAE overflows in float16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.families.common.describe import UNET_PROOF, file_info, folder_info
from maquette.families.common.layout import ModelLayout, read_hf_text_layout, read_open_clip_layout
from maquette.families.common.layout_sources import file_unet, file_vae, folder_text, folder_unet, folder_vae
from maquette.families.common.places import WeightPlace
from maquette.families.common.source import SingleFile, Source
from maquette.families.common.tokenizer import ClipTokenizer
from maquette.families.common.tokenizers import clip_tokenizer_of
from maquette.families.protocol import BaseModel, FamilySpec, ModelInfo
from maquette.families.sdxl.keys import TEXT_1, TEXT_2, first_text_prefix
from maquette.families.sdxl.spec import PIPELINES, PUBLISHED, SPEC

if TYPE_CHECKING:
    import torch


class StableDiffusionXL:
    """The family's row in the table. See protocol.Family."""

    spec: FamilySpec = SPEC
    name: str = SPEC.name

    def detect(self, source: Source) -> ModelInfo | None:
        """Return what `source` is when it is SDXL; ModelError when it is one that cannot be trained."""
        if isinstance(source, SingleFile):
            names = source.header.tensors
            mine = UNET_PROOF in names and all(
                any(name.startswith(prefix) for name in names) for prefix in (TEXT_1, TEXT_2)
            )
            return file_info(SPEC, source, text_encoders=2) if mine else None
        parts = source.configs
        mine = (
            source.index.get("_class_name") in PIPELINES
            and {"unet", "vae", "text_encoder", "text_encoder_2"} <= set(parts)
            and parts["unet"].get("addition_embed_type") == "text_time"
        )
        return folder_info(SPEC, source, text_encoders=2) if mine else None

    def load(
        self, info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
    ) -> BaseModel:
        """Return the model with weights in `dtype` on `device`."""
        from maquette.families.sdxl.load import load

        return load(info, source, dtype=dtype, device=device)

    def tokenizer(self, source: Source | None) -> ClipTokenizer:
        """Return the model's tokenizer: its own, else CLIP's. ModelError when it has one that does not fit it."""
        return clip_tokenizer_of(source)

    def skeleton(self, layout: ModelLayout) -> BaseModel:
        """Return the model's networks of these sizes on the meta device: shapes without weights."""
        from maquette.families.sdxl.skeleton import skeleton

        return skeleton(layout)

    def weight_places(self, source: Source) -> tuple[WeightPlace, ...]:
        """Return where `source` has the weight of each layer that an adapter may stand on."""
        from maquette.families.sdxl.load import weight_places

        return weight_places(source)

    def layout(self, source: Source | None) -> ModelLayout:
        """Return the sizes of the parts in `source`; of the published model for None."""
        if source is None:
            return PUBLISHED
        if isinstance(source, SingleFile):
            shapes, where = source.shapes(), str(source.path)
            first = read_hf_text_layout(shapes, first_text_prefix(source), where)
            texts = (first, read_open_clip_layout(shapes, TEXT_2, where))
            return ModelLayout(SPEC.name, file_unet(source), file_vae(source), texts)
        texts = (
            folder_text(source.configs["text_encoder"]),
            folder_text(source.configs["text_encoder_2"], projection=True),
        )
        return ModelLayout(SPEC.name, folder_unet(source), folder_vae(source), texts)
