"""Full-size models without memory: modules on the meta device, files whose tensors are a hole."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

from maquette.families.common.assemble import Part
from maquette.families.common.model import FamilySteps, LatentDiffusionModel
from maquette.families.common.source import SingleFile, open_source
from maquette.families.protocol import LoraTarget
from maquette.families.sd1 import load as sd1_load
from maquette.families.sd2 import load as sd2_load
from maquette.families.sdxl import load as sdxl_load
from maquette.families.tiny import file_shapes

LOADERS = {"sd1": sd1_load, "sd2": sd2_load, "sdxl": sdxl_load}


def header_only(name: str, path: Path) -> Path:
    """Write a sparse file: the full layout's header, and a hole where the numbers would be."""
    table, offset = {}, 0
    for tensor, shape in file_shapes(name, "full").items():
        end = offset + 2 * math.prod(shape)
        table[tensor] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(table).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + offset)
    return path


def full_parts(name: str, path: Path) -> list[Part]:
    """Return the empty parts of the full-size model in `path`."""
    source = open_source(path)
    assert isinstance(source, SingleFile)
    found = [
        part
        for item in LOADERS[name]._file_parts(source)
        for part in (item if isinstance(item, tuple) else (item,))
    ]
    return [part for part in found if isinstance(part, Part)]


def unread(source: SingleFile, parts: list[Part]) -> set[str]:
    """Return the tensors that the family leaves unread: OpenCLIP's last layer and projection in SD 2.x."""
    from maquette.families.common.modules import text_root
    from maquette.families.sd2.keys import TEXT_PROOF, unread_text

    if TEXT_PROOF not in source.header.tensors:
        return set()
    return unread_text(source, len(text_root(parts[1].module).encoder.layers))  # type: ignore[union-attr, arg-type]


@cache
def full_targets(name: str) -> tuple[LoraTarget, ...]:
    """Return the LoRA targets of the full-size model, on the meta device."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        parts = full_parts(name, header_only(name, Path(folder) / "full.safetensors"))
    unet, *texts, _ = [part.module for part in parts]
    steps: FamilySteps = LOADERS[name].STEPS
    model = LatentDiffusionModel.__new__(LatentDiffusionModel)
    model.denoiser, model.text_encoders = unet, tuple(texts)
    return steps.lora_targets(model)
