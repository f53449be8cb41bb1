"""One picture as a drawing program must be told it, in the words of ComfyUI and of AUTOMATIC1111."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from maquette import __version__
from maquette.drawing.request import DrawRequest
from maquette.families.protocol import FamilySpec, ModelInfo, Prediction, SamplerElsewhere
from maquette.words.prompts import escaped, escaped_for_webui

_SAMPLING = {"epsilon": "eps", "v": "v_prediction"}
_HASH_LETTERS = 12
"""Of a LoRA's hash in AUTOMATIC1111's parameters."""
_HUB_FOLDER = "models--"

Workflow = dict[str, dict[str, Any]]
"""ComfyUI's API format: {"node id": {"class_type", "inputs", "_meta"}}."""


@dataclass(frozen=True, kw_only=True)
class Companion:
    """Another LoRA that is active too: a style beside a character."""

    name: str
    """Its file's name, as the program lists it."""
    strength: float = 1.0
    hash: str = ""
    """SHA-256 of its tensors, as LoRA files carry it; empty where it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What was asked for, and the files that draw it: everything that another program needs to draw the same."""

    request: DrawRequest
    family: FamilySpec
    base: str
    """The base model's file name, as the program lists it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The family's own settings, where they were given."""
    prediction: Prediction = "epsilon"
    zero_terminal_snr: bool = False
    lora: str | None = None
    """The LoRA's file name, as the program lists it; None for the base model alone."""
    lora_hash: str = ""
    """SHA-256 of its tensors, as LoRA files carry it (`sshs_model_hash`); empty where it is unknown."""
    strength: float = 1.0
    """The weight of the LoRA, for the denoiser and the text encoders."""
    beside: tuple[Companion, ...] = ()
    """LoRAs that are active too, with or without `lora`."""

    @property
    def loras(self) -> tuple[Companion, ...]:
        """Every LoRA that is active: its own, then those beside it."""
        own = Companion(name=self.lora, strength=self.strength, hash=self.lora_hash) if self.lora else None
        return (*([own] if own else []), *self.beside)

    @property
    def sampler(self) -> str:
        """Our name of the sampler."""
        return self.request.sampler or self.family.default_sampler

    @property
    def elsewhere(self) -> SamplerElsewhere | None:
        """What draws the same elsewhere; None where nothing does."""
        return self.family.samplers_elsewhere.get(self.sampler)

    @property
    def clip_skip(self) -> int:
        """1 takes the text encoder's last layer, 2 the last but one."""
        given = self.options.get("clip_skip")
        return int(self.family.default("clip_skip", 1) if given is None else given)

    @property
    def stop_at_layer(self) -> int:
        """The same counted as ComfyUI counts, from the end of the whole text encoder."""
        return self.clip_skip + self.family.unread_text_layers

    @property
    def is_known_to_comfyui(self) -> bool:
        """Whether ComfyUI's own nodes can draw it."""
        return self.elsewhere is not None and self.prediction in _SAMPLING


def scene_of(
    info: ModelInfo,
    family: FamilySpec,
    request: DrawRequest,
    options: Mapping[str, Any],
    *,
    lora: str | None = None,
    lora_hash: str = "",
    strength: float = 1.0,
    beside: tuple[Companion, ...] = (),
) -> Scene:
    """Return the scene that the base model `info` draws for `request`, with the LoRA file called `lora` and those beside it."""
    return Scene(
        request=request,
        family=family,
        base=base_name_of(info),
        options=options,
        prediction=info.prediction,
        zero_terminal_snr=info.zero_terminal_snr,
        lora=lora,
        lora_hash=lora_hash,
        strength=strength,
        beside=beside,
    )


def base_name_of(info: ModelInfo) -> str:
    """Return the name of the base model's file or folder; of a hub model in the cache, its name there."""
    parts = Path(info.path).parts
    hub = [part for part in parts if part.startswith(_HUB_FOLDER)]
    return hub[-1].split("--")[-1] if info.source == "hub" and hub else Path(info.path).name


def picture_chunks(scene: Scene) -> dict[str, str]:
    """Return a PNG's text chunks: dropped on a drawing program, the picture brings its settings back.

    `parameters` is AUTOMATIC1111's, `prompt` the workflow that ComfyUI opens, where its nodes can draw the scene.
    """
    chunks = {"parameters": webui_parameters(scene)}
    if scene.is_known_to_comfyui:
        chunks["prompt"] = json_line(comfyui_workflow(scene, prefix=stem_of(scene.lora or scene.base)))
    return chunks


def json_line(workflow: Workflow) -> str:
    """Return a workflow as one line of ASCII, as ComfyUI writes it into pictures."""
    import json

    return json.dumps(workflow)


def stem_of(name: str) -> str:
    """Return a listed name without folders and the ending of a model's file; a dot in a folder's name stays."""
    name = PurePosixPath(name.replace("\\", "/")).name
    return name.removesuffix(".safetensors").removesuffix(".ckpt")


def webui_prompt(prompt: str, lora: str | None, strength: float) -> str:
    """Return a prompt for AUTOMATIC1111 and Forge, the LoRA in it."""
    told = escaped_for_webui(prompt)
    return told + _webui_lora(lora, strength) if lora else told


def _webui_lora(name: str, strength: float) -> str:
    return f" <lora:{stem_of(name)}:{strength:g}>"


def webui_parameters(scene: Scene) -> str:
    """Return the text that AUTOMATIC1111 writes under "parameters", so that pasting it there restores all."""
    request, there = scene.request, scene.elsewhere
    sampler, schedule = there.webui if there else (scene.sampler, "")
    facts = {
        "Steps": request.steps,
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": f"{request.guidance:g}",
        "Seed": request.seed,
        "Size": f"{request.width_px}x{request.height_px}",
        "Model": stem_of(scene.base).replace(",", " "),
        **scene.family.labelled(scene.options),
        "RNG": "CPU" if there else "",
        "Noise Schedule": "Zero Terminal SNR" if scene.zero_terminal_snr else "",
        "ENSD": 1 if there and there.fresh_noise else "",
        "Lora hashes": _lora_hashes(scene),
        "Version": f"Maquette {__version__}",
    }
    others = "".join(_webui_lora(each.name, each.strength) for each in scene.beside)
    return "\n".join(
        [
            webui_prompt(request.prompt, scene.lora, scene.strength) + others,
            # ComfyUI looks for this line even where nothing follows it.
            f"Negative prompt: {escaped_for_webui(request.negative)}",
            ", ".join(f"{name}: {value}" for name, value in facts.items() if value not in ("", None)),
        ]
    )


def _lora_hashes(scene: Scene) -> str:
    known = [f"{stem_of(each.name)}: {each.hash[:_HASH_LETTERS]}" for each in scene.loras if each.hash]
    return f'"{", ".join(known)}"' if known else ""


def comfyui_workflow(scene: Scene, *, prefix: str) -> Workflow:
    """Return the API-format workflow that draws `scene`; `prefix` begins the names of the saved pictures."""
    assert scene.elsewhere is not None, f"no sampler of ComfyUI draws as {scene.sampler} does"
    request = scene.request
    workflow: Workflow = {}

    def add(class_type: str, title: str, **inputs: Any) -> str:
        node_id = str(len(workflow) + 1)
        workflow[node_id] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
        return node_id

    base = add("CheckpointLoaderSimple", "Base model", ckpt_name=listed(scene.base))
    model, clip = [base, 0], [base, 1]
    for each in scene.loras:
        lora = add(
            "LoraLoader",
            f"LoRA: {stem_of(each.name)}",
            model=model,
            clip=clip,
            lora_name=listed(each.name),
            strength_model=each.strength,
            strength_clip=each.strength,
        )
        model, clip = [lora, 0], [lora, 1]
    if scene.prediction != "epsilon" or scene.zero_terminal_snr:
        sampling, zsnr = _SAMPLING[scene.prediction], scene.zero_terminal_snr
        model = [add("ModelSamplingDiscrete", "Prediction", model=model, sampling=sampling, zsnr=zsnr), 0]
    clip = [add("CLIPSetLastLayer", "CLIP skip", clip=clip, stop_at_clip_layer=-scene.stop_at_layer), 0]
    positive = add("CLIPTextEncode", "Prompt", text=escaped(request.prompt), clip=clip)
    negative = add("CLIPTextEncode", "Negative prompt", text=escaped(request.negative), clip=clip)
    latent = add("EmptyLatentImage", "Size", width=request.width_px, height=request.height_px, batch_size=1)
    sampler, scheduler = scene.elsewhere.comfyui
    drawn = add(
        "KSampler",
        "Draw",
        model=model,
        positive=[positive, 0],
        negative=[negative, 0],
        latent_image=[latent, 0],
        seed=request.seed,
        steps=request.steps,
        cfg=request.guidance,
        sampler_name=sampler,
        scheduler=scheduler,
        denoise=1.0,
    )
    decoded = add("VAEDecode", "Decode", samples=[drawn, 0], vae=[base, 2])
    add("SaveImage", "Save", images=[decoded, 0], filename_prefix=prefix)
    return workflow


def listed(name: str) -> str:
    """Return a relative file name with the separator that this system's ComfyUI lists it with."""
    return name.replace("\\", "/").replace("/", os.sep)
