"""The Use page: which weights, what is written before it is, files as attachments, nothing of a stranger run as markup."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from maquette.deploying.recipe import template_parts
from maquette.files import sha256_file
from maquette.lora.files import inspect_lora
from maquette.runs.choice import NAME, Choice, Suspicion
from maquette.runs.folder import RunFolder
from maquette.studio.cards import readable
from maquette.studio.use_page import file_name

from .conftest import Served, serving
from .making import STEP_2, made_run

ODD = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, RunFolder]]:
    """A studio over a project with a run of two checkpoints."""
    folder = tmp_path_factory.mktemp("use") / "project"
    run = made_run(folder)
    for served in serving(folder, tmp_path_factory.mktemp("home")):
        yield served, run


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    root = tmp_path / "ComfyUI"
    (root / "models" / "loras").mkdir(parents=True)
    return root


def shown(served: Served, query: str = "") -> str:
    answer = served.ask(f"/p/{served.key}/use{query}")
    assert answer.status == 200
    return answer.body.decode()


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_last_checkpoint_is_said_to_be_the_last_and_the_chosen_one_to_be_chosen(
    trained: tuple[Served, RunFolder],
) -> None:
    served, run = trained
    text = shown(served)
    assert "last checkpoint: none was chosen" in text and "nobody has looked" in text
    choice = Choice(
        checkpoint=f"checkpoints/{STEP_2}.safetensors",
        label="step 2",
        step=2,
        strength=0.8,
        decided_by="person",
        headline=f"Step 2 {ODD}",
        suspicions=(Suspicion(kind="leak", told=f"the class word draws it {ODD}", remedy="regularize"),),
    )
    choice.write(run.path)
    try:
        text = shown(served, f"?run={run.path.name}")
    finally:
        (run.path / NAME).unlink()
    assert "chosen by you" in text and STEP_2 in text and "strength 0.8" in text
    assert "leak: the class word draws it" in text  # a known fault
    assert (
        ODD not in text and text.count("&lt;img src=x onerror=alert(1)&gt;") >= 4
    )  # on top, and in the card
    parts = json.loads(re.search(r'data-template="([^"]*)"', text)[1].replace("&#34;", '"'))  # type: ignore[index]
    assert [part["slot"] for part in parts["comfyui"] if part["slot"]] == ["pose", "view", "scene"]


def test_what_is_shown_is_what_is_written_and_nothing_before(
    trained: tuple[Served, RunFolder], comfy: Path
) -> None:
    served, run = trained
    one = f"use/{run.path.name}"
    assert served.api("use-places").table["places"][0]["folder"] == str(comfy)  # found at home
    place = served.api("use-place", {"folder": str(comfy), "program": ""}).table
    asked = {"program": place["program"], "folder": place["folder"], "name": ""}
    plan = served.api(f"{one}/plan", asked).table
    assert tree(comfy) == set() and plan["taken"] is None
    for seal in ("", "0" * 64):
        assert served.api(f"{one}/install", {**asked, "seal": seal}).status == 400
    assert tree(comfy) == set()
    done = served.api(f"{one}/install", {**asked, "seal": plan["seal"]}).table
    assert {str(comfy / name) for name in tree(comfy)} == {each["path"] for each in plan["files"]}
    assert sha256_file(Path(done["lora"])) == done["sha256"] == plan["sha256"]
    assert len(inspect_lora(Path(done["lora"])).modules) > 0
    assert Path(done["editor_workflow"]).is_file() and Path(done["workflow"]).is_file()
    assert served.api("use-places").table["places"][0]["used"] is True
    assert done["lora"] in shown(served)  # as installed before


def test_a_name_that_another_lora_has_is_refused_until_another_is_given(
    trained: tuple[Served, RunFolder], comfy: Path
) -> None:
    served, run = trained
    one = f"use/{run.path.name}"
    other = comfy / "models" / "loras" / "zkw.safetensors"
    other.write_bytes(b"another LoRA")
    asked = {"program": "comfyui", "folder": str(comfy), "name": "zkw"}
    plan = served.api(f"{one}/plan", asked).table
    assert plan["taken"] == str(other) and plan["lora_name"] == "zkw-v2.safetensors"
    refused = served.api(f"{one}/install", {**asked, "seal": plan["seal"]})
    assert refused.status == 400 and "another LoRA has this name" in refused.body.decode()
    assert tree(comfy) == {"models/loras/zkw.safetensors"} and other.read_bytes() == b"another LoRA"
    # What changed since it was shown is not installed either.
    asked["name"] = "mine"
    plan = served.api(f"{one}/plan", asked).table
    (comfy / "models" / "loras" / "mine.json").write_text("{}", encoding="utf-8")
    assert "has changed" in served.api(f"{one}/install", {**asked, "seal": plan["seal"]}).body.decode()
    assert not (comfy / "models" / "loras" / "mine.safetensors").exists()


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a\0b", ".hidden", "a|b"])
def test_a_release_name_never_leaves_the_folder(
    trained: tuple[Served, RunFolder], comfy: Path, name: str
) -> None:
    served, run = trained
    asked = {"program": "comfyui", "folder": str(comfy), "name": name}
    assert served.api(f"use/{run.path.name}/plan", asked).status == 400
    assert served.api(f"use/{run.path.name}/download/card?name={quote(name)}").status == 400
    assert tree(comfy) == set()


def test_only_a_drawing_programs_folder_is_taken(trained: tuple[Served, RunFolder], comfy: Path) -> None:
    served, run = trained
    for folder in ("", "ComfyUI", str(comfy / "models"), "/nowhere", "/\0"):
        asked = {"program": "comfyui", "folder": folder, "name": ""}
        assert served.api("use-place", {"folder": folder, "program": "comfyui"}).status == 400
        assert served.api(f"use/{run.path.name}/plan", asked).status == 400
        assert served.api(f"use/{run.path.name}/install", {**asked, "seal": ""}).status == 400
    assert served.api("use-place", {"folder": str(comfy), "program": ""}, page=False).status == 403


def test_files_come_as_attachments_with_safe_names_and_are_gone_after(
    trained: tuple[Served, RunFolder], comfy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, run = trained
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = f"use/{run.path.name}"
    asked = {"program": "comfyui", "folder": str(comfy), "name": "zkw"}
    plan = served.api(f"{one}/plan", asked).table
    answer = served.api(f"{one}/download/lora?name=zkw")
    assert answer.headers["content-disposition"] == 'attachment; filename="zkw.safetensors"'
    taken = tmp_path / "taken.safetensors"
    taken.write_bytes(answer.body)
    assert sha256_file(taken) == plan["sha256"]  # the very file that would be installed
    for what, name in (("card", "zkw.card.md"), ("editor_workflow", "zkw.json"), ("preview", "zkw.png")):
        answer = served.api(f"{one}/download/{what}?name=zkw")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["content-type"] == "application/octet-stream" and answer.body
    for _ in range(200):  # a file goes after its last byte was sent
        if not list(tmp_path.glob("maquette-*")):
            break
        time.sleep(0.02)
    assert not list(tmp_path.glob("maquette-*")) and tree(comfy) == set()
    for what in ("root", "notes", "lora/../../x", "..%2f..%2fmaquette.toml"):
        assert served.api(f"{one}/download/{what}").status == 404
    assert served.api(f"use/{quote('../images')}/download/lora").status == 404


def test_pictures_are_of_the_run_alone(trained: tuple[Served, RunFolder]) -> None:
    served, _ = trained
    [address] = set(re.findall(r'src="([^"]*/picture/1024/[^"]*)"', shown(served)))
    assert served.ask(address).headers["content-type"] == "image/webp"
    inside = address.split("/picture/1024/")[0] + "/picture/1024/"
    for name in ("../../images/0.png", "../../base.safetensors", "%2fetc%2fpasswd"):
        assert served.ask(inside + quote(name, safe="%")).status == 404


def test_nothing_to_use_is_said(served: Served) -> None:
    assert "Nothing to use yet" in shown(served)
    assert served.ask(f"/p/{served.key}/use?run=none").status == 404


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("[x](javascript:alert(1))", "<a"),
        ("![x](http://elsewhere/x.png)", "<img"),
        ("<javascript:alert(1)>", "<a"),
        ("| a |\n| --- |\n| <b onclick=x> |", "<b"),
    ],
)
def test_a_card_is_read_as_words(text: str, wrong: str) -> None:
    made = readable(f"---\na: 1\n---\n\n# name\n\n## Drawing\n\n{text}\n")
    assert wrong not in made and "<h4>Drawing</h4>" in made and "a: 1" not in made and "name" not in made


def test_slots_are_found_and_what_is_between_is_as_each_program_reads_it() -> None:
    pattern = "asuka (evangelion), [pose], [scene]"
    parts = template_parts(pattern)
    assert [part.slot for part in parts if part.slot] == ["pose", "scene"]
    assert parts[0].text == r"asuka \(evangelion\), "
    assert (
        "".join(part.text or f"[{part.slot}]" for part in template_parts("a [b], [c]", for_webui=True))
        == "a [b], [c]"
    )


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("zkw", "zkw.png"),
        ('a"; b\r\nx', "a__ b__x.png"),
        ("..", "_.png"),
        ("ä b", "ä b.png"),
    ],
)
def test_attachments_have_names_that_every_disk_takes(stem: str, name: str) -> None:
    assert file_name(stem, ".png") == name
