"""Rules about repeats, steps and folders, with the numbers of field notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maquette.dataset.planned import options_of, schedule_of
from maquette.dataset.repeats import Schedule
from maquette.dataset.targets import epochs_within, proposed_steps, step_target
from maquette.findings.records import Finding
from maquette.findings.registry import run_rules
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.rules.catalogue import all_rules
from tests.dataset.making import captioned, facts_of, picture


def found(
    root: Path,
    *,
    regularization: Path | None = None,
    profile: Profile | None = None,
    measure: bool = False,
    bare: bool = False,
    **run: Any,
) -> list[Finding]:
    """Return what the STP rules say of a run of sd-scripts over `root` (a bare dataset with `bare`)."""
    values = {"trainer": "sd-scripts", "resolution_wh": (64, 64), "caption_extension": ".txt", **run}
    request = TrainingRequest(file=Path("train.sh"), regularization=regularization, **values)
    facts = facts_of(
        root,
        "measures" if measure else "headers",
        regularization=regularization,
        options=options_of(request),
        trainer=request.trainer,
    )
    known: dict[type, Any] = {type(facts): facts}
    if not bare:
        known[TrainingRequest] = request
        schedule = schedule_of(facts, request)
        if schedule is not None:
            known[Schedule] = schedule
    if profile is not None:
        known[Profile] = profile
    findings, _ = run_rules([rule for rule in all_rules().values() if rule.group == "STP"], known)
    return findings


def codes(findings: list[Finding]) -> dict[str, str]:
    return {finding.code: finding.severity for finding in findings}


def many(folder: Path, count: int) -> Path:
    """Write `count` files that pass for pictures where none is opened, with captions."""
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index:04}.png").write_bytes(b"")
        (folder / f"{index:04}.txt").write_text("zkw", encoding="utf-8")
    return folder


def toml(tmp_path: Path, *subsets: str) -> Path:
    path = tmp_path / "dataset.toml"
    tables = "".join(f"  [[datasets.subsets]]\n  {subset}\n" for subset in subsets)
    path.write_text(
        f'[general]\ncaption_extension = ".txt"\n[[datasets]]\nresolution = 64\n{tables}', encoding="utf-8"
    )
    return path


CHARACTER = Profile(kind="character", trigger="zkw")
STYLE = Profile(kind="style", trigger="zkw")


# --- STP001 ----------------------------------------------------------------------------------------------


def test_a_prefix_and_the_same_num_repeats_is_a_hint_with_the_truth(tmp_path: Path) -> None:
    """The first character run's TOML: 10_spyke_plasma_v1 with num_repeats = 10, believed to be 100 or 20."""
    many(tmp_path / "10_spyke_plasma_v1", 23)
    path = toml(tmp_path, f'image_dir = "{tmp_path}/10_spyke_plasma_v1"\n  num_repeats = 10')
    (finding,) = found(path, epochs=4)
    assert (finding.code, finding.severity) == ("STP001", "hint")
    assert "shows each of its 23 pictures 10 times an epoch, not 100 or 20 times" in finding.message


def test_a_prefix_and_other_repeats_is_a_warning(tmp_path: Path) -> None:
    """[M] 8 pictures in 10_sks_dog, TOML without num_repeats: 8 items; with 3: 24."""
    many(tmp_path / "10_sks_dog", 8)
    for text, shown in (("", "once"), ("num_repeats = 3", "3 times")):
        path = toml(tmp_path, f'image_dir = "{tmp_path}/10_sks_dog"\n  {text}')
        findings = [f for f in found(path, bare=True) if f.code == "STP001"]
        assert [f.severity for f in findings] == ["warning"]
        assert f"pictures {shown} an epoch" in findings[0].message


def test_a_prefix_alone_or_a_prefix_of_one_is_nothing(tmp_path: Path) -> None:
    many(tmp_path / "1_anime_character", 20)
    path = toml(tmp_path, f'image_dir = "{tmp_path}/1_anime_character"\n  num_repeats = 1')
    assert not found(path, bare=True)
    many(tmp_path / "kohya" / "10_fox", 20)
    assert not found(tmp_path / "kohya", epochs=5)


# --- STP002 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pictures", "repeats", "run", "profile", "severity"),
    [
        (23, 10, {"epochs": 4}, CHARACTER, None),  # 920, the plan
        (23, 10, {"epochs": 5}, CHARACTER, None),  # 1,150, the alternative
        (23, 10, {"epochs": 8}, CHARACTER, "warning"),  # 1,840
        (20, 10, {"epochs": 5}, None, None),  # 1,000
        (20, 10, {"epochs": 1}, CHARACTER, "warning"),  # 200
        (20, 10, {"epochs": 3}, CHARACTER, "hint"),  # 600
        (20, 10, {"epochs": 7}, CHARACTER, None),  # 1,400, within the slack
        (20, 10, {"epochs": 8}, CHARACTER, "hint"),  # 1,600
        (5, 20, {"epochs": 8}, Profile(kind="object", trigger="zkw"), None),  # 800
        (203, 10, {"epochs": 10, "batch_size": 2}, STYLE, None),  # 10,150
        (203, 10, {"epochs": 10, "batch_size": 2}, None, None),
        (203, 10, {"epochs": 10, "batch_size": 2}, CHARACTER, "hint"),
        (203, 10, {"epochs": 10}, STYLE, None),  # 20,300 showings, 100 of each picture
        (
            413,
            1,
            {"epochs": 20, "batch_size": 4, "accumulation": 2},
            CHARACTER,
            None,
        ),  # 1,040 of 8 pictures each
        (410, 10, {"epochs": 20, "accumulation": 8}, CHARACTER, "hint"),  # 10,260 of 8: 200 showings of each
        (20, 10, {"steps": 5}, CHARACTER, None),  # a smoke test
        (20, 10, {"steps": 3000}, CHARACTER, "warning"),
    ],
)
def test_steps_against_pictures(
    tmp_path: Path,
    pictures: int,
    repeats: int,
    run: dict[str, Any],
    profile: Profile | None,
    severity: str | None,
) -> None:
    many(tmp_path / f"{repeats}_fox", pictures)
    assert codes(found(tmp_path, profile=profile, **run)).get("STP002") == severity


def test_the_message_is_the_whole_sum_and_the_remedy_lands_in_the_band(tmp_path: Path) -> None:
    many(tmp_path / "10_fox", 23)
    (finding,) = found(tmp_path, profile=CHARACTER, epochs=8)
    assert finding.message == (
        "23 × 10 / batch 1 = 230 steps × 8 epochs = 1,840 steps: more than the 800 to 1,200 that suit 23 pictures of a "
        "character; each is shown 80 times."
    )
    assert finding.remedy == "Use --max_train_epochs=4: 920 steps."


def test_an_epoch_that_is_too_long_asks_for_fewer_repeats(tmp_path: Path) -> None:
    many(tmp_path / "100_fox", 20)
    (finding,) = found(tmp_path, profile=CHARACTER, epochs=1)
    assert "from 100 to 50: about 1,000 steps" in finding.remedy


@pytest.mark.parametrize("pictures", [1, 3, 5, 10, 14, 15, 20, 25, 30, 31, 50, 51, 100, 203, 413, 1000, 3000])
def test_what_init_proposes_lies_within_the_band(pictures: int) -> None:
    target = step_target(pictures, "character")
    assert target.low / 1.25 <= proposed_steps(pictures) <= target.high * 1.25
    assert target.low <= target.best <= target.high


@pytest.mark.parametrize("pictures", [1, 8, 20, 60, 203, 413, 2000])
@pytest.mark.parametrize("per_step", [1, 2, 8, 12])
@pytest.mark.parametrize("kind", ["character", "style"])
def test_a_band_says_something_and_its_best_is_its_middle(pictures: int, per_step: int, kind: Any) -> None:
    target = step_target(pictures, kind, per_step)
    assert target.high <= (6.5 if pictures >= 15 else 7) * target.low
    assert abs(target.best - (target.low + target.high) / 2) <= 0.5
    more = step_target(pictures + 20, kind, per_step)
    assert more.low >= target.low and more.high >= target.high


def test_runs_that_went_well_lie_in_their_bands() -> None:
    """Field notes: film frames 20 epochs in eights, 18 in twelves, 1024 px in eights; portraits in pairs."""
    assert 1040 in step_target(413, "character", 8) and 1025 in step_target(410, "character", 8)
    assert 18 * 35 in step_target(410, "character", 12)
    assert 10150 in step_target(203, "style", 2)


def test_the_band_of_field_notes() -> None:
    assert {str(step_target(n, "character")) for n in range(15, 26)} == {"800 to 1,200"}
    assert epochs_within(step_target(23, "character"), 230) == 4  # 920, as the field notes planned
    assert epochs_within(step_target(23, "character"), 5000) is None


# --- STP003, STP004 --------------------------------------------------------------------------------------


def test_regularization_that_doubled_the_first_run(tmp_path: Path) -> None:
    """1,840 = (230 + 230) × 4, planned 920."""
    many(tmp_path / "train" / "10_spyke", 23)
    many(tmp_path / "reg" / "1_anime_character", 100)
    findings = found(tmp_path / "train", regularization=tmp_path / "reg", profile=CHARACTER, epochs=4)
    assert codes(findings) == {"STP003": "warning"}, "one mistake, one finding"
    message = findings[0].message
    assert "(23 × 10 + 230 regularization) / batch 1 = 460 steps × 4 epochs = 1,840 steps" in message
    assert "it would be 920 steps" in message
    assert findings[0].remedy.startswith("Use --max_train_epochs=2: 920 steps.")


def test_the_later_runs_fit_and_get_a_hint(tmp_path: Path) -> None:
    """(150 + 150) × 4 = 1,200 steps for 15 pictures."""
    many(tmp_path / "train" / "10_spyke", 15)
    many(tmp_path / "reg" / "1_anime_character", 100)
    findings = found(tmp_path / "train", regularization=tmp_path / "reg", profile=CHARACTER, epochs=4)
    assert codes(findings) == {"STP003": "hint"}


def test_a_length_in_steps_is_not_lengthened(tmp_path: Path) -> None:
    many(tmp_path / "train" / "10_spyke", 15)
    many(tmp_path / "reg" / "1_anime_character", 150)
    assert not found(tmp_path / "train", regularization=tmp_path / "reg", profile=CHARACTER, steps=1000)


@pytest.mark.parametrize(
    ("train", "regularization", "said"),
    [
        ((20, 10), (300, 1), "100 of 300 regularization pictures are never shown"),
        ((20, 10), (300, 2), "200 of 300 regularization pictures are never shown"),
        ((4, 1), (3, 3), "1 of 3 regularization pictures are never shown"),
        ((4, 1), (2, 3), "6 regularization items stand against 4 training items"),
        ((20, 10), (4, 1), "shown 50 times each in every epoch"),
        ((20, 10), (100, 1), None),
        ((20, 10), (200, 1), None),
        ((20, 10), (10, 1), None),
    ],
)
def test_regularization_against_training_items(
    tmp_path: Path, train: tuple[int, int], regularization: tuple[int, int], said: str | None
) -> None:
    many(tmp_path / "train" / f"{train[1]}_fox", train[0])
    many(tmp_path / "reg" / f"{regularization[1]}_animal", regularization[0])
    findings = found(tmp_path / "train", regularization=tmp_path / "reg", steps=1000)
    messages = [f.message for f in findings if f.code == "STP004"]
    assert (said in messages[0]) if said else not messages


# --- STP005 ----------------------------------------------------------------------------------------------


def test_two_folders_of_the_same_pictures(tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    captioned(copied / "10_a", 6)
    captioned(copied / "10_b", 4)
    (finding,) = [f for f in found(copied, measure=True, steps=1000) if f.code == "STP005"]
    assert finding.severity == "error"
    assert "4 of its 4 pictures lie in 10_a too" in finding.message
    assert "10 pictures are trained instead of 6" in finding.message
    assert "longer by 40 items" in finding.message


def test_the_style_set_twice(tmp_path: Path) -> None:
    """Field notes: 406 latents instead of 203, because two subdirectories held them."""
    for name in ("10_bespoke_baby", "10_bespoke_punk"):
        captioned(tmp_path / name, 203, (16, 16))
    (finding,) = [f for f in found(tmp_path, measure=True, steps=10150, profile=STYLE) if f.code == "STP005"]
    assert "406 pictures are trained instead of 203" in finding.message


def test_training_pictures_as_regularization(tmp_path: Path) -> None:
    captioned(tmp_path / "train" / "10_fox", 4)
    captioned(tmp_path / "reg" / "1_animal", 4)
    findings = found(tmp_path / "train", regularization=tmp_path / "reg", measure=True, steps=1000)
    (finding,) = [f for f in findings if f.code == "STP005"]
    assert "trained as its own class" in finding.message


def test_two_forms_that_share_a_picture_are_no_copies(tmp_path: Path) -> None:
    captioned(tmp_path / "10_land", 6)
    captioned(tmp_path / "10_sea", 2)
    for index in range(2, 8):
        picture(tmp_path / "10_sea" / f"q{index}.png", seed=100 + index)
    assert "STP005" not in codes(found(tmp_path, measure=True, steps=1000))


# --- STP006 to STP009 ------------------------------------------------------------------------------------


def test_a_flat_folder_is_no_data_for_sd_scripts(tmp_path: Path) -> None:
    """Field notes: pictures directly in /workspace/training_data, "No data found"."""
    many(tmp_path / "training_data", 203)
    (finding,) = found(tmp_path / "training_data", epochs=10)
    assert (finding.code, finding.severity) == ("STP006", "error")
    assert "203 pictures (directly in it)" in finding.message
    assert "No data found" in finding.message
    assert not found(tmp_path / "training_data", trainer="maquette", steps=5000)


def test_the_folder_itself_instead_of_its_parent(tmp_path: Path) -> None:
    many(tmp_path / "10_fox", 20)
    (finding,) = found(tmp_path / "10_fox", epochs=5)
    assert finding.code == "STP006"
    assert finding.remedy == f"Give its parent: {tmp_path}"


def test_a_plain_folder_name_is_no_data_either(tmp_path: Path) -> None:
    many(tmp_path / "fox", 20)
    (finding,) = found(tmp_path, epochs=5)
    assert "in fox" in finding.message
    assert "10_fox" in finding.remedy


def test_a_parent_as_image_dir_gives_no_pictures(tmp_path: Path) -> None:
    """[M] image_dir is not recursive."""
    many(tmp_path / "train" / "10_fox", 8)
    findings = found(toml(tmp_path, f'image_dir = "{tmp_path}/train"\n  num_repeats = 5'), epochs=5)
    assert codes(findings) == {"STP007": "error"}
    assert "0 pictures are taken from it" in findings[0].message


def test_pictures_beside_and_below_are_not_trained(tmp_path: Path) -> None:
    many(tmp_path / "10_fox", 20)
    many(tmp_path / "new", 5)
    (finding,) = found(tmp_path, epochs=5)
    assert (finding.code, finding.severity) == ("STP007", "warning")
    assert "5 pictures in new are not used" in finding.message


def test_what_is_set_aside_by_name_is_a_hint(tmp_path: Path) -> None:
    many(tmp_path / "10_fox", 20)
    many(tmp_path / "_rejected", 5)
    assert codes(found(tmp_path, epochs=5)) == {"STP007": "hint"}


def test_the_first_of_two_mentions_wins(tmp_path: Path) -> None:
    many(tmp_path / "fox", 20)
    folder = f'image_dir = "{tmp_path}/fox"\n  num_repeats ='
    (finding,) = found(toml(tmp_path, f"{folder} 10", f"{folder} 5"), epochs=5)
    assert finding.code == "STP008"
    assert "the first counts, with 10 repeats; the second, with 5, is dropped" in finding.message


def test_no_repeats_is_no_training(tmp_path: Path) -> None:
    many(tmp_path / "fox", 20)
    many(tmp_path / "owl", 7)
    path = toml(
        tmp_path,
        f'image_dir = "{tmp_path}/fox"\n  num_repeats = 10',
        f'image_dir = "{tmp_path}/owl"\n  num_repeats = 0',
    )
    (finding,) = found(path, epochs=5)
    assert (finding.code, finding.severity) == ("STP009", "warning")
    assert "None of its 7 pictures is trained, because of num_repeats = 0" in finding.message
    many(tmp_path / "kohya" / "10_fox", 20)
    many(tmp_path / "kohya" / "0_old", 3)
    assert codes(found(tmp_path / "kohya", epochs=5)) == {"STP009": "hint"}


# --- STP010 to STP013 ------------------------------------------------------------------------------------


def test_dataset_repeats_are_ignored_beside_folder_names(tmp_path: Path) -> None:
    """[M] with --train_data_dir only the folder prefix counts."""
    many(tmp_path / "10_fox", 20)
    (finding,) = found(tmp_path, epochs=5, repeats=4, spelling={"repeats": "line 1: --dataset_repeats"})
    assert (finding.code, finding.place) == ("STP010", "line 1: --dataset_repeats")
    assert not found(tmp_path, epochs=5, repeats=1)
    many(tmp_path / "toml" / "fox", 20)
    path = toml(tmp_path, f'image_dir = "{tmp_path}/toml/fox"')
    assert not found(path, epochs=5, repeats=10), "a TOML that is silent takes them"


def test_a_folder_beside_a_dataset_config_is_ignored(tmp_path: Path) -> None:
    many(tmp_path / "fox", 20)
    path = toml(tmp_path, f'image_dir = "{tmp_path}/fox"\n  num_repeats = 10')
    (finding,) = found(path, epochs=5, dataset_config=path, images=Path("train"))
    assert finding.code == "STP011"
    assert finding.message == "train is ignored, because dataset.toml is given as dataset config as well."


def test_a_length_is_said_once(tmp_path: Path) -> None:
    many(tmp_path / "10_fox", 20)
    assert codes(found(tmp_path, trainer="sd-scripts")) == {"STP002": "hint", "STP012": "hint"}, "1,600 steps"
    assert codes(found(tmp_path, epochs=5, steps=1000)) == {"STP012": "warning"}
    assert not found(tmp_path, epochs=5)


def test_a_last_group_that_is_nearly_empty(tmp_path: Path) -> None:
    many(tmp_path / "1_fox", 9)
    (finding,) = [f for f in found(tmp_path, epochs=40, accumulation=8) if f.code == "STP013"]
    assert "9 batches make 2 steps of 8" in finding.message
    assert "--gradient_accumulation_steps=9" in finding.remedy
    for accumulation in (3, 5):
        assert "STP013" not in codes(found(tmp_path, epochs=40, accumulation=accumulation))
