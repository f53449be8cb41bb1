"""Sources that need no model, and the tagger on a real ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maquette.captioning.options import SourceOptions
from maquette.captioning.records import Target
from maquette.captioning.sources.opening import open_sources
from maquette.captioning.sources.palette import background_of, colour_word
from maquette.captioning.sources.source import Ask, Context, Source
from maquette.captioning.sources.tagger import pixels_for, spoken
from maquette.captioning.sources.template import fill, from_names, read_table
from maquette.captioning.strategies import STRATEGIES
from maquette.dataset.config import SubsetSource
from maquette.errors import ConfigError, ModelError
from maquette.words.phrases import slot_of
from tests.captioning.common import PUNK, SPYKE, caption, make_folder
from tests.conftest import shared_data


def opened(spec: str, strategy: str = "character", **options: Any) -> Source:
    subject = PUNK if strategy == "style" else SPYKE
    context = Context(
        strategy=STRATEGIES[strategy], profile=subject, options=SourceOptions(**options), root=Path()
    )
    return open_sources([spec], context)


def ask(picture: Path) -> Ask:
    subset = SubsetSource(path=picture.parent)
    return Ask(
        target=Target(
            picture=picture,
            name=picture.name,
            caption=picture.with_suffix(".txt"),
            existing="",
            subset=subset,
        )
    )


@pytest.mark.parametrize(
    ("name", "folder", "values"),
    [
        ("spyke_plasma_v1_full-body_front_standing.png", "10_spyke_plasma_v1",
         {"framing": "full body", "view": "front view", "pose": "standing"}),
        ("003_full_body_side_profile.png", "p", {"framing": "full body", "view": "side profile"}),
        ("closeup_face_angry_012.png", "p", {"framing": "closeup face", "expression": "angry"}),
        ("back.png", "white_background", {"view": "back view", "background": "white background"}),
        ("IMG_0001.png", "p", {}),
    ],
)  # fmt: skip
def test_names_say_what_a_picture_shows(name: str, folder: str, values: dict[str, str]) -> None:
    found = from_names(ask(Path(folder) / name).target, SPYKE)
    assert {field: text for field, text in found.items() if field != "words"} == values


def test_parts_of_a_template_without_value_are_left_out() -> None:
    values = {"trigger": "zkw", "pose": "standing", "n": ""}
    assert fill("{trigger}, {view}, {pose} {n}, photo, on {place}", values) == "zkw, standing, photo"
    assert fill("{trigger}: {pose}", values) == "zkw: standing"


def test_a_table_fills_its_columns(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": None, "b.png": None, "c.png": None})
    table = tmp_path / "t.csv"
    table.write_text("file;pose;outfit\na.png;standing;armour\nb;sitting;\n", encoding="utf-8-sig")
    options = SourceOptions(template="{trigger}, {pose}, in {outfit}", table=table)
    result = caption(root, source="template", options=options)
    assert result.captions == {
        "a.png": "spyke_plasma_v1, standing, in armour",
        "b.png": "spyke_plasma_v1, sitting",
    }
    assert "no row" in result.refused["c.png"][0]


def test_a_table_without_a_file_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("pose,view\nstanding,front\n")
    with pytest.raises(ConfigError, match="file"):
        read_table(tmp_path / "t.csv")


def test_a_template_adds_the_details_that_its_view_shows(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"full-body_side.png": None, "full-body_back.png": None})
    assert caption(root, source="template").captions == {
        "full-body_back.png": "spyke_plasma_v1, full body, back view",
        "full-body_side.png": "spyke_plasma_v1, full body, side view, right knee metal pauldron",
    }


def test_a_template_that_names_the_appearance_is_refused_under_the_character_strategy(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"front.png": None})
    options = SourceOptions(template="{trigger}, ginger hair, {view}")
    assert (
        "what the trigger should carry"
        in caption(root, source="template", options=options).refused["front.png"][0]
    )


def test_the_palette_is_the_pictures_own(tmp_path: Path) -> None:
    pixels = np.zeros((24, 24, 3), np.uint8)
    pixels[:] = (0xA0, 0xB1, 0xA6)
    pixels[6:18, 6:18] = (0x4F, 0x25, 0x26)
    Image.fromarray(pixels).resize((512, 512), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    (answer,) = opened("palette", "style").ask([ask(tmp_path / "a.png")])
    assert answer.text == "grey background (#a0b1a6), palette: #a0b1a6, #4f2526"


def test_what_a_caption_says_of_the_background_is_not_said_again(tmp_path: Path) -> None:
    root = make_folder(
        tmp_path / "p", {"a.png": "portrait, brick wall background", "b.png": "portrait"}, PUNK
    )
    for name in ("a", "b"):
        Image.new("RGB", (64, 64), (0x80, 0x20, 0x20)).save(root / f"{name}.png")
    result = caption(root, strategy="style", source=["rewrite", "palette"])
    start = "pixel art, 24x24, bespoke punk, portrait, "
    assert result.captions == {
        "a.png": f"{start}brick wall background, palette: #802020",
        "b.png": f"{start}dark red background (#802020), palette: #802020",
    }


def test_a_border_of_many_colours_is_no_background() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert background_of(Image.fromarray(noise)) is None
    assert background_of(Image.new("RGB", (64, 64), "#102030")) == (0x10, 0x20, 0x30)


@pytest.mark.parametrize(
    ("colour", "word"),
    [((255, 255, 255), "white"), ((10, 8, 12), "black"), ((200, 30, 30), "red"), ((130, 130, 128), "grey"),
     ((40, 90, 210), "blue")],
)  # fmt: skip
def test_colours_have_their_usual_word(colour: tuple[int, int, int], word: str) -> None:
    assert colour_word(colour) == word


def test_real_pixel_portraits_get_palettes_of_their_own_colours() -> None:
    folder = shared_data("pixel_portraits/10_bespoke_punk")
    for picture in sorted(folder.glob("*.png"))[:4]:
        (answer,) = opened("palette", "style").ask([ask(picture)])
        with Image.open(picture) as image:
            own = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in image.convert("RGB").getcolors(2**20)}
        named = set(answer.text.partition("palette: ")[2].split(", "))
        assert len(named) == 5 and named <= own


TAGS = [
    ("1boy", 0),
    ("long_hair", 0),
    ("standing", 0),
    ("hero_(film)", 4),
    ("^_^", 0),
    ("outdoors", 0),
    ("general", 9),
]


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.captioning.tiny_models import write_tagger

    return write_tagger(tmp_path / "tagger", TAGS)


def test_the_tagger_reads_blue_green_red_at_448_px(tagger: Path, tmp_path: Path) -> None:
    """Its outputs 0, 3, 6 answer to blue, 1 and 4 to green, 2 and 5 to red: the order of the channels shows."""
    paths = []
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (100, 100), colour).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    source = opened("wd", "style", model=str(tagger), batch_size=2)
    answers = source.ask([ask(path) for path in paths])
    assert [answer.text for answer in answers] == [
        "outdoors, standing",
        "^_^, long hair",
        "hero (film), 1boy",
    ]


def test_named_characters_are_left_to_the_trigger(tagger: Path, tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), (0, 0, 255)).save(tmp_path / "a.png")
    (answer,) = opened("wd", "character", model=str(tagger)).ask([ask(tmp_path / "a.png")])
    assert answer.text == "1boy"


def test_a_tagged_folder_has_the_looks_taken_out(tagger: Path, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": None, "b.png": None})
    Image.new("RGB", (64, 64), (255, 255, 0)).save(root / "a.png")
    Image.new("RGB", (64, 64), (255, 0, 0)).save(root / "b.png")
    (root / "c.png").write_bytes(b"no picture")
    result = caption(root, source=f"wd:{tagger}")
    assert result.captions == {
        "a.png": "spyke_plasma_v1, standing, ^_^, outdoors",
        "b.png": "spyke_plasma_v1, standing, outdoors",
    }
    assert "not a picture" in result.refused["c.png"][0]


def test_thresholds_decide_what_is_said(tagger: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (120, 0, 0)).save(tmp_path / "a.png")
    (low,) = opened("wd", model=str(tagger), threshold=0.3).ask([ask(tmp_path / "a.png")])
    (high,) = opened("wd", model=str(tagger), threshold=0.5).ask([ask(tmp_path / "a.png")])
    assert low.text == "outdoors, standing" and high.text == ""


def test_pictures_are_padded_with_white_to_a_square() -> None:
    pixels = pixels_for(Image.new("RGB", (100, 50), (255, 0, 0)), 448)
    assert pixels.shape == (448, 448, 3) and pixels.dtype == np.float32
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[224, 224].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("tag", "text"),
    [("long_hair", "long hair"), ("^_^", "^_^"), ("o_o", "o_o"), ("v-neck", "v-neck"), ("1boy", "1boy")],
)
def test_underscores_of_words_become_spaces(tag: str, text: str) -> None:
    assert spoken(tag) == text


def test_a_model_that_is_not_there_or_not_one_is_refused(tagger: Path, tmp_path: Path) -> None:
    for name in ("./nowhere", str(tmp_path)):
        with pytest.raises(ModelError, match=r"selected_tags\.csv"):
            opened("wd", model=name)
    (tagger / "selected_tags.csv").write_text("tag_id,name,category,count\n0,1boy,0,1\n")
    with pytest.raises(ModelError, match="7 outputs and 1 tags"):
        opened("wd", model=str(tagger))


@pytest.mark.parametrize(
    ("part", "slot"),
    [
        ("full body", "framing"), ("from behind", "view"), ("standing neutral", "pose"), ("holding sword", "pose"),
        ("smirk expression", "expression"), ("white background", "background"), ("orange hair", "looks"),
        ("white cape", "clothes"), ("1boy", "people"), ("sharp pixel edges", "finish"), ("soft lighting", "light"),
        ("palette: #aabbcc, #ddeeff", "palette"), ("light male skin tone", "looks"), ("hair blowing in the wind", "other"),
        ("looking at viewer", "expression"), ("in a forest", "background"), ("closed eyes", "expression"),
    ],
)  # fmt: skip
def test_parts_are_known_by_their_words(part: str, slot: str) -> None:
    assert slot_of(part) == slot
