"""What sd-scripts' tools and ours are given alike, and the numbers by which their results are compared.

`python -m tests.toolbox.parity SD_SCRIPTS` runs sd-scripts' own functions on it and writes tests/golden/toolbox.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.families import load
from tests.reference import GOLDEN, base_weights, formula_lora, write_tiny_base

RANKS = {"a": 4, "b": 3}
ALPHAS = {"a": 2.0, "b": 3.0}
STRENGTHS = (0.8, 0.5)
RESIZES: dict[str, dict[str, Any]] = {
    "rank": {"rank": 2, "conv_rank": 2},
    "sv_ratio": {"rank": 4, "method": "sv_ratio", "value": 1.2},
    "sv_fro": {"rank": 4, "method": "sv_fro", "value": 0.8},
    "sv_cumulative": {"rank": 4, "method": "sv_cumulative", "value": 0.5},
}
EXTRACT = {"rank": 3, "conv_rank": 2}
SHOWN = (
    "lora_te_text_model_encoder_layers_1_mlp_fc1",
    "lora_te_text_model_encoder_layers_2_self_attn_v_proj",
    "lora_unet_down_blocks_0_attentions_0_proj_in",
    "lora_unet_down_blocks_1_attentions_1_transformer_blocks_0_attn2_to_k",
    "lora_unet_down_blocks_1_resnets_0_conv1",
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj",
    "lora_unet_up_blocks_1_resnets_2_conv_shortcut",
    "lora_unet_up_blocks_2_upsamplers_0_conv",
)


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write a base, one tuned from it, and two LoRAs for it, all by formula; return their paths."""
    weights = base_weights()
    paths = {name: folder / f"{name}.safetensors" for name in ("base", "tuned", *RANKS)}
    write_tiny_base(paths["base"])
    tuned = {
        name: tensor
        + 0.1
        * tensor.std()
        * torch.from_numpy(weights.uniform(name, tensor.numel(), 99)).float().reshape(tensor.shape)
        for name, tensor in load_file(paths["base"]).items()
        if tensor.numel() > 1
    }
    save_file({**load_file(paths["base"]), **tuned}, paths["tuned"])
    targets = load(paths["base"]).lora_targets()
    for name, rank in RANKS.items():
        shapes: dict[str, tuple[int, ...]] = {}
        for target in targets:
            outputs, inputs, *kernel = target.module.weight.shape  # type: ignore[union-attr, misc]
            shapes[f"{target.key}.alpha"] = ()
            shapes[f"{target.key}.lora_down.weight"] = (rank, inputs, *kernel)
            shapes[f"{target.key}.lora_up.weight"] = (outputs, rank, *(1 for _ in kernel))
        state = formula_lora(shapes, ALPHAS[name])
        if name == "b":  # another file than a: the formula knows names alone
            state = {key: value if key.endswith("alpha") else value.flip(0) for key, value in state.items()}
        save_file(state, paths[name])
    return paths


def fingerprint(matrix: Tensor) -> list[float]:
    """Return a norm and a sum with a wave of signs: two matrices that share both are one for all purposes here."""
    flat = matrix.double().flatten()
    return [float(flat.norm()), float((flat * torch.cos(0.1 * torch.arange(flat.numel()).double())).sum())]


def told(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return rank, alpha and fingerprint of the change of some modules of a LoRA."""
    found = {}
    for key in SHOWN:
        down, up = state[f"{key}.lora_down.weight"].double(), state[f"{key}.lora_up.weight"].double()
        alpha, rank = float(state[f"{key}.alpha"]), down.shape[0]
        change = (up.flatten(1) @ down.flatten(1)) * alpha / rank
        found[key] = {"rank": rank, "alpha": alpha, "change": fingerprint(change)}
    return found


def told_of_model(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return the fingerprints of what changed in a model's weights, by layer."""
    return {key: fingerprint(after[key].double() - before[key].double()) for key in SHOWN}


# --- sd-scripts' side ------------------------------------------------------------------------------------


def main(checkout: Path) -> None:
    """Run sd-scripts' functions on the inputs and write what they make."""
    import tempfile

    _stub(checkout)
    import extract_lora_from_models  # type: ignore[import-not-found]
    import merge_lora  # type: ignore[import-not-found]
    import resize_lora  # type: ignore[import-not-found]
    import svd_merge_lora  # type: ignore[import-not-found]

    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_inputs(Path(folder))
        both = [str(paths["a"]), str(paths["b"])]
        for name, asked in RESIZES.items():
            state = load_file(paths["a"])
            state, _, _ = resize_lora.resize_lora_model(
                state, asked["rank"], asked.get("conv_rank", asked["rank"]), torch.float, "cpu",
                asked.get("method"), asked.get("value"), False,
            )  # fmt: skip
            numbers[f"resize {name}"] = told(state)
        numbers["extract clamped"] = _extracted(extract_lora_from_models, paths, Path(folder))
        # No clamping from here on: at a quantile of 1.0 theirs still cuts what lies further below zero than anything above.
        torch.quantile = lambda values, share: values.abs().max()
        state, *_ = svd_merge_lora.merge_lora_models(both, STRENGTHS, [], 4, 4, None, torch.float)
        numbers["svd merge"] = told(state)
        numbers["into base"] = _into_base(merge_lora, paths, both)
        numbers["extract"] = _extracted(extract_lora_from_models, paths, Path(folder))
    target = GOLDEN / "toolbox.json"
    target.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{target}: {len(numbers)} results\n")


def _weights(model: Any) -> dict[str, Tensor]:
    return {target.key: target.module.weight.detach().clone() for target in model.lora_targets()}


def _into_base(tool: Any, paths: Mapping[str, Path], both: list[str]) -> dict[str, list[float]]:
    model = load(paths["base"])
    before = _weights(model)
    tool.merge_to_sd_model(_named(model.text_encoders[0]), model.denoiser, both, STRENGTHS, torch.float)
    return told_of_model(before, _weights(model))


def _named(encoder: torch.nn.Module) -> torch.nn.Module:
    """Return a text encoder whose layers lie below `text_model`, as they did in the transformers that sd-scripts is made for."""
    named = torch.nn.Module()
    named.text_model = getattr(encoder, "text_model", encoder)
    return named


def _extracted(tool: Any, paths: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    from types import SimpleNamespace

    models = {str(paths[name]): load(paths[name]) for name in ("base", "tuned")}
    tool.args = SimpleNamespace(device=None)
    tool.model_util.load_models_from_stable_diffusion_checkpoint = lambda v2, path: (
        _named(models[path].text_encoders[0]), None, models[path].denoiser,
    )  # fmt: skip
    output = folder / "extracted.safetensors"
    tool.svd(
        str(paths["base"]), str(paths["tuned"]), str(output), dim=EXTRACT["rank"], v2=False, sdxl=False,
        conv_dim=EXTRACT["conv_rank"], clamp_quantile=0.99, min_diff=0.0, no_metadata=True,
    )  # fmt: skip
    return told(load_file(output))


def _stub(checkout: Path) -> None:
    """Let sd-scripts' modules be imported where packages are missing that these functions never call."""
    import importlib.machinery
    from unittest.mock import MagicMock

    import diffusers.models  # noqa: F401 (before the stubs: it looks for torchvision)
    from diffusers import StableDiffusionPipeline  # noqa: F401
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: F401

    missing = ("torchvision", "imagesize", "toml", "voluptuous", "easygui", "bitsandbytes", "lycoris")

    class Stubs:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name.split(".")[0] in missing or "lpw_stable" in name:
                return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
            return None

        def create_module(self, spec: Any) -> Any:
            made = MagicMock(name=spec.name)
            made.__spec__, made.__path__, made.__name__ = spec, [], spec.name
            return made

        def exec_module(self, module: Any) -> None:
            pass

    sys.meta_path.insert(0, Stubs())  # type: ignore[arg-type]
    sys.path[:0] = [str(checkout), str(checkout / "networks")]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
