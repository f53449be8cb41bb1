"""What a model family is to the rest of the program. Nothing outside families/ knows more than this file.

Shape legend: B pictures, T text tokens, D text width, C channels of latents or pixels, H W height, width.
Only types live here: reading it never imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias

from maquette.errors import ConfigError, Problem

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from maquette.families.common.places import WeightPlace
    from maquette.families.common.source import Source

Randomness: TypeAlias = "torch.Generator | Sequence[torch.Generator] | None"
"""Where chance comes from: one generator for all pictures, one for each, or torch's own."""
Prediction = Literal["epsilon", "v", "flow"]
NOISE_PREDICTIONS = ("epsilon", "v")
"""Predictions between which a noise schedule's denoiser may be of either kind."""
LayerKind = Literal["linear", "conv1x1", "conv3x3"]
LoraPart = Literal["text_encoder", "denoiser"]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a base model is, as found in its file or folder without reading weights."""

    family: str
    """Key of the FAMILIES table."""
    title: str
    """The family in words, with the model's own title when it carries one."""
    prediction: Prediction
    """What the denoiser predicts: the noise, the velocity v of diffusion, or that of a flow from pictures to noise."""
    dtype: str
    """Precision in which most denoiser weights are stored: float16, bfloat16 or float32."""
    resolution: int
    """Native edge of a square picture, px."""
    source: Literal["single-file", "diffusers", "hub"]
    """Where it came from."""
    layout: Literal["single-file", "diffusers"]
    """How its tensors are named: original (A1111/kohya) or diffusers."""
    path: str
    """The file or folder on this machine; the name itself for a hub model that is not downloaded yet."""
    text_encoders: int
    """How many text encoders it has."""
    latent_channels: int
    """Channels of a latent."""
    vae_factor: int
    """Pixels per latent cell along one edge."""
    zero_terminal_snr: bool = False
    """Trained with the noise schedule whose last timestep is pure noise."""
    distilled: str = ""
    """What says that it was distilled to draw in a few steps, and is no base to train on; empty where nothing does."""
    prediction_stated: Prediction | None = None
    """What its own file or folder says that it predicts; None where it says nothing and `prediction` is what is usual."""
    notes: tuple[str, ...] = ()
    """What a person should know, e.g. tensors in the file that are not used."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a record or `--json`."""
        return {**asdict(self), "notes": list(self.notes)}


class SaysPrediction(Protocol):
    """Settings or options that may say what their base predicts."""

    @property
    def prediction(self) -> Literal["auto", "epsilon", "v"]: ...

    @property
    def zero_terminal_snr(self) -> bool | None: ...


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a person says of a base beside what its file says; None leaves it to the file."""

    prediction: Prediction | None = None
    zero_terminal_snr: bool | None = None
    vae: str = ""
    """A VAE (file, folder, hub name) in the place of the base's; empty for its own."""
    no_half_vae: bool = False
    """The VAE computes in float32 whatever the rest does."""

    def of(self, info: ModelInfo) -> ModelInfo:
        """Return `info` with what was said in place of what its file says. Raises ConfigError where its family knows no such."""
        if self.prediction is None and self.zero_terminal_snr is None:
            return info
        if info.prediction not in NOISE_PREDICTIONS:
            given = [
                f"{name} {getattr(self, name)}"
                for name in ("prediction", "zero_terminal_snr")
                if getattr(self, name) is not None
            ]
            raise ConfigError(
                Problem(
                    "objective",
                    ", ".join(given),
                    f"nothing of the kind: {info.title} predicts {info.prediction}",
                    "Leave it out.",
                )
            )
        known = self.zero_terminal_snr
        return replace(
            info,
            prediction=self.prediction or info.prediction,
            zero_terminal_snr=info.zero_terminal_snr if known is None else known,
        )


@dataclass(frozen=True)
class PictureSize:
    """Where a training crop came from, in pixels; (height, width) and (top, left)."""

    original_hw: tuple[int, int]
    crop_top_left: tuple[int, int]
    target_hw: tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """Token ids of B captions, one tensor per text encoder."""

    ids: tuple[Tensor, ...]
    """int64 [B, T] each, as the family's text encoders take them."""
    dropped: tuple[int, ...]
    """Per caption, how many tokens did not fit and were cut off."""
    weights: tuple[Tensor, ...] | None = None
    """float32 [B, T] each, where captions have emphasis: what the hidden state of each token is multiplied with."""


class Conditioning(Protocol):
    """What the text says, as the family's own denoiser takes it: rows that nobody else looks into."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Return a copy on `device` and in `dtype` (None keeps)."""

    def rows(self, index: Any) -> Self:
        """Return the rows that `index` (slice, list or int64 tensor) picks."""

    def detach(self) -> Self:
        """Return it without its gradient history."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what it consists of, by name, so that it can be kept on a disk."""

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return what `tensors` took apart."""

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all `parts`, one after the other; they come from one model and one length of text."""


@dataclass(frozen=True)
class LoraTarget:
    """One layer that a LoRA may adapt."""

    part: LoraPart
    module: nn.Module
    """The Linear or Conv2d itself."""
    parent: nn.Module
    attribute: str
    """`getattr(parent, attribute) is module`; a digit when the parent is a list."""
    key: str
    """Name in a kohya file, without `.lora_down.weight`."""
    diffusers_key: str
    """Dotted path as diffusers and PEFT name it, starting with `unet.` or `text_encoder.`"""
    kind: LayerKind
    default: bool
    """False for the layers that only `conv_dim` adds."""


class Objective(Protocol):
    """The training objective: timesteps, noising, target and loss weights.

    A timestep is whatever the family means by it: an index into a schedule, or a time between 0 and 1. Outside the family
    it is only drawn, kept beside its row and handed back.
    """

    def sample_timesteps(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        min_timestep: float | None = None,
        max_timestep: float | None = None,
    ) -> Tensor:
        """Return timesteps_B as the family draws them, from `min_timestep` (None: no noise) up to `max_timestep` (pure noise)."""

    def timesteps_at(
        self, shares_B: Tensor, *, min_timestep: float | None = None, max_timestep: float | None = None
    ) -> Tensor:
        """Return timesteps_B at `shares_B` in [0, 1) of the way from `min_timestep` to `max_timestep`."""

    def shares(self, timesteps_B: Tensor) -> Tensor:
        """Return how far timesteps are on the way from a picture (0) to pure noise (1), float32 [B]."""

    def noise_levels(self, timesteps_B: Tensor) -> Tensor:
        """Return how strong the noise is against the picture (a ratio of standard deviations), float32 [B]."""

    def add_noise(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Return noisy_BCHW."""

    def target(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Return what the denoiser should predict."""

    def rivals(self) -> Mapping[Prediction, Objective]:
        """Return objectives that differ in what is predicted alone, by what that is; empty where there is nothing else."""

    def loss_weights(self, timesteps_B: Tensor, **options: Any) -> Tensor:
        """Return one float32 weight per sample; `options` are the family's own of stage "loss"."""


class Sampler(Protocol):
    """The way from noise to a picture, in the form of diffusers' schedulers."""

    @property
    def timesteps(self) -> Tensor:
        """Of the denoising steps in their order, after `set_timesteps`."""

    @property
    def init_noise_sigma(self) -> Any:
        """What pure noise is multiplied with at the start."""

    def set_timesteps(self, num_inference_steps: int, *, device: torch.device | str) -> None:
        """Prepare for so many denoising steps."""

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Return latents as the denoiser takes them at this timestep."""

    def step(
        self, model_output: Tensor, timestep: Tensor, sample: Tensor, *, return_dict: bool
    ) -> tuple[Tensor, ...]:
        """Return (the latents after this step, …). Where it draws noise it also takes `generator`, one for each row."""


class Tokenizer(Protocol):
    """How a family sees words."""

    def encode(self, text: str) -> list[int]:
        """Return the text's token ids, without begin and end."""

    def pieces(self, text: str) -> list[str]:
        """Return the text's tokens as strings."""


class BaseModel(Protocol):
    """A loaded base model. Its modules are frozen; a LoRA may stand in their place."""

    info: ModelInfo
    spec: FamilySpec
    denoiser: nn.Module
    text_encoders: tuple[nn.Module, ...]
    vae: nn.Module
    objective: Objective
    latent_scale: float
    notes: list[str]

    @property
    def family(self) -> str: ...

    @property
    def text_type(self) -> type[Conditioning]:
        """What encode_text returns."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def vae_dtype(self) -> torch.dtype: ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> BaseModel:
        """Move all parts; the VAE keeps float32 where the family's VAE cannot do `dtype`. Returns itself."""

    @property
    def text_unit(self) -> int:
        """How many tokens of a caption fill one unit of text: reading more takes another unit."""

    def tokenize(
        self, captions: Sequence[str], *, max_tokens: int | None = None, weighted: bool = False
    ) -> Tokens:
        """Return token ids of at most `max_tokens` a caption (None: the family's default); the rest is counted and cut.

        `weighted` reads `(word:1.2)` and the like as emphasis; asked for only where the family has `weighted_captions`.
        """

    def encode_text(self, tokens: Tokens, **options: Any) -> Conditioning:
        """Return what the denoiser is told, differentiable in the text encoders.

        `options` are the family's own of stage "text"; where none is given its default holds.
        """

    def encode_pictures(self, pixels_BCHW: Tensor, *, generator: Randomness = None) -> Tensor:
        """Return one posterior sample, already scaled, float32 [B, C, H/f, W/f], of pixels in [-1, 1]."""

    def decode_latents(self, latent_BCHW: Tensor) -> Tensor:
        """Return float32 pixels_BCHW in [-1, 1]."""

    def predict(
        self,
        noisy_BCHW: Tensor,
        timesteps_B: Tensor,
        conditioning: Conditioning,
        sizes: Sequence[PictureSize] | None = None,
    ) -> Tensor:
        """Return prediction_BCHW by whatever modules stand in the tree at present."""

    def lora_targets(self) -> tuple[LoraTarget, ...]:
        """Return every adaptable layer in the reference trainer's order of creation, text encoders first."""

    def sampler(self, name: str) -> Sampler:
        """Return a fresh sampler set up for this model; ConfigError for a name that the family does not know."""

    def set_gradient_checkpointing(self, enabled: bool, blocks: Collection[str] | None = None) -> None:
        """Trade time for memory: recompute activations in the backward pass.

        Where `blocks` are given, only theirs: names as families/common/recomputing.py makes them.
        """

    def compile_blocks(self, mode: str = "default") -> None:
        """Have the denoiser's repeated blocks compiled by torch when they are first called, in one of torch's modes."""

    def vae_fingerprint(self) -> str:
        """Return a hash of the VAE's weights, for caches of latents."""


@dataclass(frozen=True, kw_only=True)
class SamplerElsewhere:
    """What draws in other programs as one of a family's samplers draws here."""

    comfyui: tuple[str, str]
    """`sampler_name` and `scheduler` of ComfyUI's KSampler."""
    webui: tuple[str, str]
    """"Sampler" and "Schedule type" of AUTOMATIC1111 and Forge."""
    fresh_noise: bool = False
    """Whether it adds noise on the way: then the picture depends on where that is drawn, a GPU or the CPU."""


Stage = Literal["tokens", "text", "noise", "loss"]


@dataclass(frozen=True, kw_only=True)
class FamilyOption:
    """A setting that a family has of its own, as `maquette.toml` and the command line spell it."""

    name: str
    default: Any
    stage: Stage
    """Who takes it: tokenize (`tokens`), encode_text (`text`), the objective's sample_timesteps and timesteps_at (`noise`) or
    its loss_weights (`loss`)."""
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    whole: bool = False
    """True where only whole numbers are values."""
    fixed: bool = False
    """True where the family knows no other value than its default."""
    label: str = ""
    """Its name in the parameters that drawing programs write into pictures; empty where they write none."""

    def wanted(self) -> str:
        """Return the values that it takes, in words."""
        if self.choices:
            return " or ".join(str(choice) for choice in self.choices)
        bounds = [f"at least {self.least:g}"] if self.least is not None else []
        bounds += [f"at most {self.most:g}"] if self.most is not None else []
        return ", ".join((*["a whole number"] * self.whole, *bounds)) or "a value"

    def takes(self, value: Any) -> bool:
        """Return whether `value` lies within its bounds."""
        if value is None:
            return True
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.least is None and self.most is None
        if self.whole and value != int(value):
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True, kw_only=True)
class FamilySpec:
    """A family's constants."""

    name: str
    title: str
    native_resolution_px: int
    v_resolution_px: int = 0
    """Native edge of the family's models that predict v; 0 where it is the same."""
    latent_scale: float
    modelspec_architecture: str
    v_architecture: str = ""
    """Architecture of a LoRA of a base that predicts v; empty where it is the same."""
    ss_base_model_version: str
    """The family in the metadata of sd-scripts' LoRA files."""
    ss_marks_v: bool = True
    """Whether sd-scripts appends `_v` there for a base that predicts v."""
    default_sampler: str
    default_guidance: float
    samplers: tuple[str, ...]
    """Names that a run's samples may be drawn with; `BaseModel.sampler` may take more."""
    samplers_elsewhere: Mapping[str, SamplerElsewhere] = field(default_factory=dict, hash=False)
    """What draws the same in other programs, by the name of the sampler here; none for one that no other program has."""
    options: tuple[FamilyOption, ...] = ()
    """Settings that this family has of its own."""
    unread_text_layers: int = 0
    """Layers at the text encoder's end that no model of the family reads, and that drawing programs count for clip skip."""
    bucket_step_px: int = 64
    half_precision_vae: bool = True
    """False where the VAE overflows in float16."""
    layer_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Names for sets of layers that a LoRA may adapt, with patterns over their dotted names: blocks, kinds of layers, uses."""
    blocks: tuple[str, ...] = ()
    """Those of `layer_sets` that part the denoiser's layers among them, in the order in which it computes."""
    reference_blocks: tuple[str, ...] = ()
    """Pattern of each block that sd-scripts' `block_dims` counts, in its order; empty for one without layers."""
    training_scripts: tuple[str, ...] = ()
    """File names of sd-scripts' LoRA trainers for this family."""
    needs_v2: bool = False
    """Whether sd-scripts trains this family only with `--v2`; another one it refuses with it."""
    name_pattern: str = ""
    """What file and hub names of this family usually contain: a regular expression, case ignored unless it says so."""
    plain_name_pattern: str = ""
    """Names of the family's own, photographic base without anyone's fine-tuning; empty where its bias is weak."""
    hub_names: tuple[str, ...] = ()
    """Well-known models of this family on the hub, so that one that is not on this machine is known for what it is."""
    hub_names_of_v: tuple[str, ...] = ()
    """Those among its well-known models that predict v."""
    v_zero_terminal_snr: bool = True
    """Whether those were trained with zero terminal SNR."""
    file_words: str = ""
    """Words by which people name a LoRA's file after this family: a regular expression, case ignored."""
    text_unit: int = 75
    """Texts are read in units of so many tokens; a model may have another unit (BaseModel.text_unit)."""
    most_text_units: int = 3
    """A longer text is cut."""
    key_names_source: str = "diffusers"
    """Whose module names a LoRA's keys follow, as ModelSpec writes it under `implementation`."""
    webui_version: str = "Unknown"
    """The family in AUTOMATIC1111's words."""
    civitai_version: str = "Other"
    """The family in the words of Civitai, which model managers use."""
    download_bytes: int = 0
    """The least that a download of the published model from the hub takes."""

    def resolution_of(self, prediction: Prediction) -> int:
        """Return the native edge in pixels of a model of this family with this prediction."""
        return (
            self.v_resolution_px or self.native_resolution_px
            if prediction == "v"
            else self.native_resolution_px
        )

    def architecture_of(self, prediction: Prediction) -> str:
        """Return the ModelSpec architecture of a LoRA of a base of this family with this prediction."""
        return (
            self.v_architecture if prediction == "v" and self.v_architecture else self.modelspec_architecture
        )

    @property
    def architectures(self) -> tuple[str, ...]:
        """Every ModelSpec architecture of this family's LoRAs."""
        return tuple(filter(None, (self.modelspec_architecture, self.v_architecture)))

    def version_of(self, prediction: Prediction) -> str:
        """Return what sd-scripts' metadata call a base of this family with this prediction."""
        return (
            f"{self.ss_base_model_version}_v"
            if prediction == "v" and self.ss_marks_v
            else self.ss_base_model_version
        )

    def option(self, name: str) -> FamilyOption | None:
        """Return the family's own setting `name`, or None where it has none of that name."""
        return next((option for option in self.options if option.name == name), None)

    def default(self, name: str, otherwise: Any = None) -> Any:
        """Return the default of the family's own setting `name`; `otherwise` where it has none."""
        option = self.option(name)
        return otherwise if option is None else option.default

    def of_stage(self, stage: Stage, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of `values` that settings of this stage are given, their defaults left out."""
        names = {option.name for option in self.options if option.stage == stage}
        return {name: value for name, value in values.items() if name in names and value is not None}

    def labelled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that drawing programs write beside a picture, by the names that they use."""
        return {
            option.label: option.default if values.get(option.name) is None else values[option.name]
            for option in self.options
            if option.label
        }


class Layout(Protocol):
    """The sizes of a base model's parts: a frozen dataclass of plain values, so that equal layouts have equal networks.

    Only its family reads more of it than these.
    """

    @property
    def family(self) -> str:
        """Key of the FAMILIES table."""

    @property
    def latent_channels(self) -> int: ...

    @property
    def vae_factor(self) -> int: ...

    @property
    def text_encoders(self) -> int: ...

    def __hash__(self) -> int: ...


class Family(Protocol):
    """One row of the FAMILIES table."""

    spec: FamilySpec

    @property
    def name(self) -> str: ...

    def detect(self, source: Source) -> ModelInfo | None:
        """Return what `source` is when it is of this family, by its tensors or configuration, never its name.

        Raises ModelError when it is of this family but cannot be used.
        """

    def load(
        self, info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
    ) -> BaseModel:
        """Return the model with weights in `dtype` on `device`."""

    def weight_places(self, source: Source) -> Sequence[WeightPlace]:
        """Return where `source` has the weight of each layer that an adapter may stand on, in the order of `lora_targets`.

        Raises ModelError for tensors that are missing or do not fit.
        """

    def layout(self, source: Source | None) -> Layout:
        """Return the sizes of the parts in `source`; of the published model for None. Needs no torch."""

    def tokenizer(self, source: Source | None) -> Tokenizer:
        """Return how the model in `source` sees words; the published model for None. Needs no torch.

        Raises ModelError when the model has a tokenizer that does not fit it.
        """

    def skeleton(self, layout: Any) -> BaseModel:
        """Return the networks of a `layout` of this family on the meta device: shapes without weights."""
