"""CLIP's other half: prompts as rows beside the pictures' own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from maquette.encoders.source import model_folder
from maquette.encoders.transformers_vision import KINDS
from maquette.errors import ModelError, Problem

PATTERNS = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab.json",
    "merges.txt",
)
REQUIRED = ("config.json", "*.safetensors", "vocab.json", "merges.txt")


class ClipText:
    """Texts to rows of length 1 in the space of `clip`'s pictures; only a text's first 77 tokens are read."""

    def __init__(self, folder: Path, device: str) -> None:
        import transformers

        self.device = device
        before = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()  # the vision half's weights are left out on purpose
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            text = getattr(config, "text_config", config)
            text.projection_dim = config.projection_dim
            self.tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = transformers.CLIPTextModelWithProjection.from_pretrained(
                folder, config=text, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            remedy = "Name the whole model's folder, with its vocabulary."
            raise ModelError(
                Problem(str(folder), f"cannot be read as text ({first_line})", "a CLIP model", remedy)
            ) from None
        finally:
            transformers.logging.set_verbosity(before)
        self.model.to(device).eval().requires_grad_(False)
        self.most_tokens = int(text.max_position_embeddings)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return float32 [N, D]."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.most_tokens, return_tensors="pt"
        ).to(self.device)
        rows_ND = self.model(**tokens).text_embeds.float()
        rows: NDArray[Any] = torch.nn.functional.normalize(rows_ND, dim=1).cpu().numpy()
        return rows


def load(source: str, device: str) -> ClipText:
    """Return the text half of the model that `clip=SOURCE` names. Raises ModelError where it is not there."""
    return ClipText(model_folder(source or KINDS["clip"].hub_name, PATTERNS, REQUIRED), device)
