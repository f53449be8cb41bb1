"""Faults of the base model against script, size, settings, name and pictures."""

from __future__ import annotations

import json

from tests.planted.case import Case, close_call, fault


def rename_base(case: Case, name: str) -> None:
    case.base.rename(case.folder / name)
    case.edit(case.script, "base.safetensors", name)


def mark_as_v(case: Case) -> None:
    """Add the tensor by which v-prediction models say what they are."""
    with case.base.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table = json.loads(file.read(length))
    end = max(entry["data_offsets"][1] for entry in table.values() if "data_offsets" in entry)
    table["v_pred"] = {"dtype": "F16", "shape": [1], "data_offsets": [end, end + 2]}
    raw = json.dumps(table).encode()
    with case.base.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end + 2)


@fault("MOD001", "the SDXL script on an SD 1.5 file")
def sdxl_script(case: Case) -> None:
    case.edit(case.script, "sd-scripts/train_network.py", "sd-scripts/sdxl_train_network.py")


@close_call("MOD001", "the script of the base's family by another path")
def script_by_another_path(case: Case) -> None:
    case.edit(case.script, "sd-scripts/train_network.py", "./sd-scripts/train_network.py")


@fault("MOD002", "an SD 1.5 file called XL")
def called_xl(case: Case) -> None:
    rename_base(case, "inkBaseXL.safetensors")


@close_call("MOD002", "x and l inside a word")
def xl_in_a_word(case: Case) -> None:
    rename_base(case, "pixlife_maxlight.safetensors")


@fault("MOD003", "256 px on SD 1.5")
def small_resolution(case: Case) -> None:
    case.edit(case.script, "--resolution=512,512", "--resolution=256,256")


@close_call("MOD003", "448 by 576 px on SD 1.5: the same area")
def other_shape(case: Case) -> None:
    case.edit(case.script, "--resolution=512,512", "--resolution=448,576")


@fault("MOD004", "1024 px on SD 1.5", also=("PIC003", "SET025"))
def large_resolution(case: Case) -> None:
    case.edit(case.script, "--resolution=512,512", "--resolution=1024,1024")


@close_call("MOD004", "448 by 576 px on SD 1.5: one side above its own")
def one_side_above(case: Case) -> None:
    case.edit(case.script, "--resolution=512,512", "--resolution=576,448")


@fault("MOD005", "clip skip 4")
def deep_clip_skip(case: Case) -> None:
    case.edit(case.script, "--sdpa", "--sdpa --clip_skip=4")


@close_call("MOD005", "clip skip 2 on SD 1.5")
def usual_clip_skip(case: Case) -> None:
    case.edit(case.script, "--sdpa", "--sdpa --clip_skip=2")


@fault("MOD006", "a v-prediction model trained as if it predicted noise")
def v_as_noise(case: Case) -> None:
    mark_as_v(case)


@close_call("MOD006", "a v-prediction model trained as one")
def v_as_v(case: Case) -> None:
    mark_as_v(case)
    case.edit(case.script, "--sdpa", "--sdpa --v_parameterization")


@fault("MOD007", "rates for two text encoders")
def two_rates(case: Case) -> None:
    case.edit(case.script, "--text_encoder_lr=5e-5", "--text_encoder_lr 5e-5 5e-5")


@close_call("MOD007", "the one rate behind a space")
def one_rate(case: Case) -> None:
    case.edit(case.script, "--text_encoder_lr=5e-5", "--text_encoder_lr 5e-5")


@fault("MOD008", "pictures of few colours on plain SD 1.5")
def pixel_art_on_plain_base(case: Case) -> None:
    rename_base(case, "v1-5-pruned-emaonly.safetensors")
    few_colours(case)


@close_call("MOD008", "shaded pictures on plain SD 1.5")
def shaded_on_plain_base(case: Case) -> None:
    rename_base(case, "v1-5-pruned-emaonly.safetensors")


@close_call("MOD008", "pictures of few colours on a model made for them")
def pixel_art_on_its_base(case: Case) -> None:
    rename_base(case, "pixelArtMix_v2.safetensors")
    few_colours(case)


@fault("MOD009", "a Turbo version as a base")
def turbo_base(case: Case) -> None:
    rename_base(case, "dreamshaper_v21TurboDPMSDE.safetensors")


@close_call("MOD009", "hyper as part of a word")
def hyperrealistic(case: Case) -> None:
    rename_base(case, "hyperdetailed_turbolence.safetensors")


def few_colours(case: Case) -> None:
    """Redraw every picture with 24 colours."""
    from PIL import Image

    for path in case.pictures:
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(24).convert("RGB").save(path)
