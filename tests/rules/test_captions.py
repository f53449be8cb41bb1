"""Caption rules on datasets as they lie on disk: the character and style sets of the field notes, and their faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maquette.checking.fixing import apply_fixes
from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.subject_guess import subject_of
from maquette.families.common.tokenizer import clip_tokenizer
from maquette.findings.records import Finding, WriteText
from maquette.findings.registry import RULES, run_rules
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.rules import caption_syntax as rules_caption_syntax
from maquette.rules import caption_texts as rules_caption_texts
from maquette.rules import caption_words as rules_caption_words
from maquette.rules import captions as rules_captions
from maquette.rules import triggers as rules_triggers
from maquette.words.reading import TokenCounter
from tests.conftest import shared_data
from tests.dataset.making import facts_of
from tests.words.test_reading import GEAR, SPYKE

MODULES = {
    module.__name__
    for module in (
        rules_captions,
        rules_caption_syntax,
        rules_caption_texts,
        rules_triggers,
        rules_caption_words,
    )
}
OURS = [each for _, each in sorted(RULES.items()) if each.function.__module__ in MODULES]
PUNK = Profile(kind="style", trigger="bespoke punk", style=("pixel art", "24x24"))
LOOKS = "ginger hair, red bandana, green eyes, white sleeveless cloak"

Check = Callable[..., list[Finding]]


def counter() -> TokenCounter:
    tokenizer = clip_tokenizer()
    words = {number: token.removesuffix("</w>") for token, number in tokenizer.vocabulary.items()}
    return TokenCounter(
        count=lambda text: len(tokenizer.encode(text)),
        pieces=lambda text: [words[number] for number in tokenizer.encode(text)],
    )


def check(
    root: Path,
    profile: Profile | None = SPYKE,
    *,
    request: TrainingRequest | None = None,
    measure: bool = False,
    **options: Any,
) -> list[Finding]:
    """Return what the caption rules find at `root`."""
    facts: dict[type, Any] = {
        DatasetFacts: facts_of(root, "measures" if measure else "hashes", **options),
        TokenCounter: counter(),
    }
    subject = subject_of(profile, request, facts[DatasetFacts], facts[TokenCounter])
    for fact in (profile, request, subject):
        if fact is not None:
            facts[type(fact)] = fact
    return run_rules(OURS, facts)[0]


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def only(findings: list[Finding], code: str) -> Finding:
    found = [finding for finding in findings if finding.code == code]
    assert len(found) == 1, findings
    return found[0]


def folder_of(parent: Path, captions: dict[str, str], name: str = "10_spyke_plasma_v1") -> Path:
    """Write stand-in pictures with these captions into parent/name; return the parent."""
    folder = parent / name
    folder.mkdir(parents=True)
    for index, (stem, text) in enumerate(captions.items()):
        pixels = np.random.default_rng(index).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{stem}.png")
        (folder / f"{stem}.txt").write_text(text, encoding="utf-8")
    return parent


def spyke_captions() -> dict[str, str]:
    paths = sorted(shared_data("spyke_captions").glob("*.txt"))
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture
def spyke(tmp_path: Path) -> Path:
    """The fifteen real captions of the character's third run, with stand-in pictures."""
    return folder_of(tmp_path / "train", spyke_captions())


# --- real sets: what is found is true --------------------------------------------------------------------


def test_the_third_runs_captions_deserve_one_hint_alone(spyke: Path) -> None:
    """All fifteen pictures are on white, which is so."""
    finding = only(check(spyke), "CAP022")
    assert len(check(spyke)) == 1
    assert finding.severity == "hint" and "'white background' (15)" in finding.message
    kept = SubsetOptions(caption_extension=".txt", shuffle_caption=True, keep_tokens=1)
    assert codes(check(spyke, trainer="sd-scripts", options=kept)) == ["CAP022"]


def test_the_second_runs_captions_name_what_the_trigger_should_carry(tmp_path: Path) -> None:
    detailed = {
        stem: text.replace("spyke_plasma_v1,", f"spyke_plasma_v1, {LOOKS},")
        for stem, text in spyke_captions().items()
    }
    root = folder_of(tmp_path / "v2", detailed)
    finding = only(check(root), "CAP011")
    assert "15 of 15 captions name" in finding.message
    for phrase in LOOKS.split(", "):
        assert f"'{phrase}' (15)" in finding.message
    assert finding.fix is not None
    written = {edit.path.stem: edit.text for edit in finding.fix.edits if isinstance(edit, WriteText)}
    assert written == spyke_captions(), "the repair gives the third run's captions"


def test_the_first_runs_swapped_sides_are_errors(tmp_path: Path) -> None:
    swap = {"right arm red": "left arm red", "left arm red": "right arm red"}
    mixed = {}
    for stem, text in spyke_captions().items():
        pieces = [next((swap[k] + p[len(k) :] for k in swap if p.startswith(k)), p) for p in text.split(", ")]
        mixed[stem] = ", ".join(pieces)
    finding = only(check(folder_of(tmp_path / "v1", mixed)), "CAP013")
    assert finding.severity == "error" and finding.message.startswith("4 of 15 captions have")
    assert "'left arm red metallic bracer', 'right arm red fingerless glove'" in finding.message
    assert "Every side is swapped" not in finding.message, "the knee is right in all of them"


def test_the_pixel_portraits_have_long_captions_and_repetitions_and_no_other_fault() -> None:
    findings = check(shared_data("pixel_portraits"), PUNK, measure=True)
    assert codes(findings) == ["CAP019", "CAP020", "CAP022"]
    assert only(findings, "CAP019").message.startswith("9 of 203 captions have")
    long = only(findings, "CAP020")
    assert long.message.startswith(
        "80 of 203 captions have more than 75 tokens; lady_021_diamond.txt has 137"
    )
    assert "sharp pixel edges'" in long.message and "150" in long.remedy
    shared = only(findings, "CAP022").message
    assert "'hard color borders' (203), 'sharp pixel edges' (203)" in shared and "pixel art" not in shared


def test_the_portraits_are_read_whole_at_150_tokens() -> None:
    request = TrainingRequest(file=Path("train.sh"), trainer="sd-scripts", max_token_length=150)
    assert "CAP020" not in codes(check(shared_data("pixel_portraits"), PUNK, request=request))


def test_swapped_portraits_are_told_by_their_colour_codes(tmp_path: Path) -> None:
    """Nine captions name 34 colours, each exactly one of its picture; no other picture has them all."""
    source = shared_data("pixel_portraits") / "10_bespoke_punk"
    coded = [path for path in sorted(source.glob("*.txt")) if "#" in path.read_text(encoding="utf-8")]
    right, wrong = tmp_path / "right" / "10_punk", tmp_path / "wrong" / "10_punk"
    for folder in (right, wrong):
        folder.mkdir(parents=True)
    for index, caption in enumerate(coded):
        for folder, other in ((right, caption), (wrong, coded[index - 1])):
            shutil.copy(caption, folder / caption.name)
            shutil.copy(other.with_suffix(".png"), folder / f"{caption.stem}.png")
    assert "CAP024" not in codes(check(right.parent, PUNK, measure=True))
    assert only(check(wrong.parent, PUNK, measure=True), "CAP024").message.startswith("9 of 9 captions")


def test_photographs_without_captions_lack_them_and_nothing_else() -> None:
    finding = only(check(shared_data("photos") / "dog", None), "CAP001")
    assert finding.severity == "error" and "5 of 5 pictures" in finding.message
    (said,) = check(shared_data("photos") / "dog", None, fallback_caption="zkw dog")
    assert said.code == "CAP029" and "'zkw dog'" in said.message


# --- triggers --------------------------------------------------------------------------------------------


def test_most_captions_without_the_trigger_waste_the_run(spyke: Path) -> None:
    folder = spyke / "10_spyke_plasma_v1"
    for path in sorted(folder.glob("*.txt"))[:8]:
        path.write_text(path.read_text(encoding="utf-8").removeprefix("spyke_plasma_v1, "), encoding="utf-8")
    finding = only(check(spyke), "CAP007")
    assert finding.severity == "error" and "8 of 15" in finding.message
    apply_fixes([finding], spyke)
    assert codes(check(spyke)) == ["CAP022"]


def test_a_prefix_that_the_trainer_adds_brings_the_trigger(spyke: Path) -> None:
    for path in (spyke / "10_spyke_plasma_v1").glob("*.txt"):
        path.write_text(path.read_text(encoding="utf-8").removeprefix("spyke_plasma_v1, "), encoding="utf-8")
    added = SubsetOptions(caption_extension=".txt", caption_prefix="spyke_plasma_v1,")
    assert codes(check(spyke, options=added)) == ["CAP022"]
    assert "CAP007" in codes(check(spyke))


def test_a_misspelt_trigger_is_named_and_left_to_a_person(spyke: Path) -> None:
    path = spyke / "10_spyke_plasma_v1" / "spyke_004.txt"
    path.write_text("spyke_plasma_v2, full body, back view, white background", encoding="utf-8")
    finding = only(check(spyke), "CAP007")
    assert finding.severity == "warning" and "'spyke_plasma_v2'" in finding.message and not finding.fixable


def test_shuffling_needs_keep_tokens_with_or_without_a_profile(spyke: Path) -> None:
    loose = SubsetOptions(caption_extension=".txt", shuffle_caption=True)
    for profile in (SPYKE, None):
        finding = only(check(spyke, profile, options=loose), "CAP009")
        assert "'spyke_plasma_v1' does not stay in front in 15 captions" in finding.message
    held = replace(loose, keep_tokens_separator="|||")
    assert "CAP009" in codes(check(spyke, options=held)), "no caption has the separator"


@pytest.mark.parametrize(
    ("trigger", "is_known"),
    [("luca", True), ("spike", True), ("sks", True), ("red_fox", True), ("spyke", False), ("zkw_fox", False),
     ("spyke_plasma_v1", False), ("lcazk", False)],
)  # fmt: skip
def test_a_trigger_with_a_token_of_its_own_is_no_invented_word(
    spyke: Path, trigger: str, is_known: bool
) -> None:
    found = [finding for finding in check(spyke, replace(SPYKE, trigger=trigger)) if finding.code == "CAP010"]
    assert bool(found) == is_known
    style = replace(PUNK, trigger=trigger)
    assert "CAP010" not in codes(check(spyke, style))


# --- files -----------------------------------------------------------------------------------------------


def test_captions_in_other_encodings_are_rewritten_where_they_are_sure(spyke: Path) -> None:
    folder = spyke / "10_spyke_plasma_v1"
    texts = {
        "spyke_001": ("cp1252", "spyke_plasma_v1, full body, café"),
        "spyke_002": ("utf-16", "spyke_plasma_v1, closeup head"),
        "spyke_003": ("utf-16-le", "spyke_plasma_v1, closeup face"),
        "spyke_004": ("cp932", "spyke_plasma_v1, 白い背景と赤い手袋の少年が立っている"),
    }
    for name, (codec, text) in texts.items():
        (folder / f"{name}.txt").write_bytes(text.encode(codec))
    found = [finding for finding in check(spyke) if finding.code == "CAP004"]
    assert len(found) == 3, "one for each encoding: two of the captions are UTF-16"
    repaired = {edit.path.stem for finding in found if finding.fix is not None for edit in finding.fix.edits}
    assert repaired == {"spyke_001", "spyke_002", "spyke_003"}
    apply_fixes(found, spyke)
    assert (folder / "spyke_001.txt").read_text(encoding="utf-8") == texts["spyke_001"][1]
    assert (folder / "spyke_003.txt").read_text(encoding="utf-8") == texts["spyke_003"][1]


def test_a_repair_never_loses_further_lines(spyke: Path) -> None:
    path = spyke / "10_spyke_plasma_v1" / "spyke_001.txt"
    path.write_text("full body, front view\nsecond thoughts", encoding="utf-8")
    findings = check(spyke)
    assert {"CAP006", "CAP007"} <= set(codes(findings))
    assert not only(findings, "CAP007").fixable and not only(findings, "CAP006").fixable


def test_several_repairs_of_one_caption_meet_in_a_clean_one(spyke: Path) -> None:
    path = spyke / "10_spyke_plasma_v1" / "spyke_005.txt"
    path.write_bytes("﻿closeup face,, ginger hair, closeup_face, smirk".encode())
    for _ in range(6):
        apply_fixes([finding for finding in check(spyke) if finding.fixable], spyke)
    assert path.read_text(encoding="utf-8") == "spyke_plasma_v1, closeup face, smirk"


def test_what_sd_scripts_does_with_missing_captions_is_said(spyke: Path) -> None:
    (spyke / "10_spyke_plasma_v1" / "spyke_001.txt").unlink()
    finding = only(check(spyke, trainer="sd-scripts"), "CAP001")
    assert finding.severity == "warning" and "'spyke_plasma_v1'" in finding.message
    assert only(check(spyke, trainer="maquette"), "CAP001").severity == "error"


def test_a_renamed_picture_and_its_old_caption_are_put_together(spyke: Path) -> None:
    folder = spyke / "10_spyke_plasma_v1"
    (folder / "spyke_001.png").rename(folder / "spyke_001b.png")
    finding = only(check(spyke), "CAP003")
    assert "spyke_001.txt may belong to the picture spyke_001b" in finding.message and not finding.fixable


def test_many_captions_with_one_fault_are_one_finding(spyke: Path) -> None:
    for path in (spyke / "10_spyke_plasma_v1").glob("*.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    finding = only(check(spyke), "CAP005")
    assert finding.path == spyke / "10_spyke_plasma_v1" and "and 12 more" in finding.message


def test_views_without_a_face_and_gear_that_hides_are_told(tmp_path: Path) -> None:
    captions = {
        "a": "spyke_plasma_v1, full body, back view, smirk expression",
        "b": "spyke_plasma_v1, full body, back view, right knee metal pauldron",
        "c": "spyke_plasma_v1, full body, front view, red fingerless glove, left arm red metallic bracer, "
        "right knee metal pauldron",
        "d": f"spyke_plasma_v1, full body, front view, brown hair, {GEAR}",
    }
    findings = check(folder_of(tmp_path / "views", captions))
    assert {f.code: f.path.stem for f in findings if f.path} == {
        "CAP017": "a", "CAP015": "b", "CAP014": "c", "CAP012": "d",
    }  # fmt: skip


def test_a_style_needs_its_words_in_front_in_every_caption(tmp_path: Path) -> None:
    captions = {f"p{n}": f"pixel art, 24x24, portrait of bespoke punk lad, hat {n}" for n in range(6)}
    captions["p1"] = "portrait of bespoke punk lad, hat 1, pixel art, 24x24"
    captions["p2"] = "pixel art, portrait of bespoke punk lad, hat 2"
    root = folder_of(tmp_path / "style", captions, "10_punk")
    finding = only(check(root, PUNK), "CAP023")
    assert finding.message.startswith("2 of 6 captions lack") and "24x24: missing" in finding.message
    apply_fixes([finding], root)
    assert not [each for each in check(root, PUNK) if each.code == "CAP023"]
    mended = (root / "10_punk" / "p1.txt").read_text(encoding="utf-8")
    assert mended == "pixel art, 24x24, portrait of bespoke punk lad, hat 1"


def test_odd_datasets_raise_nothing(tmp_path: Path) -> None:
    """A rule must not raise on odd input; what is wrong with it others say."""
    empty = tmp_path / "empty"
    empty.mkdir()
    odd = folder_of(tmp_path / "odd", {"a": ",", "b": "#", "c": "🦊", "d": "spyke_plasma_v1" * 400})
    for root in (empty, odd, tmp_path / "nowhere"):
        for profile in (SPYKE, PUNK, Profile(kind="object", trigger=""), None):
            check(root, profile)


# --- other languages than a caption's ---


def folder_with(spyke: Path, text: str) -> Path:
    """Give one caption of Spyke's set this text behind the trigger."""
    path = spyke / "10_spyke_plasma_v1" / "spyke_005.txt"
    path.write_text(f"spyke_plasma_v1, {text}", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("written", "code", "repaired"),
    [
        (r"saber \(fate\), hatsune miku \(vocaloid\)", "CAP033", "saber (fate), hatsune miku (vocaloid)"),
        ("(masterpiece:1.2), ((smirk)), [arms up:0.8]", "CAP033", "masterpiece, smirk, arms up"),
        ("smirk, <lora:foo:1>, BREAK arms up", "CAP033", "smirk, arms up"),
        ("smirk，arms up、dusk", "CAP035", "smirk, arms up, dusk"),
        (r"smirk\narms up &amp; legs &#39;crossed&#39;", "CAP036", "smirk, arms up & legs 'crossed'"),
    ],
)
def test_what_trainers_do_not_read_is_written_as_words(
    spyke: Path, written: str, code: str, repaired: str
) -> None:
    path = folder_with(spyke, written)
    findings = [each for each in check(spyke) if each.code == code]
    assert findings and all(each.fixable for each in findings)
    for _ in range(3):
        apply_fixes([each for each in check(spyke) if each.code == code], spyke)
    assert path.read_text(encoding="utf-8") == f"spyke_plasma_v1, {repaired}"
    assert code not in codes(check(spyke))


def test_emoticons_and_prose_are_left_alone(spyke: Path) -> None:
    for text in (":d, ^_^, >_<, o_o", r"\m/, \o/, \n/", "16:9, 10:30"):
        folder_with(spyke, text)
        assert not {"CAP033", "CAP034", "CAP035", "CAP036"} & set(codes(check(spyke))), text


def test_full_width_commas_in_prose_are_a_hint(spyke: Path) -> None:
    folder_with(spyke, "全角カンマ、全角スペース")
    [finding] = [found for found in check(spyke) if found.code == "CAP035"]
    assert finding.severity == "hint"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("spyke_plasma_v1, smirk\nspyke_plasma_v1, grin\nspyke_plasma_v1, a sly smile", "enable_wildcard"),
        ("spyke_plasma_v1, smirk\nwearing a red cape", "Join the lines with commas"),
    ],
)
def test_alternatives_are_not_to_be_joined(spyke: Path, lines: str, said: str) -> None:
    folder_with(spyke, "").write_text(lines, encoding="utf-8")
    remedy = only(check(spyke), "CAP006").remedy
    assert said in remedy
    assert ("Join" in remedy) == ("Join" in said)


def test_one_cause_is_one_finding(spyke: Path) -> None:
    """Twelve captions that one editor saved, and eleven that one script emptied."""
    paths = sorted((spyke / "10_spyke_plasma_v1").glob("*.txt"))
    half = len(paths) // 2
    for path in paths[:half]:
        path.write_bytes(f"{path.read_text(encoding='utf-8')}, café".encode("cp1252"))
    for path in paths[half:]:
        path.write_text("\n", encoding="utf-8")
    findings = check(spyke)
    encoding, empty = only(findings, "CAP004"), only(findings, "CAP002")
    assert encoding.message.startswith(f"{half} captions are not UTF-8; they look like Windows-1252")
    assert encoding.fix is not None and len(encoding.fix.edits) == half
    assert empty.message.startswith(f"{len(paths) - half} captions are empty")


def test_how_often_a_long_caption_is_counted_does_not_grow_with_it() -> None:
    """Words are looked for between bounds, not one by one from the end."""
    clip, calls = clip_tokenizer(), []

    def count(text: str) -> int:
        calls.append(len(text))
        return len(clip.encode(text))

    spent = {}
    for words in (500, 1000, 8000):
        calls.clear()
        text = "standing fox " * (words // 2)
        lost = rules_caption_texts._lost_end(text, 75, TokenCounter(count=count, pieces=clip.pieces))
        assert lost.startswith("…") and lost.endswith("standing fox") and len(lost) <= 98
        spent[words] = (len(calls), sum(calls))
    assert spent[500] == spent[1000] == spent[8000] and spent[500][0] < 12


@pytest.mark.parametrize(
    ("text", "limit", "lost"), [("a b c d e", 3, "d e"), ("a b", 5, ""), ("abcxyzq w", 1, "abcxyzq w")]
)
def test_what_is_lost_begins_with_the_first_word_beyond_the_limit(text: str, limit: int, lost: str) -> None:
    clip = clip_tokenizer()
    counter = TokenCounter(count=lambda said: len(clip.encode(said)), pieces=clip.pieces)
    assert rules_caption_texts._lost_end(text, limit, counter) == lost


@pytest.mark.parametrize("sign", ["(", "[", "{", "{|", "__ ", "((a ", "(a:", "<lora:"])
def test_a_caption_of_thousands_of_signs_is_no_riddle(sign: str) -> None:
    for pattern in (rules_caption_syntax.WEIGHT, rules_caption_syntax.EMPHASIS, rules_caption_syntax.CHOICE):
        assert pattern.search(sign * 20_000) is None
