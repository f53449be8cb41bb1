"""The Judge page's own answers: the grid, the numbers, choosing and voting into the run's record, the price before the job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from maquette.choosing.vote import count_votes, key_of
from maquette.files import write_json
from maquette.jobs.ledger import Ledger
from maquette.measuring.looks import UNDER_WAY, FirstLook, read_first_look
from maquette.runs.choice import read_choice
from maquette.runs.votes import read_votes

from .conftest import Served
from .judged import PROMPTS, TRUTHS, judged_run


@pytest.fixture(autouse=True)
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))


@pytest.fixture
def look(served: Served) -> FirstLook:
    return judged_run(served.project)


def one(served: Served, rest: str = "", body: Any = None) -> Any:
    return served.api(f"judge/zkw{quote(rest, safe='/?&=%')}", body)


def run_of(served: Served) -> Path:
    return served.project / "runs" / "zkw"


def test_every_drawing_has_its_cell_and_the_base_comes_first(served: Served, look: FirstLook) -> None:
    told = one(served).table["drawings"]
    labels = [column["label"] for column in told["columns"]]
    assert labels == ["no LoRA", *TRUTHS]
    shown = {
        (labels[place], told["prompts"][row["prompt"]]["text"], row["seed"]): path
        for row in told["rows"]
        for place, path in enumerate(row["pictures"])
    }
    assert shown == {(each.checkpoint, each.prompt, each.seed): each.path for each in look.looks}
    assert (told["there"], told["wanted"], told["is_coming"]) == (len(look.looks), len(look.looks), False)
    each = look.looks[4]
    assert one(served, f"/picture/{each.path}").body == (look.folder / each.path).read_bytes()
    assert f"drawn by {each.checkpoint}" in one(served, f"/settings/{each.path}").table["settings"]
    assert one(served, f"/thumbnail/192/{each.path}").headers["content-type"] == "image/webp"


def test_the_grid_fills_as_pictures_arrive(served: Served, look: FirstLook) -> None:
    """Before an evaluation is over, what it wants and what of it is there; a new checkpoint's column too."""
    folder = look.folder
    coming = read_first_look(folder / "first_look.json").to_json()
    for each in coming["looks"]:
        if each["checkpoint"] == "step 300":
            each |= {"checkpoint": "step 400", "step": 400, "path": each["path"].replace("/3/", "/4/")}
    coming["columns"] = [
        {**each, "label": "step 400", "step": 400} if each["label"] == "step 300" else each
        for each in coming["columns"]
    ]
    write_json(folder / UNDER_WAY, coming)
    before = one(served).table["drawings"]
    assert [column["label"] for column in before["columns"]][-2:] == ["step 300", "step 400"]
    assert before["is_coming"] and before["wanted"] - before["there"] == len(PROMPTS) * 2
    place = next(each["path"] for each in coming["looks"] if each["checkpoint"] == "step 400")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / look.looks[0].path, folder / place)
    assert one(served).table["drawings"]["there"] == before["there"] + 1


def test_the_numbers_are_the_scorecards(served: Served, look: FirstLook) -> None:
    numbers = one(served).table["numbers"]
    cards = json.loads((look.folder / "scorecards.json").read_text(encoding="utf-8"))
    assert [each["label"] for each in numbers["columns"]] == [
        card["column"]["label"] for card in cards["cards"]
    ]
    assert [each["total"] for each in numbers["columns"]] == [card["total"] for card in cards["cards"]]
    for headline in numbers["headlines"]:
        assert headline["scores"] == {
            card["column"]["label"]: card["scores"][headline["name"]]["value"]
            for card in cards["cards"]
            if headline["name"] in card["scores"]
        }


def test_what_is_chosen_here_is_what_deploy_takes_and_the_measures_may_have_it_back(
    served: Served, look: FirstLook
) -> None:
    assert one(served).table["choice"] is None
    one(served, "/choose", {"checkpoint": "", "strength": "", "reason": ""})
    assert one(served).table["choice"]["label"] == "step 200"
    unexplained = one(served, "/choose", {"checkpoint": "step 100", "strength": "", "reason": " "})
    assert unexplained.status == 400 and unexplained.table["error"][0]["where"] == "reason"
    mine = {"checkpoint": "step 100", "strength": "0.8", "reason": "<b>her</b> hands"}
    assert one(served, "/choose", mine).status == 200
    kept = read_choice(run_of(served))
    assert kept is not None
    assert (kept.checkpoint, kept.strength, kept.decided_by) == (
        "checkpoints/step-100.safetensors",
        0.8,
        "person",
    )
    assert "<b>her</b> hands" in kept.headline and "step 200" in kept.reasons[0]
    assert one(served, "/choose", {**mine, "checkpoint": "step 9"}).status == 400
    assert one(served, "/choose", {**mine, "strength": "nine"}).status == 400
    one(served, "/choose", {"checkpoint": "", "strength": "", "reason": ""})
    again = read_choice(run_of(served))
    assert again is not None and again.decided_by == "measures"
    look.write()
    (look.folder / "first_look.json").write_text(
        (look.folder / "first_look.json").read_text(encoding="utf-8") + "\n", encoding="utf-8"
    )
    assert one(served).table["choice"]["is_old"], "pictures were drawn since"


def test_votes_are_blind_kept_as_the_command_keeps_them_and_taken_back(
    served: Served, look: FirstLook
) -> None:
    answer = one(served, "/ballot")
    pairs = answer.table["pairs"]
    assert not any(word in answer.body.decode() for word in ("step", "checkpoint", "pictures/", "seed"))
    drawn = {key_of(look.folder / each.path): each for each in look.looks}
    first, second = pairs[:2]
    for key in first:
        shown = one(served, f"/ballot/{key}")
        assert shown.headers["content-type"] == "image/png" and b"drawn by" not in shown.body
    assert one(served, "/vote", {"pair": first, "answer": "right"}).table == {"new": 1}
    assert one(served, "/vote", {"pair": second, "answer": "neither"}).table == {"new": 1}
    [vote, _] = read_votes(run_of(served))
    names = [f"checkpoints/{drawn[key].checkpoint.replace(' ', '-')}.safetensors" for key in first]
    assert [vote.first, vote.second, vote.winner] == [*names, "second"]
    assert first not in one(served, "/ballot").table["pairs"]
    told = one(served).table["votes"]
    assert told["votes"] == 2 and told["ranking"] == count_votes(run_of(served)).ranking()
    assert one(served, "/unvote", {"pair": second}).table == {"taken_back": True}
    assert len(read_votes(run_of(served))) == 1
    assert one(served, "/vote", {"pair": ["a", "b"], "answer": "left"}).status == 400
    assert one(served, "/vote", {"pair": first, "answer": "<b>"}).status == 400


def test_nearest_pairs_name_only_pictures_of_the_project(
    served: Served, look: FirstLook, tmp_path: Path
) -> None:
    near = one(served).table["nearest"]
    assert {each["training"] for each in near} == {"00.png"} and near[0]["is_mirrored"]
    assert one(served, f"/nearest/192/{near[0]['drawn']}").status == 200
    secret = tmp_path / "secret.png"
    shutil.copy(served.project / "images" / "00.png", secret)
    table = json.loads((look.folder / "nearest.json").read_text(encoding="utf-8"))
    for each in table["drawings"].values():
        each["training"] = str(secret)
    write_json(look.folder / "nearest.json", table)
    assert one(served).table["nearest"] == []
    assert one(served, f"/nearest/192/{near[0]['drawn']}").status == 404


@pytest.mark.parametrize(
    "name", ["../run.json", "..%2f..%2frun.json", "pictures/none.png", "%00", "/etc/passwd"]
)
def test_nothing_but_drawings_of_the_run_is_shown(served: Served, look: FirstLook, name: str) -> None:
    for what in ("picture", "thumbnail/192", "settings", "nearest/192"):
        assert one(served, f"/{what}/{name}").status in (400, 404)


def test_the_price_comes_before_the_job(served: Served, look: FirstLook) -> None:
    price = one(served, "/price?kind=select&suite=&seeds=&strengths=").table
    assert price["missing"] == 0 and price["pictures"] == len(look.looks)
    more = one(served, "/price?kind=evaluate&suite=profile&seeds=2&strengths=0.5,1").table
    assert more["missing"] == more["pictures"] and more["seconds"] is None and more["disk_bytes"] > 0
    assert one(served, "/price?kind=train&suite=&seeds=&strengths=").status == 400
    assert one(served, "/price?kind=select&suite=all&seeds=&strengths=").status == 400
    asked = {"kind": "evaluate", "suite": "quick", "seeds": "2", "strengths": ""}
    refused = one(served, "/draw", {**asked, "seeds": "none"})
    assert refused.status == 400
    with Ledger() as ledger:
        assert ledger.jobs() == []


def test_before_anything_was_judged_the_run_stands_there_and_says_so(served: Served) -> None:
    assert served.api("judge").table == {"runs": [], "jobs": []}
    look = judged_run(served.project)
    shutil.rmtree(look.folder)
    [run] = served.api("judge").table["runs"]
    assert (run["name"], run["judged"], run["checkpoints"], run["chosen"]) == ("zkw", 0.0, 3, None)
    told = one(served).table
    assert told["drawings"] is None and told["numbers"] is None and told["choice"] is None
    assert one(served, "/ballot").status == 400
    assert one(served, "/choose", {"checkpoint": "", "strength": "", "reason": ""}).status == 400
