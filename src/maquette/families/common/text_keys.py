"""Text encoder names: transformers' (with or without `text_model.`) and open_clip's."""

from __future__ import annotations

from collections.abc import Iterable

from maquette.families.common.keymap import Binding, Change, PrefixTable

OPEN_CLIP_ENDS: tuple[tuple[str, str], ...] = (
    ("token_embedding", "embeddings.token_embedding"),
    ("ln_final", "final_layer_norm"),
)
OPEN_CLIP_LAYER: tuple[tuple[str, str], ...] = (
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
)
OPEN_CLIP_BARE: dict[str, tuple[str, Change]] = {
    "embeddings.position_embedding.weight": ("positional_embedding", "same"),
    "text_projection.weight": ("text_projection", "transpose"),
}
"""Tensors that open_clip keeps without a module around them."""
JOINT: tuple[Change, ...] = ("q", "k", "v")
"""open_clip keeps the three projections as one `attn.in_proj_weight` / `attn.in_proj_bias`."""


def bare_text_key(key: str) -> str:
    """Return a text encoder key without the `text_model.` level that some versions have."""
    return key.removeprefix("text_model.")


def hf_bindings(module_keys: Iterable[str], prefix: str) -> list[Binding]:
    """Bind every parameter to transformers' naming below `prefix`, with any version of transformers."""
    return [Binding(prefix + bare_text_key(key), key) for key in module_keys]


def open_clip_table(layers: int) -> PrefixTable:
    """Return the table of open_clip and transformers module names, joint projections left out."""
    pairs = list(OPEN_CLIP_ENDS)
    for layer in range(layers):
        old, new = f"transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        pairs += [(f"{old}.{inner_old}", f"{new}.{inner_new}") for inner_old, inner_new in OPEN_CLIP_LAYER]
    return PrefixTable(pairs)


def open_clip_bindings(
    layers: int, module_keys: Iterable[str], prefix: str, *, linear_projection: bool = False
) -> list[Binding]:
    """Bind every parameter to open_clip's naming below `prefix`.

    `linear_projection`: the pooled projection is stored as a Linear's weight, as some files have it.
    """
    table = open_clip_table(layers)
    bindings = [_open_clip_binding(table, key, prefix) for key in module_keys]
    if not linear_projection:
        return bindings
    stored = Binding(f"{prefix}text_projection.weight", "text_projection.weight")
    return [stored if binding.module_key == stored.module_key else binding for binding in bindings]


def _open_clip_binding(table: PrefixTable, key: str, prefix: str) -> Binding:
    bare = bare_text_key(key)
    if bare in OPEN_CLIP_BARE:
        name, change = OPEN_CLIP_BARE[bare]
        return Binding(prefix + name, key, change)
    for part in JOINT:
        head, found, leaf = bare.partition(f".self_attn.{part}_proj.")
        if found:
            layer = head.removeprefix("encoder.layers.")
            return Binding(f"{prefix}transformer.resblocks.{layer}.attn.in_proj_{leaf}", key, part)
    name_or_none = table.restore(bare)
    assert name_or_none is not None, f"no original name for the parameter {key}"
    return Binding(prefix + name_or_none, key)
