"""Blind votes: a ballot that names nobody, votes that count, and what choosing makes of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.choosing.options import SelectOptions, VoteOptions
from maquette.choosing.select import select_events
from maquette.choosing.vote import Ballot, Counted, count_votes, key_of, pairs_of, vote_events
from maquette.choosing.vote_sheets import open_pairs, store, withdraw
from maquette.cli.app import maquette as command
from maquette.errors import ConfigError, OutputError
from maquette.events import run_stage
from maquette.measuring.looks import FLOOR, FirstLook
from maquette.runs.votes import read_votes

from .making import look_of

TRUTHS = {"step 100": 2.0, "step 200": 6.0, "step 300": 4.0}


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Return an evaluation whose pictures differ."""
    return drawn(tmp_path / "evaluation").folder


def drawn(folder: Path) -> FirstLook:
    look = look_of(TRUTHS, folder=folder)
    for number, each in enumerate(look.looks):
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 2 * number, 90)).save(path)
    look.write()
    return look


def marks(look: FirstLook, favourite: str, count: int) -> list[dict[str, str]]:
    """Return votes that always prefer `favourite`, and find the others alike."""
    names = {key_of(look.folder / each.path): each.checkpoint for each in look.looks}
    found = []
    for one, other in pairs_of(look, count, seed=1):
        who = [names[one.key], names[other.key]]
        winner = ("left", "right")[who.index(favourite)] if favourite in who else "none"
        found.append({"left": one.key, "right": other.key, "winner": winner})
    return found


def ballot_of(folder: Path, votes: list[dict[str, str]]) -> Path:
    path = folder / "votes.json"
    path.write_text(json.dumps({"maquette_votes": 1, "run": "x", "votes": votes}), encoding="utf-8")
    return path


def stored(folder: Path, look: FirstLook, favourite: str, count: int) -> Counted:
    found = run_stage(
        vote_events(folder, VoteOptions(votes=ballot_of(folder, marks(look, favourite, count))))
    )
    assert isinstance(found, Counted)
    return found


def test_a_ballot_names_nobody_and_loads_nothing(evaluation: Path) -> None:
    found = run_stage(vote_events(evaluation, VoteOptions(pairs=12)))
    assert isinstance(found, Ballot) and found.pairs == 12
    page = found.page.read_text(encoding="utf-8")
    assert not any(name in page for name in (*TRUTHS, "step-100", FLOOR, "pictures/"))
    assert "http" not in page and page.count("data:image/png") <= 24


def test_every_two_checkpoints_meet_about_as_often_on_either_side(tmp_path: Path) -> None:
    look = drawn(tmp_path)
    names = {key_of(look.folder / each.path): each.checkpoint for each in look.looks}
    pairs = pairs_of(look, 18, seed=4)
    met = Counter(frozenset((names[one.key], names[other.key])) for one, other in pairs)
    assert set(met.values()) == {6} and len(met) == 3
    assert len({frozenset((one.key, other.key)) for one, other in pairs}) == 18
    lefts = Counter(names[one.key] for one, _ in pairs)
    assert all(lefts[name] for name in TRUTHS)
    assert pairs_of(look, 18, seed=4) == pairs and pairs_of(look, 18, seed=5) != pairs


def test_votes_are_kept_once_and_counted(evaluation: Path) -> None:
    look = drawn(evaluation)
    found = stored(evaluation, look, "step 100", 18)
    assert found.new == found.votes == 18 == len(read_votes(evaluation))
    assert found.labels[found.strengths.ranking()[0]] == "step 100"
    again = stored(evaluation, look, "step 100", 18)
    assert again.new == 0 and again.votes == 18


def test_a_changed_mind_counts_as_judged_last(evaluation: Path) -> None:
    look = drawn(evaluation)
    stored(evaluation, look, "step 100", 18)
    found = stored(evaluation, look, "step 300", 18)
    assert found.votes == 18 and found.labels[found.strengths.ranking()[0]] == "step 300"


def test_clear_votes_overrule_the_measures_and_both_are_told(evaluation: Path) -> None:
    stored(evaluation, drawn(evaluation), "step 100", 36)
    choice = run_stage(select_events(evaluation, SelectOptions())).choice
    assert choice.label == "step 100" and choice.decided_by == "votes" and choice.distinguishable
    assert "The measures would have chosen step 200" in choice.reasons[0]


def test_measures_may_be_asked_to_decide_all_the_same(evaluation: Path) -> None:
    stored(evaluation, drawn(evaluation), "step 100", 36)
    choice = run_stage(select_events(evaluation, SelectOptions(by="measures"))).choice
    assert choice.label == "step 200" and choice.decided_by == "measures"
    assert [each.kind for each in choice.suspicions] == ["person disagrees"]


def test_few_votes_overrule_nothing_unless_they_are_asked(evaluation: Path) -> None:
    stored(evaluation, drawn(evaluation), "step 100", 3)
    choice = run_stage(select_events(evaluation, SelectOptions())).choice
    assert choice.label == "step 200" and "may be chance" in choice.reasons[-1]
    asked = run_stage(select_events(evaluation, SelectOptions(by="votes"))).choice
    assert asked.label == "step 100" and not asked.distinguishable


def test_votes_that_agree_are_told(evaluation: Path) -> None:
    stored(evaluation, drawn(evaluation), "step 200", 18)
    choice = run_stage(select_events(evaluation, SelectOptions())).choice
    assert choice.decided_by == "measures" and "prefer the same" in choice.reasons[-1]


def test_votes_on_other_pictures_are_refused(evaluation: Path, tmp_path: Path) -> None:
    look = drawn(evaluation)
    votes = marks(look, "step 100", 4)
    path = ballot_of(tmp_path, [{**votes[0], "left": "0" * 16}, *votes[1:]])
    with pytest.raises(ConfigError, match="1 of 4 pairs are of other pictures"):
        run_stage(vote_events(evaluation, VoteOptions(votes=path)))
    (tmp_path / "bad.json").write_text('{"maquette_votes": 1, "run": "x", "votes": [{"left": "a"}]}')
    with pytest.raises(ConfigError):
        run_stage(vote_events(evaluation, VoteOptions(votes=tmp_path / "bad.json")))
    assert not read_votes(evaluation)


def test_without_an_evaluation_or_votes_it_is_said(evaluation: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="maquette evaluate"):
        run_stage(vote_events(tmp_path / "none", VoteOptions()))
    with pytest.raises(ConfigError, match="maquette vote"):
        run_stage(select_events(evaluation, SelectOptions(by="votes")))


def test_the_terminal_asks_blindly_and_stores_each_vote_at_once(evaluation: Path) -> None:
    asked = ["vote", str(evaluation), "--terminal", "--pairs", "6", "--voter", "ann", "--json"]
    first = CliRunner().invoke(command, asked, input="1x2q")
    assert first.exit_code == 0, first.stderr
    assert json.loads(first.stdout)["new"] == 2, "a key that means nothing is passed over"
    sheet = evaluation / "vote/pair.png"
    assert "step" not in first.stderr and str(sheet) in first.stderr
    with Image.open(sheet) as shown:
        assert not shown.info and shown.size == (8 + 16 + 8, 8)
    rest = CliRunner().invoke(command, asked, input="0000000000")
    told = json.loads(rest.stdout)
    assert (told["new"], told["votes"]) == (4, 6), "what was judged is not asked again"
    votes = read_votes(evaluation)
    assert {vote.voter for vote in votes} == {"ann"} and sum(vote.winner == "neither" for vote in votes) == 4
    pages = run_stage(vote_events(evaluation, VoteOptions(pairs=6)))
    assert isinstance(pages, Ballot) and pages.pairs == 6, "another voter judges them all"


def test_a_vote_of_the_terminal_counts_for_the_picture_on_its_side(evaluation: Path) -> None:
    [pair] = open_pairs(evaluation, VoteOptions(pairs=1))
    store(evaluation, pair, "2", "")
    [vote] = read_votes(evaluation)
    assert (vote.first, vote.second, vote.winner) == (pair[0].voice, pair[1].voice, "second")
    page = [{"left": pair[0].key, "right": pair[1].key, "winner": "right"}]
    again = run_stage(vote_events(evaluation, VoteOptions(votes=ballot_of(evaluation, page))))
    assert isinstance(again, Counted) and again.new == 0, "the page's vote on the same pair is the same vote"


def test_the_terminal_and_a_file_of_votes_are_two_ways(evaluation: Path) -> None:
    result = CliRunner().invoke(command, ["vote", str(evaluation), "--terminal", "--votes", "x.json"])
    assert result.exit_code == 2 and "--terminal" in result.stderr


def test_a_vote_that_is_taken_back_is_as_if_it_was_never_given(evaluation: Path) -> None:
    one, other = open_pairs(evaluation, VoteOptions(pairs=2))
    before = count_votes(evaluation)
    store(evaluation, one, "1", "")
    store(evaluation, other, "2", "")
    assert withdraw(evaluation, one, "") and not withdraw(evaluation, one, "")
    [left] = read_votes(evaluation)
    assert left.pictures == "-".join(sorted(each.key for each in other))
    assert {each.key for pair in open_pairs(evaluation, VoteOptions(pairs=2)) for each in pair} >= {
        one[0].key
    }
    withdraw(evaluation, other, "")
    assert count_votes(evaluation).ranking() == before.ranking()
    assert store(evaluation, one, "1", "") == 1, "and may be given again"


def test_the_terminal_takes_the_last_vote_back(evaluation: Path) -> None:
    asked = ["vote", str(evaluation), "--terminal", "--pairs", "3", "--json"]
    result = CliRunner().invoke(command, asked, input="1u20q")
    assert json.loads(result.stdout)["new"] == 2
    assert [vote.winner for vote in read_votes(evaluation)] == ["second", "neither"]
