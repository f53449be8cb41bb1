"""Faults of LoRA files: the clean file with its tensors, metadata or name changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from maquette.families import FAMILIES
from maquette.families.common.unet_keys import unet_table
from maquette.families.lora_names import lora_modules
from tests.planted.case import Case, close_call, fault

Tensors = dict[str, Tensor]
Metadata = dict[str, str]
FIRST = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
LAST_TEXT = "lora_te_text_model_encoder_layers_11_"


def lora_of(case: Case) -> Path:
    """Return the case's file."""
    return case.paths[0]


def rewrite(case: Case, change: Callable[[Tensors, Metadata], None]) -> None:
    """Change tensors and metadata of the case's file."""
    path = lora_of(case)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata() or {})
    change(tensors, metadata)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)


def rename(case: Case, name: str) -> None:
    """Give the case's file another name."""
    case.paths[0] = lora_of(case).rename(lora_of(case).with_name(name))


def second_family(rank: int = 4) -> Tensors:
    """Return a small LoRA of the other family: its text encoders alone, and its first attention."""
    generator = torch.Generator().manual_seed(9)
    found: Tensors = {}
    for module in lora_modules("sdxl").values():
        if module.part == "text_encoder" or "input_blocks_4_1_" in module.key:
            found[f"{module.key}.lora_down.weight"] = 0.02 * torch.randn(
                rank, module.inputs, generator=generator
            )
            found[f"{module.key}.lora_up.weight"] = 0.02 * torch.randn(
                module.outputs, rank, generator=generator
            )
            found[f"{module.key}.alpha"] = torch.tensor(rank / 2)
    return {name: value.half() for name, value in found.items()}


@fault("LOR001", "cut off while copying", start="lora")
def cut_off(case: Case) -> None:
    with lora_of(case).open("r+b") as file:
        file.truncate(lora_of(case).stat().st_size // 2)


@fault("LOR001", "a pickle", start="lora")
def pickled(case: Case) -> None:
    rename(case, "zkw_fox.pt")
    lora_of(case).write_bytes(b"PK\x03\x04" + bytes(2000))


@close_call("LOR001", "the header is padded with spaces", start="lora")
def padded_header(case: Case) -> None:
    data = lora_of(case).read_bytes()
    length = int.from_bytes(data[:8], "little")
    lora_of(case).write_bytes(
        (length + 64).to_bytes(8, "little") + data[8 : 8 + length] + b" " * 64 + data[8 + length :]
    )


@fault("LOR002", "only the alphas are left", start="lora")
def only_alphas(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if not name.endswith(".alpha")]:
            del tensors[name]

    rewrite(case, change)


@fault("LOR023", "a tensor that belongs to no module lies beside the LoRA", start="lora")
def loose_tensor(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: tensors.update({"emb_params": torch.zeros(1, 768)}))


@close_call("LOR023", "an alpha without its module", start="lora")
def loose_alpha(case: Case) -> None:
    rewrite(
        case, lambda tensors, metadata: tensors.update({"lora_unet_gone.alpha": torch.tensor(2.0).half()})
    )


@fault("LOR022", "OneTrainer bundled the trigger's embedding", start="lora")
def embedding_inside(case: Case) -> None:
    rewrite(
        case,
        lambda tensors, metadata: tensors.update({"bundle_emb.zkw.string_to_param.*": torch.zeros(2, 768)}),
    )


@close_call("LOR022", "metadata that speak of an embedding", start="lora")
def embedding_in_metadata(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: metadata.update({"embedding": "bundle_emb.zkw"}))


@close_call("LOR002", "one module alone", start="lora")
def one_module(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [
            name for name in tensors if not name.startswith("lora_te_text_model_encoder_layers_0_mlp_fc1")
        ]:
            del tensors[name]

    rewrite(case, change)


@fault("LOR003", "the U-Net's names are cut short", start="lora")
def names_cut(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.startswith("lora_unet_down_blocks")]:
            tensors[name.replace("lora_unet_down_blocks", "lora_unet_down_block")] = tensors.pop(name)

    rewrite(case, change)


def _diffusers(tensors: Tensors, metadata: Metadata) -> None:
    """Rename the tensors as diffusers would, with their alphas beside them at a scale of one."""
    modules = lora_modules("sd1")
    for name in list(tensors):
        key, _, part = name.partition(".")
        value = tensors.pop(name)
        end = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}.get(part)
        tensors[f"{modules[key].diffusers_key}.{end or part}"] = value


@fault("LOR021", "the names are diffusers' own", start="lora")
def diffusers_names(case: Case) -> None:
    rewrite(case, _diffusers)


@close_call("LOR021", "kohya's module names with PEFT's endings", start="lora")
def kohya_names_with_peft_endings(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in list(tensors):
            new = name.replace("lora_down", "lora_A").replace("lora_up", "lora_B")
            tensors[new] = tensors.pop(name)

    rewrite(case, change)


@close_call("LOR003", "the names are those of the original blocks", start="lora")
def original_names(case: Case) -> None:
    table = unet_table(FAMILIES["sd1"].layout(None).unet)

    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.startswith("lora_unet_")]:
            key, _, part = name.partition(".")
            path = lora_modules("sd1")[key].diffusers_key.removeprefix("unet.")
            original = str(table.restore(path)).replace(".", "_")
            tensors[f"lora_unet_{original}.{part}"] = tensors.pop(name)

    rewrite(case, change)


@fault("LOR004", "modules of SDXL were merged in", start="lora")
def two_families(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: tensors.update(second_family()))


@close_call("LOR004", "3×3 convolutions beside the ordinary layers", start="lora")
def with_convolutions(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for module in lora_modules("sd1").values():
            if module.kind == "conv3x3" and "down_blocks_0" in module.key:
                tensors[f"{module.key}.lora_down.weight"] = torch.full((2, module.inputs, 3, 3), 0.01).half()
                tensors[f"{module.key}.lora_up.weight"] = torch.full((module.outputs, 2, 1, 1), 0.01).half()
                tensors[f"{module.key}.alpha"] = torch.tensor(1.0).half()

    rewrite(case, change)


@fault("LOR005", "an SD 1.5 LoRA whose metadata say SDXL", start="lora")
def says_sdxl(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        metadata["ss_base_model_version"] = "sdxl_base_v1-0"
        metadata["modelspec.architecture"] = "stable-diffusion-xl-v1-base/lora"

    rewrite(case, change)


@fault("LOR005", "an SDXL LoRA named sd15", start="lora")
def named_sd15(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        tensors.clear()
        tensors.update(second_family())
        metadata["ss_base_model_version"] = "sdxl_base_v1-0"
        metadata["modelspec.architecture"] = "stable-diffusion-xl-v1-base/lora"

    rewrite(case, change)
    rename(case, "zkw_fox_sd15.safetensors")


@close_call("LOR005", "a pixel artist's file: “pixl” is not XL", start="lora")
def pixl(case: Case) -> None:
    rename(case, "pixl_fox_v1_sd15.safetensors")


def _resize_text(tensors: Tensors, width: int) -> None:
    for name in list(tensors):
        if "attn2_to_k.lora_down" in name or "attn2_to_v.lora_down" in name:
            tensors[name] = torch.full((tensors[name].shape[0], width), 0.01).half()


@fault("LOR006", "the text width of Stable Diffusion 2", start="lora")
def sd2_width(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: _resize_text(tensors, 1024))


@close_call("LOR006", "1×1 convolutions stored as 2-D", start="lora")
def flat_convolutions(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name, value in tensors.items():
            if value.ndim == 4:
                tensors[name] = value.flatten(1) if "down" in name else value.squeeze(-1).squeeze(-1)

    rewrite(case, change)


@fault("LOR007", "DoRA", start="lora")
def dora(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.endswith(".lora_up.weight")]:
            key = name.partition(".")[0]
            tensors[f"{key}.dora_scale"] = torch.ones(tensors[name].shape[0], 1).half()

    rewrite(case, change)


@fault("LOR007", "DoRA by inputs, whose lengths are as many as the layer has inputs", start="lora")
def dora_by_inputs(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.endswith(".lora_down.weight")]:
            key = name.partition(".")[0]
            shape = tensors[name].shape
            tensors[f"{key}.dora_scale"] = torch.ones(1, *shape[1:2], *(1 for _ in shape[2:])).half()

    rewrite(case, change)


@fault("LOR007", "LoHa", start="lora")
def loha(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.startswith("lora_unet") and ".alpha" not in name]:
            key, _, part = name.partition(".")
            value = tensors.pop(name)
            for letter in "12":
                tensors[f"{key}.hada_w{letter}_{'a' if 'up' in part else 'b'}"] = value.clone()

    rewrite(case, change)


@close_call("LOR007", "metadata that name LyCORIS, tensors that are plain LoRA", start="lora")
def lycoris_in_name(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: metadata.update(ss_network_module="lycoris.kohya"))


@fault("LOR008", "a lora_down is missing", start="lora")
def no_down(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        del tensors[f"{FIRST}.lora_down.weight"]

    rewrite(case, change)


@close_call("LOR008", "an alpha is left over from a module that was taken out", start="lora")
def lone_alpha(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        tensors.pop(f"{FIRST}.lora_down.weight")
        tensors.pop(f"{FIRST}.lora_up.weight")

    rewrite(case, change)


def _without_alphas(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.endswith(".alpha")]:
        tensors.pop(name)


@fault("LOR009", "no alphas, and metadata that say alpha 2 at rank 4", start="lora")
def no_alphas(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: _without_alphas(tensors))


@close_call("LOR009", "alphas in float64", start="lora")
def wide_alphas(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in tensors:
            if name.endswith(".alpha"):
                tensors[name] = tensors[name].double()

    rewrite(case, change)


def _alphas(value: float, case: Case, told: str) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in tensors:
            if name.endswith(".alpha"):
                tensors[name] = torch.tensor(value).half()
        metadata["ss_network_alpha"] = told

    rewrite(case, change)


@fault("LOR010", "alpha 32 at rank 4", start="lora")
def alpha_above_rank(case: Case) -> None:
    _alphas(32.0, case, "32.0")


@fault("LOR010", "alpha 0", start="lora")
def alpha_zero(case: Case) -> None:
    _alphas(0.0, case, "0.0")


@close_call("LOR010", "alpha equal to the rank", start="lora")
def alpha_is_rank(case: Case) -> None:
    _alphas(4.0, case, "4.0")


def _rank_of(tensors: Tensors, names: str, rank: int) -> None:
    for name in list(tensors):
        if names in name:
            if "lora_down" in name:
                tensors[name] = tensors[name][:rank]
            elif "lora_up" in name:
                tensors[name] = tensors[name][:, :rank]


@fault("LOR011", "the text encoder at rank 2, the U-Net at rank 4", start="lora")
def two_ranks(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: _rank_of(tensors, "lora_te", 2))


@close_call("LOR011", "3×3 convolutions at a rank of their own", start="lora")
def convolutions_of_own_rank(case: Case) -> None:
    with_convolutions(case)


@fault("LOR012", "saved with --no_metadata", start="lora")
def no_metadata(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: metadata.clear())


@close_call("LOR012", "ss_ keys alone, no ModelSpec", start="lora")
def no_modelspec(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for key in [key for key in metadata if key.startswith("modelspec")]:
            del metadata[key]

    rewrite(case, change)


@fault("LOR013", "a million bytes of tags", start="lora")
def long_header(case: Case) -> None:
    tags = json.dumps({"10_zkw_fox": {f"a rather rare tag number {number}": 1 for number in range(40_000)}})
    rewrite(case, lambda tensors, metadata: metadata.update(ss_tag_frequency=tags))


@close_call("LOR013", "half a million bytes of tags", start="lora")
def half_a_header(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: metadata.update(ss_tag_frequency="x" * 500_000))


@fault("LOR014", "one NaN", start="lora")
def one_nan(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        tensors[f"{FIRST}.lora_up.weight"][7, 1] = float("nan")

    rewrite(case, change)


@close_call("LOR014", "a value near fp16's largest in a narrow place", start="lora")
def large_but_finite(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        tensors[f"{FIRST}.lora_up.weight"].zero_()
        tensors[f"{FIRST}.lora_up.weight"][0, 0] = 65504.0
        tensors[f"{FIRST}.lora_down.weight"].fill_(1e-6)

    rewrite(case, change)


def _zero(tensors: Tensors, names: str) -> None:
    for name in tensors:
        if names in name and name.endswith(".lora_up.weight"):
            tensors[name] = torch.zeros_like(tensors[name])


@fault("LOR015", "no module learned", start="lora")
def all_zero(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: _zero(tensors, "lora_"))


@fault("LOR015", "the text encoder learned nothing", start="lora")
def text_zero(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: _zero(tensors, "lora_te"))


@close_call("LOR015", "the last text layer's six modules, as clip skip 2 leaves them", start="lora")
def clip_skip_two(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        _zero(tensors, LAST_TEXT)
        metadata["ss_clip_skip"] = "2"

    rewrite(case, change)


def _as(case: Case, dtype: torch.dtype) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)

    rewrite(case, change)


@fault("LOR016", "saved in float32", start="lora")
def wide(case: Case) -> None:
    _as(case, torch.float32)


@close_call("LOR016", "saved in bfloat16", start="lora")
def bfloat(case: Case) -> None:
    _as(case, torch.bfloat16)


def _scaled(case: Case, factor: float) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        tensors[f"{FIRST}.lora_up.weight"] *= factor

    rewrite(case, change)


@fault("LOR017", "one module two hundred times as strong", start="lora")
def exploded(case: Case) -> None:
    _scaled(case, 200.0)


@close_call("LOR017", "one module twenty times as strong", start="lora")
def strong(case: Case) -> None:
    _scaled(case, 20.0)


@fault("LOR018", "the U-Net alone", start="lora")
def unet_only(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.startswith("lora_te")]:
            tensors.pop(name)

    rewrite(case, change)


@close_call("LOR018", "a few modules of the text encoder", start="lora")
def few_text_modules(case: Case) -> None:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        for name in [name for name in tensors if name.startswith("lora_te") and "layers_1_" not in name]:
            tensors.pop(name)

    rewrite(case, change)


@fault("LOR019", "a colon in the name", start="lora")
def colon(case: Case) -> None:
    rename(case, "zkw:fox.safetensors")


@close_call("LOR019", "blanks and brackets in the name, the ending in capitals", start="lora")
def blanks(case: Case) -> None:
    rename(case, "zkw fox (final) [v2].SAFETENSORS")


@fault("LOR020", "resized to rank 4, metadata of rank 32", start="lora")
def resized(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: metadata.update(ss_network_dim="32"))


@close_call("LOR020", "the rank is told as “Dynamic”", start="lora")
def dynamic(case: Case) -> None:
    rewrite(case, lambda tensors, metadata: metadata.update(ss_network_dim="Dynamic"))
