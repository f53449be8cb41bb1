"""What a base model really is, against what its run takes it for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maquette.dataset.facts import DatasetFacts
from maquette.families import FAMILIES
from maquette.families.common.distilled import distilled_by
from maquette.families.names import distilled_name, is_plain_base, specs_named
from maquette.project.profile import Profile
from tests.conftest import shared_data
from tests.dataset.making import facts_of
from tests.rules.rule_cases import CHARACTER_RUN, PIXEL_ART_RUN, SD1, SD2, SDXL, codes, command, found

PIXEL_STYLE = Profile(kind="style", trigger="bespoke", style=("pixel art", "24x24"))


def only_model(*facts: object) -> dict[str, str]:
    return codes(*facts, only="MOD")


def test_an_xl_that_is_sd1_is_fine_with_its_own_script_and_an_error_with_the_other(tmp_path: Path) -> None:
    """AnythingXL_inkBase: 2.0 GB, `cond_stage_model` tensors."""
    right = command(tmp_path, CHARACTER_RUN)
    assert only_model(right, SD1) == {"MOD002": "hint"}
    wrong = command(tmp_path, CHARACTER_RUN.replace("train_network.py", "sdxl_train_network.py"))
    (finding,) = [each for each in found(wrong, SD1, only="MOD") if each.severity == "error"]
    assert finding.code == "MOD001" and "train_network.py with 512 px" in finding.remedy


def test_a_name_alone_is_a_hint_to_look_into_the_file(tmp_path: Path) -> None:
    (finding,) = found(command(tmp_path, CHARACTER_RUN), only="MOD")
    assert finding.code == "MOD002" and "maquette check AnythingXL_inkBase.safetensors" in finding.remedy
    assert not found(command(tmp_path, PIXEL_ART_RUN), only="MOD")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("AnythingXL_inkBase.safetensors", "sdxl"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ("sd_xl_base_1.0.safetensors", "sdxl"),
        ("animagine-xl-3.1", "sdxl"),
        ("ponyDiffusionV6XL.safetensors", "sdxl"),
        ("C:\\models\\v1-5-pruned-emaonly.safetensors", "sd1"),
        ("runwayml/stable-diffusion-v1-5", "sd1"),
        ("dreamshaper_8.safetensors", None),
        ("maxlight.safetensors", None),
        ("/models/sdxl/base.safetensors", None),
    ],
)
def test_names_sound_like_families(name: str, family: str | None) -> None:
    assert [spec.name for spec in specs_named(name)] == ([family] if family else [])


def test_plain_bases_are_known_by_name() -> None:
    spec = FAMILIES["sd1"].spec
    plain = (
        "v1-5-pruned-emaonly.safetensors",
        "runwayml/stable-diffusion-v1-5",
        "sd15",
        "realisticVisionV51.safetensors",
    )
    assert all(is_plain_base(spec, name) for name in plain)
    assert not any(
        is_plain_base(spec, name) for name in ("anime_v15.safetensors", "pixelart.safetensors", "base")
    )
    assert not is_plain_base(FAMILIES["sdxl"].spec, "sd_xl_base_1.0")


@pytest.mark.parametrize(
    ("base", "resolution", "said"),
    [
        ("sdxl", "512,512", {"MOD003": "warning"}),
        ("sdxl", "768,768", {"MOD003": "hint"}),
        ("sdxl", "1024,1024", {}),
        ("sdxl", "832,1216", {}),
        ("sd1", "512,512", {}),
        ("sd1", "448,576", {}),
        ("sd1", "768,768", {"MOD004": "hint"}),
        ("sd1", "1024,1024", {"MOD004": "warning"}),
    ],
)
def test_resolution_is_measured_by_area(
    base: str, resolution: str, said: dict[str, str], tmp_path: Path
) -> None:
    info, script = (SDXL, "sdxl_train_network.py") if base == "sdxl" else (SD1, "train_network.py")
    text = PIXEL_ART_RUN.replace("sdxl_train_network.py", script).replace("1024,1024", resolution)
    text = text.replace("stabilityai/stable-diffusion-xl-base-1.0", "base.safetensors")
    assert only_model(command(tmp_path, text), info) == said


def test_a_dataset_toml_s_own_resolution_counts(tmp_path: Path) -> None:
    pictures = tmp_path / "10_x"
    pictures.mkdir()
    toml = tmp_path / "dataset.toml"
    toml.write_text(
        f'[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = "{pictures}"\n', encoding="utf-8"
    )
    facts = facts_of(toml, "headers", trainer="sd-scripts")
    (finding,) = found(command(tmp_path, PIXEL_ART_RUN), SDXL, facts, only="MOD003")
    assert finding.place == "dataset.toml: resolution" and "50%" in finding.message


def test_clip_skip_is_judged_by_family_and_trainer(tmp_path: Path) -> None:
    asked = command(tmp_path, PIXEL_ART_RUN.rstrip() + " --clip_skip=1\n")
    assert only_model(asked, SDXL) == {"MOD005": "warning"}
    assert only_model(replace(asked, trainer="maquette"), SDXL)["MOD005"] == "error"
    anime = command(tmp_path, CHARACTER_RUN.replace("--clip_skip=2", "--clip_skip=1"))
    assert only_model(anime, SD1)["MOD005"] == "hint"
    assert "MOD005" not in only_model(command(tmp_path, CHARACTER_RUN), SD1)


def test_prediction_is_judged_for_trainers_that_do_not_look(tmp_path: Path) -> None:
    v_model = replace(SDXL, prediction="v", zero_terminal_snr=True)
    plain = command(tmp_path, PIXEL_ART_RUN)
    (finding,) = found(plain, v_model, only="MOD006")
    assert finding.severity == "error" and "--v_parameterization and --zero_terminal_snr" in finding.remedy
    asked = command(tmp_path, PIXEL_ART_RUN.rstrip() + " --v_parameterization\n")
    assert only_model(asked, v_model) == {"MOD006": "warning"}, "zero terminal SNR is still missing"
    assert only_model(asked, SDXL) == {"MOD006": "warning"}, "nothing says that it predicts v"
    whole = command(tmp_path, PIXEL_ART_RUN.rstrip() + " --v_parameterization --zero_terminal_snr\n")
    assert only_model(whole, v_model) == {}
    assert only_model(replace(plain, trainer="maquette"), v_model) == {}


def test_a_prediction_that_the_file_gainsays_is_said(tmp_path: Path) -> None:
    ours = replace(command(tmp_path, PIXEL_ART_RUN), trainer="maquette")
    said_v = replace(SDXL, prediction="epsilon", prediction_stated="v")
    assert only_model(ours, said_v) == {"MOD006": "warning"}
    assert only_model(ours, replace(said_v, prediction="v")) == {}
    assert only_model(ours, replace(SDXL, prediction="v")) == {}, (
        "the file is silent: the first step measures"
    )


def test_settings_of_other_families_are_named(tmp_path: Path) -> None:
    text = CHARACTER_RUN.replace("--text_encoder_lr=5e-5", "--text_encoder_lr 5e-5 5e-5").rstrip() + " --v2\n"
    said = found(command(tmp_path, text), SD1, only="MOD007")
    assert [finding.severity for finding in said] == ["error", "warning"]
    sdxl = PIXEL_ART_RUN.replace("--text_encoder_lr=0.00005", "--text_encoder_lr 5e-5 5e-5")
    assert not found(command(tmp_path, sdxl), SDXL, only="MOD007")


def test_an_sd2_base_needs_v2_and_its_prediction(tmp_path: Path) -> None:
    plain = command(tmp_path, CHARACTER_RUN)
    errors = [finding for finding in found(plain, SD2, only="MOD") if finding.severity == "error"]
    assert {finding.code for finding in errors} == {"MOD006", "MOD007"}
    (need,) = [finding for finding in errors if finding.code == "MOD007"]
    assert need.remedy == "Add --v2 and --v_parameterization."
    right = command(tmp_path, CHARACTER_RUN.rstrip() + " --v2 --v_parameterization\n")
    assert not [finding for finding in found(right, SD2, only="MOD") if finding.severity == "error"]
    xl = command(tmp_path, CHARACTER_RUN.replace("train_network.py", "sdxl_train_network.py"))
    (wrong,) = found(xl, SD2, only="MOD001")
    assert "train_network.py --v2 with 768 px" in wrong.remedy


def test_pixel_art_on_plain_sd1_is_a_hint_with_what_to_watch(tmp_path: Path) -> None:
    """203 portraits of 24 × 24 pixels: nine of nine epochs drew photographs of babies."""
    text = PIXEL_ART_RUN.replace("sdxl_train", "train").replace("1024,1024", "512,512")
    plain = text.replace("stabilityai/stable-diffusion-xl-base-1.0", "runwayml/stable-diffusion-v1-5")
    (finding,) = found(command(tmp_path, plain), SD1, PIXEL_STYLE, only="MOD")
    assert finding.code == "MOD008" and finding.severity == "hint" and "first checkpoint" in finding.remedy
    assert not found(command(tmp_path, plain), SD1, replace(PIXEL_STYLE, style=("oil painting",)), only="MOD")
    assert not found(command(tmp_path, PIXEL_ART_RUN), SDXL, PIXEL_STYLE, only="MOD")


def test_real_pixel_portraits_are_seen_without_a_profile(tmp_path: Path) -> None:
    text = PIXEL_ART_RUN.replace("sdxl_train", "train").replace("1024,1024", "512,512")
    plain = text.replace("stabilityai/stable-diffusion-xl-base-1.0", "v1-5-pruned-emaonly.safetensors")
    assert found(command(tmp_path, plain), SD1, measured("pixel_portraits"), only="MOD008")
    assert not found(command(tmp_path, plain), SD1, measured("photos"), only="MOD008")


def measured(name: str) -> DatasetFacts:
    """Return the measured pictures of one folder of real material."""
    root = shared_data(name)
    folder = next(path for path in sorted(root.rglob("*")) if path.suffix in (".png", ".jpg", ".jpeg")).parent
    return facts_of(folder, "measures")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("sd_xl_turbo_1.0_fp16", "turbo"),
        ("dreamshaperXL_v21TurboDPMSDE.safetensors", "Turbo"),
        ("juggernautXL_v9Rdphoto2Lightning.safetensors", "Lightning"),
        ("ByteDance/SDXL-Lightning", "Lightning"),
        ("SimianLuo/LCM_Dreamshaper_v7", "LCM"),
        ("Hyper-SD15-merged", "Hyper-SD15"),
        ("lustify_v4DMD2", "DMD2"),
        ("hyperrealism_v3", ""),
        ("turbulence", ""),
        ("AnythingXL_inkBase.safetensors", ""),
        ("v1-5-pruned-emaonly", ""),
    ],
)
def test_a_distilled_base_is_told_by_its_name(name: str, word: str) -> None:
    assert distilled_name(name) == word


def test_a_distilled_base_is_told_by_what_it_carries(tmp_path: Path) -> None:
    ours = "model.diffusion_model.time_embed.cond_proj.weight"
    assert "guidance scale" in distilled_by("dream", [ours])
    assert "time_cond_proj_dim" in distilled_by("dream", [], denoiser={"time_cond_proj_dim": 256})
    assert "LCMScheduler" in distilled_by("dream", [], scheduler={"_class_name": "LCMScheduler"})
    assert "modelspec.title" in distilled_by(
        "dream", [], metadata={"modelspec.title": "Dream XL Lightning 4 step"}
    )
    assert (
        distilled_by("dream", ["model.diffusion_model.time_embed.0.weight"], scheduler={"_class_name": "X"})
        == ""
    )
    asked = command(tmp_path, PIXEL_ART_RUN)
    [finding] = found(asked, replace(SDXL, distilled="its name says 'Turbo'"), only="MOD009")
    assert "stabilityai/stable-diffusion-xl-base-1.0" in finding.remedy
    assert not found(asked, SDXL, only="MOD009")
