"""Faults and close calls of captions."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from maquette.families.common.tokenizer import clip_tokenizer
from maquette.world.attributes import Character
from maquette.world.renderer import render
from tests.planted.case import Case, close_call, fault
from tests.planted.clean import SIZE_PX, TRIGGER, VIEWS, scenes

STYLE = """kind = "style"
trigger = "zkw_fox"
style = ["flat cartoon"]
varies = ["pose", "view", "background"]
"""


def text_of(case: Case, index: int) -> str:
    return case.pictures[index].with_suffix(".txt").read_text(encoding="utf-8")


def add(case: Case, index: int, words: str) -> None:
    """Put words behind the caption of one picture."""
    case.caption(index, f"{text_of(case, index)}, {words}")


def of_view(case: Case, view: str) -> int:
    """Return the first picture that is captioned with this view."""
    return next(index for index in range(len(case.pictures)) if VIEWS[view] in text_of(case, index))


def tokens(text: str) -> int:
    return len(clip_tokenizer().encode(text))


# --- files -----------------------------------------------------------------------------------------------


@fault("CAP001", "one picture has no caption")
def caption_missing(case: Case) -> None:
    case.pictures[4].with_suffix(".txt").unlink()


@close_call("CAP001", "a face crop shares the caption of its picture, as sd-scripts finds it")
def caption_of_a_crop(case: Case) -> None:
    picture = case.pictures[4]
    picture.rename(picture.with_name(f"{picture.stem}_10_20_64_64.png"))


@fault("CAP002", "a caption is blank")
def caption_blank(case: Case) -> None:
    case.caption(2, " \n")


@close_call("CAP002", "a caption has blanks around it")
def caption_with_blanks(case: Case) -> None:
    case.caption(2, f"  {text_of(case, 2)}  \n")


@fault("CAP003", "a caption outlives its picture")
def caption_orphaned(case: Case) -> None:
    (case.pictures[0].parent / "fox_99.txt").write_text(text_of(case, 0), encoding="utf-8")


@close_call("CAP003", "notes lie beside the pictures, with another ending")
def notes_beside(case: Case) -> None:
    (case.pictures[0].parent / "notes.md").write_text("drawn in March", encoding="utf-8")


@fault("CAP004", "a caption was saved as Windows-1252")
def caption_in_ansi(case: Case) -> None:
    path = case.pictures[1].with_suffix(".txt")
    path.write_bytes(f"{text_of(case, 1)}, outside a café".encode("cp1252"))


@close_call("CAP004", "a caption has an accent and is UTF-8")
def caption_with_accent(case: Case) -> None:
    add(case, 1, "outside a café")


@fault("CAP005", "a caption begins with a byte order mark")
def caption_with_mark(case: Case) -> None:
    path = case.pictures[5].with_suffix(".txt")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@close_call("CAP005", "a caption was saved on Windows without a mark")
def caption_with_windows_ending(case: Case) -> None:
    case.pictures[5].with_suffix(".txt").write_bytes(text_of(case, 5).encode() + b"\r\n")


@fault("CAP006", "a caption goes on in a second line")
def caption_of_two_lines(case: Case) -> None:
    case.caption(6, f"{text_of(case, 6)}\nhe looks tired\n")


@close_call("CAP006", "blank lines follow a caption")
def caption_with_blank_lines(case: Case) -> None:
    case.caption(6, f"{text_of(case, 6)}\n\n  \n")


@fault("CAP029", "one caption stands for all twenty pictures", start="project")
def one_caption_for_all(case: Case) -> None:
    for picture in case.pictures:
        picture.with_suffix(".txt").unlink()
    case.edit(case.config, 'images = "images"\n', f'images = "images"\ncaption_fallback = "{TRIGGER}"\n')


@close_call("CAP029", "a caption for all is given, and every picture has its own", start="project")
def fallback_unused(case: Case) -> None:
    case.edit(case.config, 'images = "images"\n', f'images = "images"\ncaption_fallback = "{TRIGGER}"\n')


@fault("CAP030", "two pictures differ only in their ending")
def twins(case: Case) -> None:
    picture, other = case.pictures[8], case.pictures[9]
    with Image.open(picture) as image:
        image.convert("RGB").save(other.with_suffix(".bmp"))
    picture.unlink()
    picture.with_suffix(".txt").unlink()


@close_call("CAP030", "a face crop shares the caption of the picture it was cut from")
def crop_beside_its_picture(case: Case) -> None:
    picture, other = case.pictures[8], case.pictures[9]
    picture.rename(other.with_name(f"{other.stem}_10_20_64_64.png"))
    picture.with_suffix(".txt").unlink()


@fault("CAP031", "parts are kept in front, and nothing is shuffled")
def kept_and_not_shuffled(case: Case) -> None:
    case.edit(case.script, "  --shuffle_caption \\\n", "")


@close_call("CAP031", "parts are kept in front of those that are dropped")
def kept_and_dropped(case: Case) -> None:
    case.edit(case.script, "  --shuffle_caption \\\n", "  --caption_tag_dropout_rate=0.1 \\\n")


# --- the trigger -----------------------------------------------------------------------------------------


@fault("CAP007", "one caption lacks the trigger")
def trigger_absent(case: Case) -> None:
    case.caption(3, text_of(case, 3).removeprefix(f"{TRIGGER}, "))


@fault("CAP007", "one caption has the trigger misspelt")
def trigger_misspelt(case: Case) -> None:
    case.caption(3, text_of(case, 3).replace(TRIGGER, "zkw fox"))


@close_call("CAP007", "the trigger is in capitals, which the tokenizer lowers")
def trigger_in_capitals(case: Case) -> None:
    case.caption(3, text_of(case, 3).replace(TRIGGER, TRIGGER.upper()))


@fault("CAP008", "the trigger stands at the end of one caption", start="folder")
def trigger_last(case: Case) -> None:
    case.caption(3, f"{text_of(case, 3).removeprefix(f'{TRIGGER}, ')}, {TRIGGER}")


@close_call("CAP008", "the trigger stands in the first part, behind an article", start="folder")
def trigger_behind_article(case: Case) -> None:
    case.caption(3, f"a drawing of {text_of(case, 3)}")


@fault("CAP009", "captions are shuffled, nothing keeps the trigger in front")
def trigger_unprotected(case: Case) -> None:
    case.edit(case.script, "  --keep_tokens=1 \\\n", "")


@fault("CAP009", "a dataset TOML shuffles without keep_tokens", start="toml")
def trigger_unprotected_in_toml(case: Case) -> None:
    case.edit(case.toml, "keep_tokens = 1\n", "")


@close_call("CAP009", "nothing is kept, and nothing is shuffled")
def nothing_shuffled(case: Case) -> None:
    case.edit(case.script, "  --shuffle_caption \\\n  --keep_tokens=1 \\\n", "")


def _renamed(case: Case, trigger: str) -> None:
    assert case.profile is not None
    case.edit(case.profile, f'"{TRIGGER}"', f'"{trigger}"')
    case.all_captions(lambda text: text.replace(TRIGGER, trigger))


@fault("CAP010", "the trigger is a name that the base model knows")
def trigger_known(case: Case) -> None:
    _renamed(case, "luca")


@fault("CAP010", "the trigger is two ordinary words")
def trigger_of_words(case: Case) -> None:
    _renamed(case, "red_fox")


@close_call("CAP010", "an invented trigger has a real word in it")
def trigger_partly_known(case: Case) -> None:
    _renamed(case, "spyke_plasma_v1")


@fault("CAP007", "no profile names the trigger, and one caption lacks the folder's word")
def guessed_trigger_absent(case: Case) -> None:
    _without_profile(case)
    trigger_absent(case)


@close_call("CAP007", "no profile names a trigger, and the folder is named after what it is")
def nothing_to_guess(case: Case) -> None:
    _without_profile(case)
    folder = case.pictures[0].parent
    folder.rename(folder.with_name("10_fox"))
    case.pictures = sorted(folder.with_name("10_fox").glob("*.png"))
    case.all_captions(lambda text: text.replace(f"{TRIGGER}, ", "fox, "))
    for index in (3, 7, 11):
        case.caption(index, text_of(case, index).removeprefix("fox, "))
    case.edit(case.script, "  --shuffle_caption \\\n  --keep_tokens=1 \\\n", "")


def _without_profile(case: Case) -> None:
    assert case.profile is not None
    case.profile.unlink()
    case.profile = None


@fault("CAP007", "the settings name a trigger that one caption lacks", start="project")
def trigger_of_the_settings_absent(case: Case) -> None:
    _without_profile(case)
    trigger_absent(case)


@fault("CAP010", "the settings name a trigger that the base model knows", start="project")
def trigger_of_the_settings_known(case: Case) -> None:
    _without_profile(case)
    case.edit(case.config, f'trigger = "{TRIGGER}"', 'trigger = "luca"')
    case.all_captions(lambda text: text.replace(TRIGGER, "luca"))


# --- what captions say of the subject --------------------------------------------------------------------


@fault("CAP011", "one caption names the hair")
def appearance_named(case: Case) -> None:
    add(case, 0, "spiky red hair")


@fault("CAP011", "one caption names the hair in other words")
def appearance_paraphrased(case: Case) -> None:
    add(case, 0, "a ginger-haired boy")


@close_call("CAP011", "hair that does something is pose")
def hair_in_the_wind(case: Case) -> None:
    add(case, 0, "hair blowing in the wind")


@fault("CAP012", "one caption gives another hair colour")
def appearance_contradicted(case: Case) -> None:
    add(case, 0, "blonde hair")


@close_call("CAP012", "a colour of something the profile does not name")
def colour_of_the_eyes(case: Case) -> None:
    add(case, 0, "brown eyes")


@fault("CAP013", "the glove is on the wrong hand in one caption")
def wrong_side(case: Case) -> None:
    index = of_view(case, "front")
    case.caption(index, text_of(case, index).replace("right hand", "left hand"))


@close_call("CAP013", "the other hand does something")
def other_hand(case: Case) -> None:
    add(case, of_view(case, "front"), "left hand raised, looking left")


@fault("CAP014", "the glove has no side in one caption")
def side_not_said(case: Case) -> None:
    index = of_view(case, "front")
    case.caption(index, text_of(case, index).replace("right hand green glove", "green glove"))


@close_call("CAP014", "the side follows in prose")
def side_in_prose(case: Case) -> None:
    index = of_view(case, "front")
    said = text_of(case, index).replace("right hand green glove", "wearing a green glove on the right hand")
    case.caption(index, said)


@fault("CAP015", "a back view names the glove")
def detail_not_in_view(case: Case) -> None:
    add(case, of_view(case, "back"), "right hand green glove")


@close_call("CAP015", "the glove is named where no view is")
def detail_without_view(case: Case) -> None:
    index = of_view(case, "front")
    case.caption(index, text_of(case, index).replace("front view, ", ""))


@fault("CAP016", "a full-body front view leaves the glove out")
def detail_missing(case: Case) -> None:
    index = of_view(case, "front")
    case.caption(index, text_of(case, index).replace(", right hand green glove", ""))


@close_call("CAP016", "a close-up of the face leaves the glove out")
def detail_out_of_frame(case: Case) -> None:
    case.caption(of_view(case, "front"), f"{TRIGGER}, closeup face, front view, laughing, gray background")


@fault("CAP017", "a back view smiles")
def face_from_behind(case: Case) -> None:
    add(case, of_view(case, "back"), "smiling")


@close_call("CAP017", "a back view smiles over the shoulder")
def face_over_shoulder(case: Case) -> None:
    add(case, of_view(case, "back"), "looking back over his shoulder, smiling")


# --- the text itself -------------------------------------------------------------------------------------


@fault("CAP018", "one picture is by day and by night")
def contradiction(case: Case) -> None:
    add(case, 0, "day, night sky")


@close_call("CAP018", "somebody else sits")
def no_contradiction(case: Case) -> None:
    add(case, 0, "standing next to a sitting dog")


@fault("CAP019", "a part is there twice, spelled otherwise")
def part_twice(case: Case) -> None:
    add(case, 0, "full_body")


@close_call("CAP019", "a part is there again with more in it")
def part_with_more(case: Case) -> None:
    add(case, 0, "standing on one leg")


def _filled(case: Case, index: int, count: int) -> str:
    """Return a caption of exactly `count` tokens."""
    words = "grass tree river stone bridge cloud path fence field lake hill house road leaf rain snow fog wind sun star sand ship"
    text = text_of(case, index)
    for word in [*words.split(), *(f"wooden {word}" for word in words.split())]:
        longer = f"{text}, {word}"
        text = longer if tokens(longer) <= count else text
    while tokens(text) < count:
        text = f"{text} far"
    return text


@fault("CAP020", "one caption has 76 tokens")
def caption_too_long(case: Case) -> None:
    case.caption(0, _filled(case, 0, 76))


@close_call("CAP020", "one caption has exactly 75 tokens")
def caption_just_fits(case: Case) -> None:
    case.caption(0, _filled(case, 0, 75))


@fault("CAP021", "every caption says the same")
def all_the_same(case: Case) -> None:
    case.all_captions(lambda text: f"{TRIGGER}, anime character")


@close_call("CAP021", "two captions say the same")
def two_the_same(case: Case) -> None:
    case.caption(1, text_of(case, 0))


@fault("CAP022", "all captions share a part")
def part_in_all(case: Case) -> None:
    case.all_captions(lambda text: f"{text}, soft light")


@close_call("CAP022", "nine in ten captions share a part")
def part_in_most(case: Case) -> None:
    for index in range(18):
        add(case, index, "soft light")


def _style(case: Case) -> None:
    assert case.profile is not None
    case.profile.write_text(STYLE, encoding="utf-8")
    case.all_captions(lambda text: f"flat cartoon, {text}")


@fault("CAP023", "one caption of a style has its words at the end")
def style_last(case: Case) -> None:
    _style(case)
    case.caption(0, f"{text_of(case, 0).removeprefix('flat cartoon, ')}, flat cartoon, soft light")


@close_call("CAP023", "the trigger stands before the style's words")
def style_behind_trigger(case: Case) -> None:
    _style(case)
    case.caption(0, f"{TRIGGER}, flat cartoon, full body, soft light")


def _few_colours(case: Case, index: int) -> str:
    """Redraw a picture with twelve colours; return one of them."""
    path = case.pictures[index]
    with Image.open(path) as picture:
        drawn = picture.convert("RGB").quantize(12, dither=Image.Dither.NONE).convert("RGB")
    drawn.save(path)
    return "#{:02x}{:02x}{:02x}".format(*drawn.getpixel((SIZE_PX // 2, SIZE_PX // 2)))


@fault("CAP024", "a caption names a colour that its picture does not have")
def foreign_colour(case: Case) -> None:
    _few_colours(case, 0)
    add(case, 0, "a lamp (#00ffd0)")


@close_call("CAP024", "a caption names a colour of its picture")
def own_colour(case: Case) -> None:
    add(case, 0, f"a lamp ({_few_colours(case, 0)})")


@fault("CAP025", "a captioning model refused")
def refusal(case: Case) -> None:
    case.caption(0, f"{TRIGGER}, I'm sorry, but I can't help with identifying people.")


@fault("CAP025", "a captioning model introduced its answer")
def introduction(case: Case) -> None:
    case.caption(0, f"The image shows {TRIGGER}, full body, arms up")


@close_call("CAP025", "a picture hangs in the picture")
def picture_in_picture(case: Case) -> None:
    add(case, 0, "a picture on the wall shows a cat")


@fault("CAP026", "two commas in a row")
def stray_commas(case: Case) -> None:
    case.caption(0, text_of(case, 0).replace(", ", ",, ", 1))


@close_call("CAP026", "a comma at the end")
def trailing_comma(case: Case) -> None:
    case.caption(0, f"{text_of(case, 0)},")


def _regularization(case: Case, words: str) -> None:
    """Give a project eight pictures of another character, captioned with `words`."""
    folder = case.folder / "regularization"
    folder.mkdir()
    other = Character(hair_style="long", hair_color="blue", skin="tan", top_color="yellow", bottom_kind="skirt",
                      bottom_color="red")  # fmt: skip
    for index, scene in enumerate(list(scenes())[:8]):
        path: Path = folder / f"class_{index}.png"
        render(other, scene, SIZE_PX).save(path)
        path.with_suffix(".txt").write_text(f"{words}, {VIEWS[scene.view]}, {scene.pose}", encoding="utf-8")
    case.edit(case.config, 'images = "images"\n', 'images = "images"\nregularization = "regularization"\n')


@fault("CAP027", "regularization pictures are captioned with the trigger", start="project")
def trigger_in_regularization(case: Case) -> None:
    _regularization(case, f"{TRIGGER}, anime character")


@close_call("CAP027", "regularization pictures are captioned with the class", start="project")
def class_in_regularization(case: Case) -> None:
    _regularization(case, "anime character")


@fault("CAP028", "a dataset TOML that leaves .txt captions unread", start="toml")
def ending_not_said(case: Case) -> None:
    case.edit(case.toml, 'caption_extension = ".txt"\n', "")


@fault("CAP028", "a command line without --caption_extension")
def ending_not_said_in_a_script(case: Case) -> None:
    case.edit(case.script, '  --caption_extension=".txt" \\\n', "")


@close_call("CAP028", "no ending said, and captions that end in .caption", start="toml")
def ending_by_default(case: Case) -> None:
    case.edit(case.toml, 'caption_extension = ".txt"\n', "")
    for picture in case.pictures:
        picture.with_suffix(".txt").rename(picture.with_suffix(".caption"))


@fault("CAP032", "the project names another trigger than the profile", start="project")
def other_trigger(case: Case) -> None:
    case.edit(case.config, f'trigger = "{TRIGGER}"', 'trigger = "qqv_wolf"')


@fault("CAP032", "the project names another class word than the profile", start="project")
def other_class_word(case: Case) -> None:
    case.edit(case.config, 'class_word = "anime character"', 'class_word = "wolf"')


@close_call("CAP032", "the project leaves the trigger to the profile", start="project")
def trigger_in_the_profile(case: Case) -> None:
    case.edit(case.config, f'trigger = "{TRIGGER}"', "")


# --- other languages than a caption's --------------------------------------------------------------------


@fault("CAP033", "brackets are escaped")
def brackets_escaped(case: Case) -> None:
    add(case, 0, r"a drawing \(sketch\)")


@fault("CAP033", "a word has a weight")
def word_weighted(case: Case) -> None:
    add(case, 0, "(arms raised:1.2)")


@fault("CAP033", "a LoRA is called")
def lora_called(case: Case) -> None:
    add(case, 0, "<lora:other:0.8>")


@close_call("CAP033", "emoticons, brackets, a time and a ratio")
def emoticons(case: Case) -> None:
    add(case, 0, ":d, >_<, a poster (torn), at 10:30, 16:9")


@close_call("CAP033", "weights that the trainer reads")
def weights_read(case: Case) -> None:
    case.edit(case.script, "  --sdpa \\\n", "  --sdpa \\\n  --weighted_captions \\\n")
    add(case, 0, r"(arms raised:1.2), a drawing \(sketch\)")


@fault("CAP034", "a choice without wildcards")
def choice_idle(case: Case) -> None:
    add(case, 0, "{day|dusk}")


@close_call("CAP034", "a choice with wildcards switched on")
def choice_made(case: Case) -> None:
    case.edit(case.script, "  --sdpa \\\n", "  --sdpa \\\n  --enable_wildcard \\\n")
    add(case, 0, "{day|dusk}")


@fault("CAP035", "one caption has full-width commas")
def full_width(case: Case) -> None:
    add(case, 0, "soft light，dusk")


@close_call("CAP035", "a title with a full-width letter")
def full_width_letter(case: Case) -> None:
    add(case, 0, "a sign that says ＦＯＸ")


@fault("CAP036", "a line break was written as two letters")
def line_break_escaped(case: Case) -> None:
    case.caption(0, rf"{text_of(case, 0)}\nsoft light")


@fault("CAP036", "an entity of a web page")
def entity(case: Case) -> None:
    add(case, 0, "a cat &amp; a dog")


@close_call("CAP036", "an ampersand and a gesture")
def ampersand(case: Case) -> None:
    add(case, 0, r"a cat & a dog, \n/")
