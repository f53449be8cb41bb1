"""`check` from the outside: what it answers, how it exits, what it repairs and takes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from maquette.cli import main
from maquette.cli.check import command
from maquette.families.common.tokenizer import CHUNK, count_clip_tokens
from tests.planted.case import Case
from tests.planted.clean import MACHINE, clean_case, write_material


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def case(tmp_path: Path, material: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    made = clean_case(tmp_path / "case", "kohya", material)
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    return made


@pytest.fixture
def machine(tmp_path: Path) -> str:
    """A machine on which nothing is wrong, as `--machine FILE` takes it."""
    from maquette.project.machine import machine_to_json

    path = tmp_path / "machine.json"
    path.write_text(json.dumps(machine_to_json(MACHINE)))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def answer(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    return json.loads(result.stdout.splitlines()[-1])


def codes(said: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in said["findings"]]


def test_a_clean_run_exits_with_zero(case: Case, machine: str) -> None:
    said = run("train.sh", "--machine", machine)
    assert said.exit_code == 0, said.output
    assert "Nothing found" in said.stdout
    assert answer("train.sh", "--machine", machine)["pictures"] == 20


def test_an_error_exits_with_one_and_a_warning_does_not(case: Case, machine: str) -> None:
    case.caption(3, "full body, front view, jumping, left hand green glove, yellow background")
    assert run("train.sh", "--machine", machine).exit_code == 1
    found = answer("train.sh", "--machine", machine)["findings"]
    assert {finding["severity"] for finding in found} >= {"error", "warning"}
    errors = [finding["code"] for finding in found if finding["severity"] == "error"]
    ignored = [argument for code in errors for argument in ("--ignore", code)]
    assert run("train.sh", "--machine", machine, *ignored).exit_code == 0


def test_a_finding_has_the_keys_that_scripts_read(case: Case, machine: str) -> None:
    case.caption(3, "full body, back view, blue background")
    found = answer("train.sh", "--machine", machine)["findings"]
    assert found
    for finding in found:
        assert {"code", "severity", "path", "message", "remedy", "fixable"} <= finding.keys()
        assert finding["severity"] in ("error", "warning", "hint")


def test_fix_says_what_it_changed_and_undo_restores_every_byte(case: Case, machine: str) -> None:
    caption = case.caption(3, "full body, back view, blue background")
    before = {
        path: path.read_bytes() for path in case.folder.rglob("*") if path.is_file() and path != case.base
    }
    fixed = answer("train.sh", "--machine", machine, "--fix")
    assert [done["paths"] for done in fixed["fixed"]] == [[str(caption.relative_to(case.folder))]]
    assert not fixed["findings"]
    assert caption.read_text().startswith("zkw_fox, ")
    restored = answer("train.sh", "--undo")["restored"]
    assert restored == [str(caption)]
    after = {
        path: path.read_bytes() for path in case.folder.rglob("*") if path.is_file() and path != case.base
    }
    assert after == before


def test_a_damaged_cache_is_said_and_changes_nothing_else(case: Case, machine: str, tmp_path: Path) -> None:
    assert run("train.sh", "--machine", machine).exit_code == 0
    (database,) = (tmp_path / "cache").rglob("measures.sqlite3")
    database.write_bytes(b"no database at all" * 500)
    said = run("train.sh", "--machine", machine)
    assert said.exit_code == 0
    assert "was damaged" in said.stderr
    assert "Nothing found" in said.stdout


def test_the_same_mistake_reached_twice_counts_once(case: Case, machine: str) -> None:
    case.caption(3, "full body, back view, blue background")
    once = answer("train.sh", "--machine", machine, "--select", "CAP")
    twice = answer(
        "train.sh", "train.sh", str(case.folder / "train.sh"), "--machine", machine, "--select", "CAP"
    )
    assert len(codes(once)) == len({(f["code"], Path(f["path"]).resolve()) for f in twice["findings"]})


def test_a_project_silences_rules(tmp_path: Path, material: Path, machine: str) -> None:
    made = clean_case(tmp_path / "project", "project", material)
    made.caption(3, "full body, back view, blue background")
    loud = answer(str(made.folder), "--machine", machine)
    assert loud["findings"]
    silenced = ", ".join(f'"{code}"' for code in sorted(set(codes(loud))))
    with made.config.open("a") as file:
        file.write(f"\n[check]\nignore_rules = [{silenced}]\n")
    assert answer(str(made.folder), "--machine", machine)["findings"] == []


def test_a_misspelt_silence_is_an_error(tmp_path: Path, material: Path, machine: str) -> None:
    made = clean_case(tmp_path / "project", "project", material)
    with made.config.open("a") as file:
        file.write('\n[check]\nignore_rules = ["CAPP"]\n')
    said = run(str(made.folder), "--machine", machine)
    assert said.exit_code == 2
    assert "CAPP" in said.output


def test_rules_lists_all_and_explain_prints_a_page() -> None:
    listed = answer("--rules")["rules"]
    assert len(listed) >= 60
    for rule in (listed[0], listed[-1]):
        page = answer("--explain", rule["code"])
        assert page["summary"] == rule["summary"]
        assert page["why"] and page["found_by"] and page["do"] and page["source"]
        assert answer("--explain", rule["name"]) == page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "no such file"),
        ((), "no path given"),
        (("--explain", "CAP01"), "CAP01"),
        ((".", "--select", "XYZ999"), "--select"),
        ((".", "--profile", "nowhere.toml"), "nowhere.toml"),
        ((".", "--machine", "nowhere.json"), "nowhere.json"),
        ((".", "--undo"), "nothing to undo"),
    ],
)
def test_unusable_input_exits_with_two(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_this_machine_can_be_described_and_read_back(tmp_path: Path) -> None:
    described = run("--machine", "this")
    assert described.exit_code == 0, described.output
    (tmp_path / "machine.json").write_text(described.stdout)
    (tmp_path / "train.log").write_text("INFO     found directory train/10_fox contains 20 image files\n")
    assert run(str(tmp_path / "train.log"), "--machine", str(tmp_path / "machine.json")).exit_code == 0


def test_check_is_a_command_of_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["maquette", "check", "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "--explain" in capsys.readouterr().out


def test_a_repair_that_pushes_a_caption_over_75_tokens_says_so(case: Case, machine: str) -> None:
    seen = [
        f"a {colour} {thing}"
        for thing in ("boat", "house", "tree", "cart")
        for colour in ("grey", "red", "blue")
    ]
    words = ", ".join(
        [
            "full body, back view, blue background",
            *seen,
            "wet grass by a wide river in the evening under some clouds at sea",
        ]
    )
    caption = case.caption(3, words)
    before = count_clip_tokens(words)
    assert 70 <= before <= CHUNK
    said = run("train.sh", "--machine", machine, "--fix")
    after = count_clip_tokens(caption.read_text())
    assert after > CHUNK
    assert f"{caption.name} had {before} and has {after}" in said.stderr and "undo" in said.stderr
    case.caption(3, "full body, back view, blue background")
    assert "longer than" not in run("train.sh", "--machine", machine, "--fix").stderr


def test_a_vae_that_does_not_fit_a_projects_base_is_said(
    tmp_path: Path, material: Path, machine: str
) -> None:
    project = clean_case(tmp_path / "project", "project", material)
    config = project.config.read_text(encoding="utf-8")
    other = tmp_path / "lora.safetensors"
    other.write_bytes((8).to_bytes(8, "little") + b"{}      ")
    project.config.write_text(config.replace("[model]\n", f'[model]\nvae = "{other}"\n'), encoding="utf-8")
    said = answer(str(project.folder), "--machine", machine)
    assert any("no VAE" in finding["message"] for finding in said["findings"])
