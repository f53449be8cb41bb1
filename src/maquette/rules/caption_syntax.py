"""Rules about captions in a language that trainers do not read: a drawing program's, a keyboard's, a program's that escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.caption_sets import counted, place_of, quoted, rewriting, separator_of, trained
from maquette.rules.wording import asking, asking_in_dataset
from maquette.words.text import parts_of

ESCAPE = re.compile(r"\\([()\[\]{}<>:])")
# Nothing in these is tried twice (`++`, and each run of brackets begins once): a caption of 40,000 brackets takes no longer.
NUMBER_AND_END = r":\s*(?:\d(?:\.\d+)?|\.\d+)(?<!\\)[)\]]"
WEIGHT = re.compile(
    rf"(?<!\\)[(\[](?=[^()\[\]]*?[^\W\d_])((?:[^()\[\]:]++|(?!{NUMBER_AND_END}):)*+){NUMBER_AND_END}"
)
EMPHASIS = re.compile(
    r"(?:(?<![\\(])|(?<=\\\())\(\(++([^()]++)(?<!\\)\)\)+"
    r"|(?<!\[)\[\[++([^\[\]]++)\]\]+|(?<!\{)\{\{++([^{}]++)\}\}+"
)
LOADING = re.compile(r"<(?:lora|lyco|locon|hypernet|embedding|lbw)\s*:[^<>]*>|(?<!\w)embedding:[\w./-]+")
BREAK = re.compile(r"(?<!\S)BREAK(?!\S)")
CHOICE = re.compile(r"\{[^{}\n|]*+\|[^{}\n]*+\}|(?<![\w/-])__[\w/-]+__(?!\w)")
NESTED = 50
"""Weights within weights that a repair takes out; nobody writes more than three."""
FULL_WIDTH = re.compile("[，、﹐､]")
TAG_COMMA = re.compile("[!-~][，、﹐､]|[，、﹐､][!-~]")
"""One beside a letter of the Latin keyboard: tags, not Japanese or Chinese prose."""
ESCAPED = re.compile(r"\\[nrt](?![/\\])|\\\"|&(?:amp|quot|lt|gt|nbsp|apos|#\d{1,5}|#x[0-9a-f]{1,5});")


@rule("CAP033", "prompt-syntax", "warning", since="0.2", repair="safe")
def prompt_syntax(facts: DatasetFacts, request: TrainingRequest | None, report: Report) -> Iterator[Finding]:
    """A caption is written in the language of a drawing program: escaped brackets, weights, LoRAs, BREAK.

    Why: Drawing programs turn `\\(` into `(`, `(red cape:1.2)` into a red cape that counts more, and `<lora:…>` into nothing.
    Trainers do none of it: the signs are trained as letters and cost tokens, and a prompt, from which they are taken out,
    never says what the caption said.
    Found by: A backslash before a bracket; a bracket with a number after a colon; doubled brackets around words; `<lora:…>`,
    `<hypernet:…>`, `embedding:…`; BREAK as a word. Escapes and weights are let pass with weighted_captions, which
    reads them. Emoticons such as `:d` and `>_<` are none.
    Do: Write plain words and brackets in captions; escape and weigh in prompts only. --fix does.
    Fault: `zkw_fox, saber \\(fate\\), (masterpiece:1.2), <lora:foo:1>`
    Instead: `zkw_fox, saber (fate), masterpiece`
    Source: stable-diffusion-webui#1241 and booru2prompt#3 (escapes); sd-scripts 48d368fa (weighted_captions).
    """
    reads_weights = request is not None and bool(request.value("weighted_captions"))
    kinds: list[tuple[Sequence[re.Pattern[str]], str, str, Callable[[str], str], str]] = [
        (
            (LOADING, BREAK),
            "what only a drawing program does",
            "Take it out: it loads or parts nothing in training.",
            _without_loading,
            "take out what loads or parts a prompt",
        )
    ]
    if not reads_weights:
        kinds += [
            (
                (ESCAPE,),
                "escaped brackets, whose backslash is trained as a sign of its own",
                "Write plain brackets in captions, and escape them in prompts only.",
                lambda text: ESCAPE.sub(r"\1", text),
                "take out the backslashes before brackets",
            ),
            (
                (WEIGHT, EMPHASIS),
                "weights, which are trained as letters",
                f"Write the words alone, and weigh them in prompts{_or_weighted(request)}.",
                _without_weights,
                "write the words without weights",
            ),
        ]
    for patterns, what, remedy, change, summary in kinds:
        found = _found(facts, patterns)
        if found:
            captions = [each for each, _ in found]
            yield report(
                place_of([each.path for each in captions], facts),
                "",
                f"{counted(captions, facts, 'has', 'have')} {what}: {quoted(found)}.",
                remedy,
                fix=rewriting(captions, change, summary),
            )


def _found(facts: DatasetFacts, patterns: Sequence[re.Pattern[str]]) -> list[tuple[CaptionFact, str]]:
    """Return the captions in which one of `patterns` stands, each with the first words that do."""
    found = []
    for caption in trained(facts):
        match = next((match for each in patterns if (match := each.search(caption.text))), None)
        if match is not None:
            found.append((caption, match[0]))
    return found


def _without_loading(text: str) -> str:
    return ", ".join(parts_of(BREAK.sub(" ", LOADING.sub("", text)).replace("  ", " ")))


def _without_weights(text: str) -> str:
    for _ in range(NESTED):  # a weight may stand inside another
        before = text
        text = WEIGHT.sub(lambda match: match[1].rstrip(), text)
        text = EMPHASIS.sub(lambda match: match[1] or match[2] or match[3], text)
        if text == before:
            break
    return text


@rule("CAP034", "choice-not-read", "warning", since="0.2")
def choice_not_read(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """A caption offers a choice, and nothing chooses.

    Why: `{smile|frown}` is one of the two only where wildcards are switched on; else braces and bar are trained as letters,
    and both words are taught for a picture that shows one. `__colour__` is read by prompt extensions, by no trainer.
    Found by: Braces with a bar inside where enable_wildcard is off, and names between doubled underscores.
    Do: Write what the picture shows; or switch enable_wildcard on, with --enable-wildcard or in a dataset TOML.
    Fault: `zkw_fox, {smile|frown}` without enable_wildcard
    Instead: `zkw_fox, smile`
    Source: sd-scripts 48d368fa, train_util.py process_caption (enable_wildcard).
    """
    found = [
        (caption, words)
        for caption, words in _found(facts, (CHOICE,))
        if not caption.subset.options.enable_wildcard or words.startswith("__")
    ]
    if not found:
        return
    captions = [each for each, _ in found]
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'offers', 'offer')} a choice that nothing makes: {quoted(found)}.",
        "Write what the picture shows"
        + (
            f", or {switching_on_wildcards(facts, request)}."
            if not all(words.startswith("__") for _, words in found)
            else "."
        ),
    )


def _or_weighted(request: TrainingRequest | None) -> str:
    """Return how weights are read instead, where a run is at hand that could."""
    return (
        ""
        if request is None
        else f"; or add {asking(request, weighted_captions=True)} to train them as emphasis"
    )


def switching_on_wildcards(facts: DatasetFacts, request: TrainingRequest | None) -> str:
    """Return how enable_wildcard is switched on with the trainer at hand."""
    if facts.is_toml:
        return f"set enable_wildcard = true under [general] of {facts.root.name}"
    return f"add {asking_in_dataset(facts, request, 'enable_wildcard', True)}"


@rule("CAP035", "full-width-commas", "warning", since="0.2", repair="safe")
def full_width_commas(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption's parts are parted by full-width commas, which no trainer takes for commas.

    Why: The whole caption is one part then: shuffle_caption has nothing to shuffle, keep_tokens keeps everything, tag dropout
    drops nothing. A Chinese or Japanese keyboard writes them.
    Found by: `，` and `、` where caption_separator is something else: a warning beside letters of the Latin alphabet or where
    parts are shuffled, kept or dropped, a hint elsewhere, where they may be prose.
    Do: Write `,`; --fix does.
    Fault: `zkw_fox，standing，smile`
    Instead: `zkw_fox, standing, smile`
    Source: sd-scripts 48d368fa, train_util.py process_caption (`split(caption_separator)`).
    """
    found = [
        (caption, words)
        for caption, words in _found(facts, (FULL_WIDTH,))
        if words not in separator_of(caption)
    ]
    if not found:
        return
    captions = [each for each, _ in found]
    in_tags = any(TAG_COMMA.search(each.text) or _moves(each) for each in captions)
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'has', 'have')} full-width commas, at which no parts begin: {quoted(found)}.",
        "Write ',' instead.",
        fix=rewriting(
            captions,
            lambda text: ", ".join(parts_of(FULL_WIDTH.sub(",", text))),
            "write full-width commas as commas",
        ),
        severity=None if in_tags else "hint",
    )


def _moves(caption: CaptionFact) -> bool:
    """Return whether a caption's parts matter: they are shuffled, kept or dropped."""
    options = caption.subset.options
    return bool(options.shuffle_caption or options.keep_tokens or options.caption_tag_dropout_rate > 0)


@rule("CAP036", "escaped-characters", "warning", since="0.2", repair="safe")
def escaped_characters(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption holds the escapes of a program that wrote it: `\\n` as two letters, `&amp;`.

    Why: A captioner's answer that was saved as JSON or HTML keeps its line breaks as a backslash and an n. They are trained
    as letters, cost tokens, and parts run into each other.
    Found by: A backslash before n, r, t or a quotation mark, and entities such as `&amp;` and `&#39;`. `\\n/`, a gesture on
    tag sites, is let pass.
    Do: Write a comma or a space instead, and the character itself for an entity; --fix does.
    Fault: `zkw_fox, standing\\nwearing a red cape &amp; boots`
    Instead: `zkw_fox, standing, wearing a red cape & boots`
    Source: Captions written by scripts that save a model's answer as it was quoted.
    """
    found = _found(facts, (ESCAPED,))
    if not found:
        return
    captions = [each for each, _ in found]
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'has', 'have')} escapes that are trained as letters: {quoted(found)}.",
        "Write a comma for a line break, and the character itself for the others.",
        fix=rewriting(captions, _unescaped, "write escapes as what they stand for"),
    )


def _unescaped(text: str) -> str:
    text = re.sub(r"\\[nr](?![/\\])", ", ", text)
    text = re.sub(r"\\t(?![/\\])", " ", text).replace('\\"', '"')
    return ", ".join(parts_of(html.unescape(text).replace("\xa0", " ")))
