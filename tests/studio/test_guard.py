"""Who may ask the studio, from where, and how much."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.studio.guard import LONGEST_BODY_BYTES

from .conftest import Served

DECIDE = {"words": {"kept": ["01.png"]}}


def test_it_is_up_and_says_which_release(served: Served) -> None:
    answer = served.ask("/api/health")
    assert answer.status == 200
    assert answer.table["ok"] is True
    assert answer.table["version"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "a@b:c"])
def test_a_name_that_is_not_its_own_is_refused(served: Served, host: str) -> None:
    assert served.ask("/api/health", Host=host).status == 421
    assert served.api("decide", DECIDE, Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost:1", "LOCALHOST", "[::1]:80", "127.0.0.1"])
def test_its_own_names_are_let_in_whatever_the_port_is_forwarded_to(served: Served, host: str) -> None:
    assert served.ask("/api/health", Host=host).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_another_site_changes_nothing_and_reads_nothing(served: Served, origin: str) -> None:
    before = served.api("pictures").table
    assert served.api("decide", DECIDE, Origin=origin).status == 403
    assert served.api("pictures", Origin=origin).status == 403
    assert served.api("pictures").table == before


def test_another_site_may_open_a_page_by_a_link_and_embed_nothing(served: Served) -> None:
    page = f"/p/{served.key}/pictures"
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert served.ask(page, **link).status == 200
    assert served.ask(page, **(link | {"Sec_Fetch_Dest": "iframe"})).status == 403
    assert served.api("picture/01.png", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert served.api("decide", DECIDE, **link).status == 403


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_what_changes_something_needs_the_token_of_the_page(served: Served, token: str) -> None:
    refused = served.api("decide", DECIDE, X_Maquette_Page=token.encode().decode("latin-1"))
    assert refused.status == 403
    assert served.api("decide", DECIDE, page=False).status == 403
    assert served.api("decide", DECIDE).status == 200


def test_the_token_stands_in_the_page_and_no_page_says_more_than_that(served: Served) -> None:
    page = served.ask(f"/p/{served.key}/pictures").body.decode()
    assert served.keys.page in page
    assert served.keys.page not in repr(served.keys)


def test_every_answer_forbids_what_comes_from_elsewhere(served: Served) -> None:
    for path in ("/", "/api/health", "/nothing", f"/api/p/{served.key}/picture/01.png", "/static/studio.css"):
        headers = served.ask(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert served.ask("/api/health", Host="evil.example").headers["x-frame-options"] == "DENY"


def test_a_body_is_bounded_with_its_length_and_without(served: Served) -> None:
    told = served.api("decide", b"", Content_Length=str(LONGEST_BODY_BYTES + 1))
    assert told.status == 413


def test_anywhere_but_on_this_computer_a_visitor_needs_the_access_token(guarded: Served) -> None:
    host = {"Host": "192.0.2.7:80"}
    access = guarded.keys.access
    assert access
    assert guarded.ask("/", **host).status == 401
    assert guarded.ask("/api/health", **host).status == 401
    assert guarded.ask("/static/studio.css", **host).status == 401
    assert guarded.ask("/?token=wrong", **host).status == 401
    opened = guarded.ask(f"//evil.example/?a=1&token={access}", **host)
    assert opened.status == 303
    assert opened.headers["location"] == "/evil.example/?a=1"
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert guarded.ask("/", Cookie=cookie.split(";")[0], **host).status == 200
    assert guarded.ask("/api/health", Authorization=f"Bearer {access}", **host).status == 200
    assert guarded.ask("/api/health", Authorization=f"Basic {access}", **host).status == 401
    # The access token lets a visitor in; what changes something needs the page's own beside it.
    assert guarded.api("decide", DECIDE, page=False, Authorization=f"Bearer {access}", **host).status == 403


@pytest.mark.parametrize(
    "name",
    [
        "../maquette.toml",
        "..%2Fmaquette.toml",
        "%2e%2e/maquette.toml",
        "/etc/passwd",
        "%00",
        "x" * 5000,
        "below",
    ],
)
def test_only_pictures_of_the_project_are_read(served: Served, name: str) -> None:
    for path in (f"picture/{name}", f"thumbnail/192/{name}"):
        answer = served.api(path)
        assert answer.status in (400, 404), path
        assert b"[dataset]" not in answer.body


def test_a_link_out_of_the_project_is_not_followed(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes((served.project / "images" / "01.png").read_bytes())
    (served.project / "images" / "link.png").symlink_to(secret)
    (served.project / "images" / "far").symlink_to(tmp_path)
    assert served.api("picture/link.png").status == 404
    assert served.api("picture/far/secret.png").status == 404
    assert served.api("thumbnail/192/link.png").status == 404


def test_what_strangers_wrote_is_shown_and_never_run(served: Served) -> None:
    odd = served.project.parent / "<img src=x onerror=alert(1)>"
    served.project.rename(odd)
    served.studio.workspace.open(odd)
    home = served.ask("/").body.decode()
    assert "&lt;img src=x onerror=alert(1)&gt;" in home
    assert "<img src=x" not in home
