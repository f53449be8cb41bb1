"""Stable Diffusion 2.x: OpenCLIP's text encoder without its last layer, a U-Net that predicts noise (512 px) or v (768 px)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.errors import ModelError, Problem
from maquette.families.common.describe import UNET_PROOF, file_info, folder_info
from maquette.families.common.layout import ModelLayout
from maquette.families.common.layout_sources import file_unet, file_vae, folder_text, folder_unet, folder_vae
from maquette.families.common.places import WeightPlace
from maquette.families.common.source import SingleFile, Source
from maquette.families.common.tokenizer import ClipTokenizer
from maquette.families.common.tokenizers import clip_tokenizer_of
from maquette.families.protocol import BaseModel, FamilySpec, ModelInfo
from maquette.families.sd2.keys import TEXT_PROOF, predicts, read_text
from maquette.families.sd2.spec import ACTIVATION, PAD_ID, PIPELINES, PUBLISHED, SPEC

if TYPE_CHECKING:
    import torch


class StableDiffusion2:
    """The family's row in the table. See protocol.Family."""

    spec: FamilySpec = SPEC
    name: str = SPEC.name

    def detect(self, source: Source) -> ModelInfo | None:
        """Return what `source` is when it is SD 2.x; ModelError when it is one that cannot be trained."""
        if isinstance(source, SingleFile):
            tensors = source.header.tensors
            if not (UNET_PROOF in tensors and TEXT_PROOF in tensors):
                return None
            _refuse_extra_inputs(source)
            return file_info(SPEC, source, text_encoders=1, silent=predicts)
        parts = source.configs
        mine = (
            source.index.get("_class_name") in PIPELINES
            and {"unet", "vae", "text_encoder"} <= set(parts)
            and parts["text_encoder"].get("hidden_act") == ACTIVATION
            and not parts["unet"].get("addition_embed_type")
            and not parts["unet"].get("class_embed_type")
        )
        return folder_info(SPEC, source, text_encoders=1) if mine else None

    def load(
        self, info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
    ) -> BaseModel:
        """Return the model with weights in `dtype` on `device`."""
        from maquette.families.sd2.load import load

        return load(info, source, dtype=dtype, device=device)

    def tokenizer(self, source: Source | None) -> ClipTokenizer:
        """Return the model's tokenizer: its own, else CLIP's. ModelError when it has one that does not fit it."""
        return clip_tokenizer_of(source).with_pad(PAD_ID)

    def skeleton(self, layout: ModelLayout) -> BaseModel:
        """Return the model's networks of these sizes on the meta device: shapes without weights."""
        from maquette.families.sd2.skeleton import skeleton

        return skeleton(layout)

    def weight_places(self, source: Source) -> tuple[WeightPlace, ...]:
        """Return where `source` has the weight of each layer that an adapter may stand on."""
        from maquette.families.sd2.load import weight_places

        return weight_places(source)

    def layout(self, source: Source | None) -> ModelLayout:
        """Return the sizes of the parts in `source`; of the published model for None."""
        if source is None:
            return PUBLISHED
        if isinstance(source, SingleFile):
            return ModelLayout(SPEC.name, file_unet(source), file_vae(source), (read_text(source),))
        text = folder_text(source.configs["text_encoder"])
        return ModelLayout(SPEC.name, folder_unet(source), folder_vae(source), (text,))


def _refuse_extra_inputs(source: SingleFile) -> None:
    """Refuse the models of the family that are told something beside the text (unCLIP, the upscaler)."""
    width = file_unet(source).extra_width
    if width:
        raise ModelError(
            Problem(
                str(source.path),
                f"its U-Net is told {width} numbers beside the text, as unCLIP's are",
                "a text-to-image base model",
                "Use the ordinary version of this model.",
            )
        )
