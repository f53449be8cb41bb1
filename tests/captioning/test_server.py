"""Against a real HTTP server that misbehaves: what is asked again, what is refused, what ends the run, what is sent."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maquette.captioning.options import SourceOptions
from maquette.errors import ConfigError, OutputError
from tests.captioning.common import LoopbackServer, Reply, caption, make_folder, says

GOOD = "full body, standing, wall number "


def options(server: LoopbackServer, **more: Any) -> SourceOptions:
    return SourceOptions(
        **{"url": server.url, "model": "m", "retries": 3, "retry_wait_s": 0.01, "timeout_s": 5, **more}
    )


def run(root: Path, server: LoopbackServer, workers: int = 1, **more: Any) -> Any:
    return caption(root, source="server", options=options(server, **more), workers=workers)


def folder(tmp_path: Path, count: int) -> Path:
    return make_folder(tmp_path / "p", {f"p{n}.png": None for n in range(count)})


def test_a_server_that_misbehaves_in_turns_gets_every_picture_captioned(tmp_path: Path) -> None:
    """500, 429 with Retry-After, no JSON, a closed connection, too slow: each once, then a proper answer."""
    root = folder(tmp_path, 6)

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if number == 0:
            return 500, {}, b"oops"
        if number == 2:
            return 429, {"Retry-After": "0.05"}, b'{"error": {"message": "slow down"}}'
        if number == 4:
            return 200, {}, b"<html>garbage"
        if number == 6:
            return 200, {"Content-Length": "9999"}, b"{"
        if number == 8:
            time.sleep(0.6)
        return says(f"{GOOD}{number}")

    with LoopbackServer(reply).running() as server:
        result = run(root, server, timeout_s=0.3)
    assert len(result.written) == 6 and not result.refused
    assert len(server.questions) == 11
    assert all(
        text.startswith("spyke_plasma_v1, full body, standing, wall number")
        for text in result.captions.values()
    )


def test_several_workers_write_the_same_captions_as_one(tmp_path: Path) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        uri = body["messages"][1]["content"][0]["image_url"]["url"]
        return says(f"full body, standing, {len(uri)} {uri[-40:-30]}")

    made = []
    for name, workers in (("one", 1), ("many", 6)):
        root = make_folder(tmp_path / name, {f"p{n:02d}.png": None for n in range(24)})
        with LoopbackServer(reply).running() as server:
            run(root, server, workers=workers)
            assert len(server.questions) == 24
        made.append({path.name: path.read_text() for path in root.glob("*.txt")})
    assert made[0] == made[1] and len(made[0]) == 24


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says("I'm sorry, I cannot help with that."), "no caption but"),
        (says("", refusal="no"), "empty"),
        (says(""), "empty"),
        (says(GOOD, finish_reason="length"), "cut off after 200 tokens"),
        (says(GOOD, finish_reason="content_filter"), "content filter"),
        (says("word " * 120), "too long"),
        (says("full body, front view, left arm red fingerless glove"), "the profile has it on the right"),
        (says("ginger hair, green eyes"), "nothing is left"),
        ((200, {}, b'{"error": {"message": "no vision here"}}'), "holds no message: no vision here"),
        ((200, {}, b"[]"), "holds no message"),
        ((400, {}, b'{"error": {"message": "picture too small"}}'), "picture too small"),
        ((413, {}, b""), "HTTP 413"),
    ],
)
def test_bad_answers_are_listed_and_the_old_caption_kept(tmp_path: Path, answer: Reply, reason: str) -> None:
    root = make_folder(tmp_path / "p", {"bad.png": "old words", "good.png": "old words"})

    def reply(number: int, body: dict[str, Any]) -> Reply:
        return says(GOOD) if number == 0 else answer

    with LoopbackServer(reply).running() as server:
        caption_of = caption(
            root, source="server", options=options(server), workers=1, overwrite=True, limit=None
        )
    # Pictures are asked for in the order of their names; only the first got a proper answer.
    assert list(caption_of.captions) == ["bad.png"]
    assert any(reason in each for each in caption_of.refused["good.png"]), caption_of.refused
    assert (root / "good.txt").read_text() == "old words"


def test_a_refused_answer_is_asked_for_once_more_with_the_reason(tmp_path: Path) -> None:
    root = folder(tmp_path, 1)

    def reply(number: int, body: dict[str, Any]) -> Reply:
        return says("full body, back view, smirk" if number == 0 else "full body, back view, walking")

    with LoopbackServer(reply).running() as server:
        result = run(root, server)
    assert result.captions == {"p0.png": "spyke_plasma_v1, full body, back view, walking"}
    assert "cannot be seen from behind" in server.questions[1]["messages"][1]["content"][-1]["text"]


def test_what_is_sent_is_an_openai_question_with_profile_and_picture(tmp_path: Path) -> None:
    root = folder(tmp_path, 1)
    Image.new("RGB", (2000, 500), "navy").save(root / "p0.png")
    with LoopbackServer(lambda n, body: says(GOOD)).running() as server:
        run(root, server, longest_side=640, instructions="All are stills of one film.", temperature=0.5)
    (question,) = server.questions
    assert question["path"] == "/v1/chat/completions"
    assert question["model"] == "m" and question["temperature"] == 0.5 and question["stream"] is False
    system, user = question["messages"]
    assert "ginger hair" in system["content"] and "All are stills of one film." in system["content"]
    kind, _, data = user["content"][0]["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/png"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (640, 160)


def test_a_key_comes_from_the_environment_and_goes_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path, 1)
    monkeypatch.setenv("MY_KEY", "secret-value")
    monkeypatch.setenv("OPENAI_API_KEY", "must-not-be-sent")
    with LoopbackServer(lambda n, body: says(GOOD)).running() as server:
        run(root, server)
        assert "Authorization" not in server.headers[0]
        make_folder(root, {"q.png": None})
        run(root, server, api_key_variable="MY_KEY")
        assert server.headers[1]["Authorization"] == "Bearer secret-value"
    written = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert b"secret-value" not in written


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    root = folder(tmp_path, 1)
    with LoopbackServer(lambda n, body: says(GOOD)).running() as other:
        to = {"Location": other.url + "/chat/completions"}
        with (
            LoopbackServer(lambda n, body: (307, to, b"")).running() as server,
            pytest.raises(ConfigError, match="redirects"),
        ):
            run(root, server)
        assert not other.questions


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_patience_mends_ends_the_run_at_once(tmp_path: Path, status: int) -> None:
    root = folder(tmp_path, 8)
    body = json.dumps({"error": {"message": "model 'm' not found"}}).encode()
    with LoopbackServer(lambda n, _: (status, {}, body)).running() as server:
        with pytest.raises(ConfigError, match="model 'm' not found"):
            run(root, server)
        assert len(server.questions) == 1
    assert not list(root.glob("*.txt"))


def test_a_server_that_is_gone_ends_the_run_and_keeps_what_came(tmp_path: Path) -> None:
    root = folder(tmp_path, 14)
    is_back = False

    def reply(number: int, body: dict[str, Any]) -> Reply:
        return says(f"{GOOD}{number}") if number < 4 or is_back else (503, {}, b"")

    with LoopbackServer(reply).running() as server:
        with pytest.raises(OutputError, match="no answer to 5 pictures in a row"):
            run(root, server, retries=1)
        assert len(server.questions) == 4 + 5 * 2
        is_back = True
        result = run(root, server, retries=1)
        assert len(server.questions) == 14 + (14 - 4)
        assert len(result.written) == 14


def test_pictures_that_the_server_could_not_answer_are_asked_again_next_time(tmp_path: Path) -> None:
    root = folder(tmp_path, 3)
    with LoopbackServer(lambda n, body: (503, {}, b"") if n == 1 else says(f"{GOOD}{n}")).running() as server:
        first = run(root, server, retries=0)
        assert list(first.refused) == ["p1.png"] and len(server.questions) == 3
        second = run(root, server, retries=0)
        assert len(server.questions) == 4 and second.written == ("p1.png",)


def test_nobody_at_the_address_is_said_with_it(tmp_path: Path) -> None:
    root = folder(tmp_path, 6)
    closed = SourceOptions(url="http://127.0.0.1:9/v1", retries=0, retry_wait_s=0.0)
    with pytest.raises(OutputError, match=r"127\.0\.0\.1:9"):
        caption(root, source="server", options=closed)


def test_the_only_model_of_a_server_needs_no_name(tmp_path: Path) -> None:
    root = folder(tmp_path, 1)
    with LoopbackServer(lambda n, body: says(GOOD)).running() as server:
        run(root, server, model=None)
        assert server.questions[0]["model"] == "only-model"


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://", "http://me:pass@127.0.0.1/v1"])
def test_unusable_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="--url"):
        caption(folder(tmp_path, 1), source="server", options=SourceOptions(url=url, model="m"))


def test_a_key_variable_that_is_not_set_is_refused(tmp_path: Path) -> None:
    chosen = SourceOptions(url="http://127.0.0.1:9/v1", model="m", api_key_variable="NOT_SET_ANYWHERE")
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        caption(folder(tmp_path, 1), source="server", options=chosen)


def test_a_server_can_rewrite_captions_without_pictures(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": "a boy stands there, seen from the front", "b.png": None})
    with LoopbackServer(lambda n, body: says("full body, front view, standing")).running() as server:
        result = caption(root, source="server:rewrite", options=options(server))
    (question,) = server.questions
    assert "a boy stands there" in question["messages"][1]["content"][0]["text"]
    assert "image_url" not in json.dumps(question)
    assert result.captions["a.png"].startswith(
        "spyke_plasma_v1, full body, front view, standing, right arm red"
    )


def test_sources_can_be_joined(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": None})
    Image.new("RGB", (64, 64), "#a0b1a6").save(root / "a.png")
    with LoopbackServer(lambda n, body: says("full body, standing")).running() as server:
        result = caption(root, source=["server", "palette"], options=options(server))
    assert result.captions["a.png"].startswith("spyke_plasma_v1, full body, standing, ")
    assert result.captions["a.png"].endswith("background (#a0b1a6), palette: #a0b1a6")
