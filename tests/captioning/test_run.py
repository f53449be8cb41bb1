"""The stage's laws: what it writes, what it leaves, and that stopping and undoing lose nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.captioning.options import SourceOptions
from maquette.captioning.records import Draft
from maquette.captioning.run import caption_events
from maquette.errors import ConfigError, DatasetError, MaquetteError
from maquette.project.undoing import changes_at, undo
from tests.captioning.common import LoopbackServer, asked, caption, files_below, make_folder, replaced, says

V2 = "ginger hair, red bandana, full body, front view, standing, white sleeveless cloak, white background"
V3 = (
    "spyke_plasma_v1, full body, front view, standing, right arm red fingerless glove, left arm red metallic bracer, "
    "right knee metal pauldron, white background"
)


@pytest.mark.parametrize("source", ["rewrite", "template", "palette"])
def test_a_dry_run_changes_no_byte(tmp_path: Path, source: str) -> None:
    root = make_folder(tmp_path / "p", {"a_front_standing.png": V2, "b_side.png": None})
    before = files_below(tmp_path)
    result = caption(root, source=source, dry_run=True, overwrite=True)
    assert result.written and result.diff and result.preview
    assert files_below(tmp_path) == before
    assert not (root / ".maquette").exists()


def test_a_rewrite_is_written_and_undone_byte_for_byte(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"10_x/a.png": V2, "10_x/b.png": None})
    before = files_below(root)
    result = caption(root, source="rewrite")
    assert result.written == ("10_x/a.png",) and result.unchanged == ("10_x/b.png",)
    assert (root / "10_x" / "a.txt").read_text() == V3 + "\n"
    assert result.captions == {"10_x/a.png": V3}
    assert result.diff[0].before == V2
    undo(root)
    assert files_below(root) == before


def test_a_second_rewrite_writes_nothing(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": V2})
    caption(root, source="rewrite")
    again = caption(root, source="rewrite")
    assert again.written == () and again.unchanged == ("a.png",) and again.change is None


TASKS = st.lists(
    st.sampled_from(["rewrite", "template", "detailed", "replace", "undo"]), min_size=1, max_size=7
)


@settings(max_examples=12, deadline=None)
@given(TASKS)
def test_undoing_everything_brings_back_the_beginning(tmp_path_factory: Any, tasks: list[str]) -> None:
    root = make_folder(
        tmp_path_factory.mktemp("u") / "p", {"a_front_full-body.png": V2, "b_back_standing.png": None}
    )
    states = [files_below(root)]
    for number, task in enumerate(tasks):
        changes = changes_at(root)
        if task == "undo":
            if changes:
                undo(root)
                states.pop()
        elif task == "replace":
            replaced(root, find="standing", replace=f"standing {number}")
        else:
            source = "rewrite" if task == "detailed" else task
            strategy = "detailed" if task == "detailed" else "character"
            caption(root, source=source, strategy=strategy, overwrite=True)
        if len(changes_at(root)) > len(changes):
            states.append(files_below(root))
        assert files_below(root) == states[-1]
    for state in reversed(states[:-1]):
        undo(root)
        assert files_below(root) == state


def test_existing_captions_are_left_without_overwrite(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a_front.png": "by hand", "b_front.png": None, "c_front.png": ""})
    result = caption(root, source="template")
    assert result.written == ("b_front.png", "c_front.png") and result.unchanged == ("a_front.png",)
    assert (root / "a_front.txt").read_text() == "by hand"
    assert caption(root, source="template", overwrite=True).written == ("a_front.png",)


def test_a_caption_that_is_not_utf8_is_refused_and_kept(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a_front.png": None, "b_front.png": None})
    (root / "a_front.txt").write_bytes("größe".encode("latin-1"))
    result = caption(root, source="template", overwrite=True)
    assert "not UTF-8" in result.refused["a_front.png"][0]
    assert (root / "a_front.txt").read_bytes() == "größe".encode("latin-1")
    assert result.written == ("b_front.png",)


def test_two_pictures_of_one_name_share_no_caption_by_accident(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a_front.jpg": None, "a_front.png": None})
    result = caption(root, source="template")
    assert result.written == ("a_front.jpg",)
    assert "shares the caption file of a_front.jpg" in result.refused["a_front.png"][0]


def test_the_preview_can_stop_everything(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {f"p{n}_front.png": None for n in range(14)})
    before = files_below(tmp_path)
    shown: list[Draft] = []

    def no(preview: Any) -> bool:
        shown.extend(preview)
        return False

    result = caption(root, source="template", confirm=no)
    assert len(shown) == 10 and result.stopped_at_preview and result.written == ()
    assert files_below(tmp_path) == before


def test_the_preview_comes_before_the_first_write(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {f"p{n}_front.png": None for n in range(14)})

    def yes(preview: Any) -> bool:
        assert not list(root.glob("*.txt"))
        return len(preview) == 10

    assert len(caption(root, source="template", confirm=yes).written) == 14


def test_a_limit_leaves_the_rest_alone(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {f"p{n}_front.png": None for n in range(5)})
    result = caption(root, source="template", limit=2)
    assert len(result.written) == 2 and len(result.unchanged) == 3
    assert len(list(root.glob("*.txt"))) == 2


def test_wrong_sides_are_refused_and_the_caption_kept(tmp_path: Path) -> None:
    wrong = "spyke_plasma_v1, full body, front view, left arm red fingerless glove, white background"
    root = make_folder(tmp_path / "p", {"a.png": wrong, "b.png": V2})
    result = caption(root, source="rewrite")
    assert "the profile has it on the right" in result.refused["a.png"][0]
    assert (root / "a.txt").read_text() == wrong
    assert result.written == ("b.png",)


def ask(root: Path, url: str, **more: Any) -> Any:
    options = SourceOptions(url=url, model="m", retries=2, retry_wait_s=0.01, timeout_s=5)
    return caption(root, source="server", options=options, **more)


def test_a_killed_run_goes_on_without_asking_again(tmp_path: Path) -> None:
    """The process is killed while the server ponders its 13th answer; the server counts every question."""
    names = [f"p{n:02d}.png" for n in range(16)]
    root = make_folder(tmp_path / "p", dict.fromkeys(names))
    killed = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Any:
        if number == 12:
            killed.wait(60)
        return says(f"full body, standing, wall number {number}")

    with LoopbackServer(reply).running() as server:
        program = (
            "from pathlib import Path; from maquette.captioning.run import caption_events; "
            "from maquette.captioning.options import CaptionOptions; "
            f"list(caption_events(Path({str(root)!r}), CaptionOptions(strategy='character', source='server', workers=1, "
            f"url={server.url!r}, model='m', retries=2, retry_wait_s=0.01, timeout_s=60)))"
        )
        process = subprocess.Popen([sys.executable, "-c", program])
        while len(server.questions) < 13:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed.set()
        assert len(list(root.glob("*.txt"))) == 12
        result = ask(root, server.url, workers=1)
        assert len(server.questions) == 12 + 1 + 4
        assert len(list(root.glob("*.txt"))) == 16 and not result.refused
        assert not (root / ".maquette" / "captioning.jsonl").exists()
    while changes_at(root):
        undo(root)
    assert not list(root.glob("*.txt"))


def test_a_project_says_where_its_pictures_are(tmp_path: Path) -> None:
    make_folder(tmp_path / "project" / "images", {"a_front_standing.png": None}, profile=None)
    (tmp_path / "project" / "maquette.toml").write_text(
        '[subject]\ntrigger = "zkw"\n[model]\nbase = "base.safetensors"\n[dataset]\nimages = "images"\n'
        'caption_extension = ".caption"\n'
    )
    result = caption(tmp_path / "project", source="template")
    assert result.captions == {"a_front_standing.png": "zkw, front view, standing"}
    assert (tmp_path / "project" / "images" / "a_front_standing.caption").is_file()


def test_overwriting_resumes_too_and_a_new_run_asks_anew(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {f"p{n}.png": "old" for n in range(8)})
    with LoopbackServer(lambda n, body: says(f"full body, standing, wall {n}")).running() as server:
        wanted = asked(source="server", overwrite=True, workers=1, url=server.url, model="m")
        events = caption_events(root, wanted)
        for event in events:
            if getattr(event, "done", 0) == 4:
                break
        events.close()
        assert 0 < len(server.questions) < 8
        ask_again = {"overwrite": True, "workers": 1}
        options = SourceOptions(url=server.url, model="m")
        result = caption(root, source="server", options=options, **ask_again)
        assert len(server.questions) == 8 and len(result.captions) == 8
        caption(root, source="server", options=options, **ask_again)
        assert len(server.questions) == 16


def test_a_source_that_says_the_same_of_all_is_refused_and_not_asked_further(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {f"p{n:02d}.png": None for n in range(20)})
    with LoopbackServer(lambda n, body: says("full body, standing")).running() as server:
        result = ask(root, server.url)
        assert len(result.refused) == 20 and not result.written
        assert len(server.questions) == 10
        assert "same answer for every picture" in result.refused["p00.png"][0]
        assert not (root / ".maquette" / "captioning.jsonl").exists()


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"source": "wdd"}, "did you mean 'wd'"),
        ({"source": "template", "strategy": "charakter"}, "did you mean 'character'"),
        ({"source": "template", "options": SourceOptions(url="http://x")}, "does not use it"),
        ({"source": "rewrite:x"}, "'rewrite' alone"),
        ({"source": "server"}, "--url"),
        ({"source": "template", "strategy": "style"}, "no style words"),
        ({"source": "template", "options": SourceOptions(template="{posse}")}, "did you mean 'pose'"),
        ({"source": "template", "options": SourceOptions(template="{pose")}, "braces"),
        ({"source": "template", "trigger": "other"}, "one trigger"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_happens(
    tmp_path: Path, given_: dict[str, Any], words: str
) -> None:
    root = make_folder(tmp_path / "p", {"a.png": V2})
    with pytest.raises(ConfigError) as caught:
        caption_events(root, asked(**given_))
    assert words in str(caught.value).lower() or words in str(caught.value)
    assert not (root / ".maquette").exists()


def test_a_folder_without_pictures_or_subject_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        caption(tmp_path / "empty", source="template")
    nameless = make_folder(tmp_path / "deep" / "er" / "p", {"a_front.png": None}, profile=None)
    with pytest.raises(MaquetteError, match="--trigger"):
        caption(nameless, source="template")
    assert caption(nameless, source="template", trigger="zkw").captions == {"a_front.png": "zkw, front view"}


def test_the_result_is_plain_values_for_json(tmp_path: Path) -> None:
    import json

    root = make_folder(tmp_path / "p", {"a.png": V2, "b.png": None})
    table = json.loads(json.dumps(caption(root, source="rewrite").to_json()))
    assert {
        "written",
        "unchanged",
        "refused",
        "captions",
        "preview",
        "diff",
        "source",
        "strategy",
        "seconds",
    } <= set(table)
    assert table["diff"][0]["unified"].startswith("--- a/a.txt\n+++ b/a.txt")
