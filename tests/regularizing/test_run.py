"""Regularization pictures: drawn from the class alone, balanced, resumable; or taken from a folder."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from maquette.dataset.repeats import plan_items
from maquette.errors import ConfigError, ModelError, OutputError
from maquette.events import Event, Message, run_stage
from maquette.project.profile import KINDS
from maquette.regularizing.options import RegularizeOptions
from maquette.regularizing.prompts import TEMPLATES, prompts_for, template_problems
from maquette.regularizing.run import regularize_events
from maquette.regularizing.sheet import write_sheet
from maquette.regularizing.store import Regularized
from maquette.regularizing.subject import train_items
from maquette.world.pack import base_path
from tests.conftest import make_pictures
from tests.dataset.making import dataset_at

PROMPT = "{class}, {standing|arms up}, {front view|back view|facing left}, {gray|blue} background"
QUICK: dict[str, Any] = {
    "steps": 2,
    "guidance": 1.0,
    "sampler": "euler",
    "device": "cpu",
    "precision": "no",
    "batch": 3,
}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(out: Path, **options: Any) -> tuple[Regularized, list[Event]]:
    events: list[Event] = []
    return run_stage(regularize_events(base_path(), asked(out, **options)), events.append), events


def asked(out: Path, **options: Any) -> RegularizeOptions:
    return RegularizeOptions(out=out, **{"class_word": "character", "prompts": [PROMPT], **QUICK, **options})


# --- prompts ---------------------------------------------------------------------------------------------


def test_every_choice_comes_once_before_any_comes_again() -> None:
    texts = prompts_for(["{a|b|c|d}, {x|y}"], "dog", 40, seed=3)
    for start in range(0, 40, 4):
        assert Counter(text.split(", ")[0] for text in texts[start : start + 4]) == Counter("abcd")
    assert len(set(texts)) == 8, "the two decks are shuffled apart"


def test_more_prompts_begin_with_the_same_ones() -> None:
    few, many = (prompts_for(TEMPLATES["character"], "fox", count, seed=1) for count in (20, 200))
    assert many[:20] == few
    assert prompts_for(TEMPLATES["character"], "fox", 20, seed=2) != few


@pytest.mark.parametrize("kind", KINDS)
def test_the_built_in_prompts_hold_the_class_and_no_braces(kind: Any) -> None:
    texts = prompts_for(TEMPLATES[kind], "anime character", 100, seed=1)
    assert all("an anime character" in text and not set("{}|") & set(text) for text in texts)
    assert len(set(texts)) > 70


@pytest.mark.parametrize("template", ["{class}, {standing", "a {b {c|d}}", "{clas}, standing", "x } y"])
def test_templates_that_mean_nothing_are_refused(template: str) -> None:
    assert template_problems(template)
    with pytest.raises(ConfigError):
        prompts_for([template], "dog", 3, seed=1)


# --- how many --------------------------------------------------------------------------------------------


def test_as_many_as_an_epoch_takes_are_proposed(tmp_path: Path) -> None:
    """23 pictures × 10 repeats take 230, as in the field notes; the trainer's own items agree."""
    train = tmp_path / "train"
    make_pictures(train / "10_spyke", [(32, 32)] * 23)
    assert train_items(train) == 230
    assert train_items(train) == len(plan_items(dataset_at(train).pictures))


def test_items_of_every_form_of_dataset_are_counted(tmp_path: Path) -> None:
    make_pictures(tmp_path / "flat", [(32, 32)] * 4)
    assert train_items(tmp_path / "flat") == 4
    toml = tmp_path / "set.toml"
    folder = json.dumps(str(tmp_path / "flat"))
    toml.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = {folder}\nnum_repeats = 3\n")
    assert train_items(toml) == 12
    project = tmp_path / "maquette.toml"
    project.write_text('[model]\nbase = "b.safetensors"\n[dataset]\nimages = "flat"\nrepeats = 5\n')
    assert train_items(tmp_path) == 20
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="no training pictures"):
        train_items(tmp_path / "none")


# --- drawing ---------------------------------------------------------------------------------------------


def test_pictures_lie_as_every_trainer_takes_them(tmp_path: Path) -> None:
    result, events = drawn(tmp_path / "reg", count=7)
    assert (result.pictures, result.drawn) == (7, 7)
    files = sorted((tmp_path / "reg" / "1_character").glob("*.png"))
    assert [path.name for path in files] == [f"character_{index:04d}.png" for index in range(1, 8)]
    assert len({path.read_bytes() for path in files}) == 7
    assert all(path.with_suffix(".txt").read_text().startswith("a character, ") for path in files)
    with Image.open(files[0]) as picture:
        assert picture.size == (64, 64), "the base's own size"
    make_pictures(tmp_path / "train", [(64, 64)] * 7)
    pictures = dataset_at(tmp_path / "train", regularization=result.folder).pictures
    assert len(plan_items(pictures)) == 14
    assert result.sheet.is_file()
    assert any(isinstance(event, Message) and "7 pictures" in event.text for event in events)


def test_the_manifest_tells_how_each_picture_was_made(tmp_path: Path) -> None:
    result, _ = drawn(tmp_path / "reg", count=3, seed=40)
    table = json.loads(result.manifest.read_text())
    assert [entry["seed"] for entry in table["pictures"].values()] == [40, 41, 42]
    assert len(table["base"]["sha256"]) == 64
    assert table["sampling"]["steps"] == 2
    assert all(entry["prompt"] and entry["sha256"] for entry in table["pictures"].values())


def test_what_lies_there_is_not_drawn_again(tmp_path: Path) -> None:
    first, _ = drawn(tmp_path / "reg", count=4)
    before = {path.name: path.read_bytes() for path in first.pictures_folder.glob("*.png")}
    (first.pictures_folder / "character_0002.png").unlink()
    second, _ = drawn(tmp_path / "reg", count=6)
    assert second.drawn == 3, "the lost one and two more"
    after = {path.name: path.read_bytes() for path in first.pictures_folder.glob("*.png")}
    assert {name: after[name] for name in before} == before, "drawn again, a picture is the same"
    third, _ = drawn(tmp_path / "reg", count=6)
    assert third.drawn == 0


def test_an_interrupted_set_goes_on(tmp_path: Path) -> None:
    events = regularize_events(base_path(), asked(tmp_path / "reg", count=6))
    for _ in events:
        manifest = tmp_path / "reg" / "regularization.json"
        if manifest.is_file() and json.loads(manifest.read_text())["pictures"]:
            break
    events.close()
    assert json.loads(manifest.read_text())["begun"] == 6
    result, _ = drawn(tmp_path / "reg", count=6)
    assert "begun" not in json.loads(manifest.read_text())
    assert 0 < result.drawn < 6


def test_another_way_of_drawing_needs_another_folder(tmp_path: Path) -> None:
    drawn(tmp_path / "reg", count=2)
    with pytest.raises(OutputError, match="sampling"):
        drawn(tmp_path / "reg", count=2, steps=3)


def test_foreign_pictures_are_never_overwritten(tmp_path: Path) -> None:
    make_pictures(tmp_path / "reg" / "1_character", [(32, 32)])
    own = tmp_path / "reg" / "1_character" / "p0.png"
    own.rename(own.with_name("character_0001.png"))
    with pytest.raises(OutputError, match="nothing is overwritten"):
        drawn(tmp_path / "reg", count=2)


def test_a_trigger_among_the_prompts_is_refused(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('kind = "character"\ntrigger = "zkw_fox"\nclass_word = "character"\n')
    with pytest.raises(ConfigError, match="zkw_fox"):
        drawn(tmp_path / "reg", count=2, profile=profile, prompts=["zkw_fox {class}"])


def test_without_a_class_word_there_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="class word"):
        drawn(tmp_path / "reg", count=2, class_word="")


def test_pictures_of_one_colour_are_not_kept(tmp_path: Path) -> None:
    from maquette.regularizing.store import Store

    store = Store(tmp_path / "reg", "dog")
    with pytest.raises(ModelError, match="--precision no"):
        store.save([("dog_0001.png", "a dog", 1)], [Image.new("RGB", (8, 8))], [{}])
    assert not list((tmp_path / "reg").rglob("*.png"))


# --- a folder --------------------------------------------------------------------------------------------


def test_a_folder_is_copied_and_left_as_it_is(tmp_path: Path) -> None:
    source = make_pictures(tmp_path / "mine", [(96, 96), (32, 96), (80, 96)])
    (source / "p2.txt").unlink()
    (source / "broken.png").write_bytes(b"no picture")
    before = {path: path.read_bytes() for path in source.iterdir()}
    result = run_stage(
        regularize_events(
            None,
            RegularizeOptions(source=source, out=tmp_path / "reg", class_word="anime character", size_px=64),
        )
    )
    assert result.pictures == 2
    assert {Path(path).name for path in result.left_out} == {"broken.png", "p1.png"}
    folder = tmp_path / "reg" / "1_anime_character"
    captions = sorted(path.read_text() for path in folder.glob("*.txt"))
    assert captions == ["anime character\n", "zkw, pose 0, blue wall, standing\n"]
    assert {path: path.read_bytes() for path in source.iterdir()} == before


def test_too_few_pictures_are_said(tmp_path: Path) -> None:
    source = make_pictures(tmp_path / "mine", [(96, 96)] * 2)
    wanted = RegularizeOptions(source=source, out=tmp_path / "reg", class_word="dog", count=5)
    events = list(regularize_events(None, wanted))
    assert any(isinstance(event, Message) and "2 pictures, 5 were wanted" in event.text for event in events)


def test_what_drawing_alone_heeds_is_refused_beside_a_folder(tmp_path: Path) -> None:
    wanted = RegularizeOptions(
        source=tmp_path, out=tmp_path / "reg", class_word="dog", steps=3, prompts="a {class}"
    )
    with pytest.raises(ConfigError) as caught:
        run_stage(regularize_events(None, wanted))
    assert [problem.where for problem in caught.value.problems] == ["--prompt", "--steps"]


def test_a_sheet_shows_pictures_of_any_shape(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "mine", [(300, 20), (20, 300), (64, 64)])
    with Image.open(write_sheet(sorted(folder.glob("*.png")), tmp_path / "sheet.png")) as sheet:
        assert sheet.width > sheet.height


# --- the command -----------------------------------------------------------------------------------------


def test_the_command_tells_where_pictures_are_and_how_to_train_with_them(tmp_path: Path) -> None:
    from maquette.cli.regularize import command

    arguments = [
        str(base_path()),
        "--out",
        str(tmp_path / "reg"),
        "--class-word",
        "character",
        "--count",
        "2",
    ]
    arguments += [
        "--steps",
        "2",
        "--guidance",
        "1",
        "--sampler",
        "euler",
        "--device",
        "cpu",
        "--precision",
        "no",
        "--json",
    ]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["pictures"], told["drawn"]) == (2, 2)
    assert Path(told["folder"]).is_dir()


def test_the_command_needs_a_base_or_a_folder(tmp_path: Path) -> None:
    from maquette.cli.regularize import command

    done = CliRunner().invoke(command, ["--out", str(tmp_path / "reg"), "--class-word", "dog"])
    assert done.exit_code == 2
    assert "--from DIR" in done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose profile alone says the class word, with pictures beside it."""
    images = make_pictures(tmp_path / "my pictures", [(64, 64)] * 2)
    root = tmp_path / "my project"
    root.mkdir()
    (root / "maquette.toml").write_text(
        f'[model]\nbase = "{base_path()}"\n[dataset]\nimages = "../my pictures"\n'
    )
    (root / "profile.toml").write_text('kind = "object"\ntrigger = "zkw_pot"\nclass_word = "teapot"\n')
    others = make_pictures(tmp_path / "others", [(64, 64)] * 3)
    for caption in [*images.glob("*.txt"), *others.glob("*.txt")]:
        caption.write_text("a teapot")
    return root


def test_the_class_word_is_the_profile_s_and_what_is_printed_can_be_pasted(
    project: Path, tmp_path: Path
) -> None:
    from maquette.cli.app import maquette
    from maquette.project.config_file import load_settings

    out = tmp_path / "reg of 'pots'"
    done = CliRunner().invoke(
        maquette, ["regularize", "--from", str(tmp_path / "others"), "--for", str(project), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "of “teapot”" in done.output and (out / "1_teapot").is_dir()
    setting = next(
        line.strip() for line in done.output.splitlines() if line.strip().startswith("regularization =")
    )
    config = project / "maquette.toml"
    config.write_text(config.read_text() + setting + "\n")
    assert load_settings(project).dataset.regularization.resolve() == out.resolve()
    command = next(line for line in done.output.splitlines() if line.startswith("or once:")).partition(
        "maquette "
    )[2]
    planned = CliRunner().invoke(maquette, ["plan", *shlex.split(command)[1:], "--no-measure"])
    assert planned.exit_code == 0 and "regularization items" in planned.output, planned.output


def test_a_profile_by_the_folder_of_the_pictures_is_found(project: Path, tmp_path: Path) -> None:
    made = run_stage(
        regularize_events(None, RegularizeOptions(out=project / "reg", source=tmp_path / "others"))
    )
    assert made.class_word == "teapot"


@pytest.mark.parametrize("place", [".maquette/thumbnails", ".curation/sheets"])
def test_our_hidden_folders_are_no_source(project: Path, tmp_path: Path, place: str) -> None:
    hidden = tmp_path / "others" / place
    hidden.parent.mkdir(parents=True, exist_ok=True)
    make_pictures(hidden, [(64, 64)] * 2)
    options = {"class_word": "teapot", "out": tmp_path / "reg"}
    for source in (hidden, hidden.parent):
        with pytest.raises(ConfigError, match="Maquette's own folder"):
            run_stage(regularize_events(None, RegularizeOptions(source=source, **options)))
    made = run_stage(regularize_events(None, RegularizeOptions(source=tmp_path / "others", **options)))
    assert made.pictures == 3, "hidden folders below a source are passed over"


def test_the_subject_itself_is_no_class_picture(project: Path, tmp_path: Path) -> None:
    own = RegularizeOptions(source=tmp_path / "my pictures", dataset=project, out=tmp_path / "reg")
    with pytest.raises(ConfigError, match="own pictures"):
        run_stage(regularize_events(None, own))
    (tmp_path / "others" / "p1.txt").write_text("zkw_pot, front view")
    named = RegularizeOptions(source=tmp_path / "others", dataset=project, out=tmp_path / "reg")
    with pytest.raises(ConfigError, match="zkw_pot"):
        run_stage(regularize_events(None, named))
    assert not (tmp_path / "reg").exists()
