"""A family as unlike Stable Diffusion as can be: a flow-matching transformer over byte texts and unshuffled pixels.

It stands in the tests to prove that a family is one folder and one line: `families.register(FlowFamily())`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.families.common.describe import layout_info
from maquette.families.common.places import WeightPlace
from maquette.families.common.source import SingleFile, Source
from maquette.families.protocol import FamilyOption, FamilySpec, ModelInfo

if TYPE_CHECKING:
    import torch

    from tests.flow_family.model import FlowModel

CONFIG = "tiny_flow.layout"
PROOF = "transformer.enter.weight"
SPEC = FamilySpec(
    name="tiny_flow",
    title="Tiny flow transformer",
    native_resolution_px=32,
    latent_scale=1.0,
    modelspec_architecture="tiny-flow-v1/lora",
    ss_base_model_version="tiny_flow_v1",
    default_sampler="flow_euler",
    default_guidance=1.0,
    samplers=("flow_euler",),
    bucket_step_px=8,
    text_unit=48,
    most_text_units=2,
    options=(
        FamilyOption(
            name="max_token_length",
            default=48,
            choices=(48, 96),
            stage="tokens",
            help="Bytes of a caption that are read.",
        ),
        FamilyOption(
            name="loudness",
            default=1.0,
            least=0,
            most=4,
            stage="text",
            label="Loudness",
            help="How loud the text is.",
        ),
        FamilyOption(
            name="late_weight",
            default=0.0,
            least=0,
            stage="loss",
            help="Weighs times near noise by so much more.",
        ),
        FamilyOption(
            name="min_timestep",
            default=None,
            least=0,
            most=1,
            stage="noise",
            help="The time nearest to the picture.",
        ),
        FamilyOption(
            name="max_timestep",
            default=None,
            least=0,
            most=1,
            stage="noise",
            help="The time nearest to noise.",
        ),
    ),
)


@dataclass(frozen=True)
class FlowLayout:
    """The sizes of the networks."""

    family: str = SPEC.name
    width: int = 32
    depth: int = 2
    heads: int = 2
    text_width: int = 16
    vae_factor: int = 4

    @property
    def latent_channels(self) -> int:
        return 3 * self.vae_factor**2

    @property
    def text_encoders(self) -> int:
        return 1


class Bytes:
    """The tokenizer: every byte is a token."""

    def encode(self, text: str) -> list[int]:
        return [byte + 1 for byte in text.encode()]

    def pieces(self, text: str) -> list[str]:
        return [chr(byte) for byte in text.encode()]


class FlowFamily:
    """The family's row in the table. See protocol.Family."""

    spec: FamilySpec = SPEC
    name: str = SPEC.name

    def detect(self, source: Source) -> ModelInfo | None:
        if not isinstance(source, SingleFile) or PROOF not in source.header.tensors:
            return None
        info: dict[str, Any] = vars(layout_info(SPEC, self.layout(source)))
        return ModelInfo(**{**info, "path": str(source.path), "prediction": "flow", "dtype": "float32"})

    def load(
        self, info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
    ) -> FlowModel:
        from tests.flow_family.model import load

        assert isinstance(source, SingleFile)
        return load(info, self.layout(source), source.path).to(device, dtype)

    def layout(self, source: Source | None) -> FlowLayout:
        if source is None:
            return FlowLayout()
        assert isinstance(source, SingleFile)
        return FlowLayout(**json.loads(source.header.metadata[CONFIG]))

    def weight_places(self, source: Source) -> tuple[WeightPlace, ...]:
        assert isinstance(source, SingleFile)
        entries = source.header.tensors
        return tuple(
            WeightPlace(target, entries[f"{_in_file(target.diffusers_key)}.weight"], "same")
            for target in self.skeleton(self.layout(source)).lora_targets()
        )

    def tokenizer(self, source: Source | None) -> Bytes:
        return Bytes()

    def skeleton(self, layout: FlowLayout) -> FlowModel:
        import torch

        from tests.flow_family.model import FlowModel

        with torch.device("meta"):
            return FlowModel(layout_info(SPEC, layout), layout)


def _in_file(name: str) -> str:
    component, _, path = name.partition(".")
    return f"{'text' if component == 'text_encoder' else component}.{path}"


def write_flow(path: Path, *, seed: int = 0) -> Path:
    """Write a model of random weights; return its path."""
    import torch
    from safetensors.torch import save_file

    from tests.flow_family.model import FlowModel

    layout = FlowLayout()
    torch.manual_seed(seed)
    model = FlowModel(layout_info(SPEC, layout), layout)
    tensors = {f"transformer.{name}": tensor for name, tensor in model.denoiser.state_dict().items()}
    tensors |= {f"text.{name}": tensor for name, tensor in model.text_encoders[0].state_dict().items()}
    save_file(tensors, path, metadata={CONFIG: json.dumps(asdict(layout))})
    return path
