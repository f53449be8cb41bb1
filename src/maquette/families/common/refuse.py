"""Models that belong elsewhere, told by their tensors' names: a refusal says what the file is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from maquette.errors import ModelError, Problem
from maquette.families.common.describe import UNET_PROOF, VAE
from maquette.families.common.source import DiffusersFolder, SingleFile, Source

NOT_YET = "A Stable Diffusion 1.x, 2.x or SDXL base model works today."
ITSELF = "Give the base model itself."
WANTED = "a Stable Diffusion 1.x, 2.x or SDXL base model"
Test = Callable[[Iterable[str]], bool]


def _has(*fragments: str) -> Test:
    """Return a test: some key contains one of the fragments."""
    return lambda keys: any(fragment in key for key in keys for fragment in fragments)


def _begins(*starts: str) -> Test:
    """Return a test: some key begins with one of `starts`."""
    return lambda keys: any(key.startswith(starts) for key in keys)


LORA_PARTS = (
    ".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.",
    ".lora_linear_layer.", ".hada_w1", ".lokr_w", ".oft_",
)  # fmt: skip
ELSEWHERE: tuple[tuple[Test, str, str], ...] = (
    (_has(*LORA_PARTS), "it is a LoRA, not a base model", "Give the base model that it was trained on."),
    (_begins("control_model.", "controlnet_"), "it is a ControlNet, not a base model", ITSELF),
    (_begins("emb_params", "string_to_param", "clip_g", "clip_l"), "it is a textual inversion", ITSELF),
    (_begins("conditioner.embedders.0.model."), "it is the SDXL refiner", "Use the SDXL base model."),
    (_begins("edm_"), "it is an SDXL model with continuous (EDM) noise levels", NOT_YET),
    (_begins("cond_stage_model.model.visual."), "it is a model that is told by pictures, not by text", NOT_YET),
    (_begins("embedder.model.visual."), "it is Stable Diffusion 2.x unCLIP, not supported", NOT_YET),
    (_has("joint_blocks."), "it is Stable Diffusion 3, not supported yet", NOT_YET),
    (_has("double_stream_modulation"), "it is FLUX.2, not supported yet", NOT_YET),
    (_has("double_blocks.", "single_transformer_blocks."), "it is FLUX.1-like, not supported yet", NOT_YET),
    (_has("noise_refiner.", "cap_embedder."), "it is Z-Image or Lumina, not supported yet", NOT_YET),
)  # fmt: skip


def refuse_early(source: Source) -> None:
    """Raise ModelError for a file of another kind, even if it looks like a base model of a known family."""
    if isinstance(source, SingleFile):
        for is_it, found, remedy in ELSEWHERE:
            if is_it(source.header.tensors):
                raise _refusal(source, found, remedy)


def refusal(source: Source) -> ModelError:
    """Return the error for a source that no family takes, saying what it seems to hold."""
    if isinstance(source, DiffusersFolder):
        return _refusal(source, _describe_folder(source), NOT_YET)
    found = _describe_parts(list(source.header.tensors))
    return _refusal(source, found, "Use the full checkpoint, with U-Net, text encoder and VAE in one file.")


def _describe_folder(source: DiffusersFolder) -> str:
    pipeline = str(source.index.get("_class_name", "an unnamed pipeline"))
    missing = [part for part in ("unet", "vae", "text_encoder") if part not in source.configs]
    if pipeline.startswith("StableDiffusion") and not pipeline.startswith("StableDiffusion3") and missing:
        return f"it is a {pipeline} whose {' and '.join(missing)} lack config.json"
    return f"it is a {pipeline}, not supported yet"


def _describe_parts(keys: list[str]) -> str:
    """Say what an unknown file seems to hold."""
    if not keys:
        return "it holds no tensors"
    if UNET_PROOF in keys:
        return "it holds a U-Net without a text encoder of these families"
    if any(key.startswith(("down_blocks.", "unet.down_blocks.")) for key in keys):
        return "it holds a U-Net alone, in diffusers' naming"
    if any(key.startswith(("encoder.down", "decoder.up", "decoder.mid", VAE)) for key in keys):
        return "it holds a VAE alone"
    if any("text_model.encoder" in key or "resblocks" in key for key in keys):
        return "it holds a text encoder alone"
    shown = ", ".join(f"'{key}'" for key in keys[:3])
    return f"its {len(keys)} tensors are of no known model (e.g. {shown})"


def _refusal(source: Source, found: str, remedy: str) -> ModelError:
    return ModelError(Problem(str(source.path), found, WANTED, remedy))
