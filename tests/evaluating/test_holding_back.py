"""The proposal by name: from pictures and captions to the setting that holds them out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from click.testing import CliRunner
from PIL import ImageOps

from maquette.cli.app import maquette as command
from maquette.dataset.reading import read_dataset
from maquette.evaluating.holding_back import proposed
from maquette.project.config_file import load_settings
from maquette.training.prepare import dataset_input
from maquette.world.captions import caption
from maquette.world.cast import SCENES, TOVAKI, TRIGGER
from maquette.world.renderer import render


def project(folder: Path, count: int = 15) -> dict[Path, str]:
    """Return pictures of the small world with their captions, those of a project."""
    images = folder / "images"
    images.mkdir(parents=True)
    found = {}
    for place, scene in enumerate(SCENES[:count]):
        path = images / f"{place:02d}.png"
        render(TOVAKI, scene, 64).save(path)
        found[path] = caption(TOVAKI, scene, name=TRIGGER, strategy="pose")
        path.with_suffix(".txt").write_text(found[path], encoding="utf-8")
    text = '[dataset]\nresolution = 64\n[subject]\ntrigger = "tovaki"\n'
    (folder / "maquette.toml").write_text(text, encoding="utf-8")
    return found


def test_the_setting_that_is_proposed_holds_these_pictures_out(tmp_path: Path) -> None:
    found = proposed(project(tmp_path / "p"))
    assert found.looked_at == "world" and len(found.pictures) == 3
    values = tomllib.loads(found.setting)["validation_images"]
    assert all(not Path(each).is_absolute() for each in values), "as the project's own file names them"
    config = tmp_path / "p/maquette.toml"
    config.write_text(
        config.read_text(encoding="utf-8") + f'[model]\nbase = "b"\n[validation]\n{found.setting}\n',
        encoding="utf-8",
    )
    facts = read_dataset(dataset_input(load_settings(tmp_path / "p", {})), "listing")
    assert set(facts.held_out) == {each.picture for each in found.pictures}


def test_no_view_leaves_training_and_every_reason_names_what_stays(tmp_path: Path) -> None:
    pictures = project(tmp_path)
    found = proposed(pictures)
    held = {each.picture for each in found.pictures}
    views = {path: SCENES[place].view for place, path in enumerate(pictures)}
    assert {views[path] for path in pictures if path not in held} == set(views.values())
    assert all(
        each.stays.name in told for each, told in zip(found.pictures, found.to_json()["reasons"], strict=True)
    )


def test_mirrored_copies_are_not_held_back(tmp_path: Path) -> None:
    pictures = project(tmp_path)
    first = proposed(pictures).pictures[0].picture
    index = list(pictures).index(first)
    copy = first.with_name("copy.png")
    ImageOps.mirror(render(TOVAKI, SCENES[index], 64)).save(copy)
    again = proposed({**pictures, copy: pictures[first]})
    assert not {first, copy} & {each.picture for each in again.pictures}


def test_too_few_pictures_are_told_where_to_put_others(tmp_path: Path) -> None:
    found = proposed(dict(list(project(tmp_path).items())[:5]))
    assert not found.pictures and "references/" in found.told[0] and found.to_json()["setting"] is None


def test_plan_says_which(tmp_path: Path) -> None:
    project(tmp_path)
    result = CliRunner().invoke(
        command,
        ["plan", str(tmp_path / "images"), "--resolution", "64", "--no-measure", "--hold-back", "--json"],
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert len(told["hold_back"]["pictures"]) == 3 and any("--hold-back" in each for each in told["advice"])
