"""The Train page: the price first, a real training started, watched, paused and followed through the death of the server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import maquette
from maquette.api import plan
from maquette.jobs.ledger import Ledger
from maquette.locking import hold
from maquette.logs.metrics import read_metrics
from maquette.runs.asked import wishes_of
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.world.pack import base_path

from .conftest import Served

SETTINGS = f"""[model]
base = "{base_path().as_posix()}"
[subject]
trigger = "tovaki"
[dataset]
images = "images"
resolution = 64
[lora]
rank = 4
[training]
steps = 60
device = "cpu"
[saving]
name = "first"
save_every_steps = 80
[samples]
sample_prompts = ["tovaki"]
sample_steps = 2
"""


@pytest.fixture(autouse=True)
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))


def trainable(folder: Path, steps: int = 60) -> Path:
    """Return a project that can be trained."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        Image.new("RGB", (64, 64), (60 * number, 90, 160)).save(folder / "images" / f"{number}.png")
        (folder / "images" / f"{number}.txt").write_text("tovaki, standing\n", encoding="utf-8")
    (folder / "maquette.toml").write_text(SETTINGS.replace("60", str(steps)), encoding="utf-8")
    return folder


def test_the_price_is_what_plan_says(served: Served) -> None:
    trainable(served.project)
    told = served.api("plan").table
    known = plan(served.project).to_json()
    for name in ("steps", "checkpoints", "memory_bytes", "disk_bytes", "sum"):
        assert told[name] == json.loads(json.dumps(known[name]))
    assert served.api("runs").table == {"runs": [], "jobs": []}


def test_what_keeps_a_run_from_starting_is_said_before_it_is_queued(served: Served) -> None:
    (trainable(served.project) / "maquette.toml").write_text(SETTINGS + "stepz = 3\n", encoding="utf-8")
    answer = served.api("plan")
    assert answer.status == 400
    assert "stepz" in answer.table["error"][0]["where"]
    refused = served.api("train", {})
    assert refused.status == 400
    assert "stepz" in json.dumps(refused.table)
    assert served.ask("/api/jobs").table == {"jobs": []}


@pytest.mark.parametrize("name", ["../images", "..", "nowhere", "%00"])
def test_only_runs_of_the_project_are_shown(served: Served, name: str) -> None:
    assert served.api(f"run/{name}").status == 404
    assert served.api(f"run/{name}/sample/0.png").status == 404


def test_a_run_says_where_it_stands_and_what_a_person_may_ask(served: Served) -> None:
    shutil.rmtree(served.project / "images")
    run = maquette.train(trainable(served.project, 2)).run
    told = served.api("run/first").table
    assert (told["state"], told["step"], told["steps"], told["draws"]) == ("finished", 2, 2, True)
    assert told["curve"]["step"] == [1, 2]
    assert told["peak_memory_bytes"] > 0
    for wish, status in (("save", 400), ("sample", 400), ("explode", 404)):
        assert served.api(f"run/first/ask/{wish}", {}).status == status
    assert served.api("run/first/ask/save", {}, page=False).status == 403
    assert served.api("run/../resume", {}).status == 404
    record = read_record(run)
    record.with_(state="running").write(RunFolder(run))  # as a kill leaves it
    assert served.api("runs").table["runs"][0]["state"] == "interrupted"
    with closing(hold(run, "train")):
        assert served.api("run/first").table["state"] == "running"
        assert served.api("run/first/ask/sample", {}).table == {"asked": "sample"}
        assert wishes_of(run) == {"sample"}
    # What failed is told with the rule that knows it.
    error = "CUDA out of memory. Tried to allocate 2.00 GiB"
    record.with_(state="failed", error=error).write(RunFolder(run))
    (found, *_) = served.api("run/first/findings").table["findings"]
    assert (found["code"], found["severity"]) == ("LOG006", "error")
    assert found["name"] and found["remedy"]


# --- a real server, a real training --------------------------------------------------------------------------

STEPS = 160
HEARING = """
window.heard = [];
const Plain = window.SharedWorker;
window.SharedWorker = class extends Plain {
  constructor(...given) {
    super(...given);
    this.port.addEventListener("message", ({ data }) => {
      if (data.type === "message" && data.id !== null) heard.push(data.id);
    });
  }
};
"""


def studio_process(project: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-c", "from maquette.cli import main; main()"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [*command, "studio", str(project), "--port", str(port), "--no-browser", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["token"] is None
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_training_is_started_paused_and_followed_though_the_server_is_killed(
    browser: Any, tmp_path: Path
) -> None:
    project = trainable(tmp_path / "project", STEPS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first = studio_process(project, port)
    process = next(first)
    page = browser.new_page()
    page.add_init_script(HEARING)
    page.goto(f"http://127.0.0.1:{port}/")
    page.click(".card h2 a")
    page.click(".rail a:has-text('Train')")
    page.wait_for_selector("#start:not([disabled])", timeout=60_000)
    assert f"{STEPS} steps" in page.inner_text("#start")
    page.click("#start")
    page.wait_for_selector("#run:not([hidden])", timeout=120_000)
    page.wait_for_function(
        "() => /step \\d/.test(document.getElementById('beside').textContent)", timeout=120_000
    )
    page.click("#pause")
    page.wait_for_selector("#run-state.paused", timeout=60_000)
    page.click("#resume")
    page.wait_for_function(
        "() => document.getElementById('run-state').textContent === 'running'", timeout=120_000
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    second = studio_process(project, port)
    next(second)
    page.wait_for_selector("#run-state.finished, #run-state.done", timeout=180_000)
    heard = page.evaluate("() => window.heard")
    steps = [row["step"] for row in read_metrics(project / "runs" / "first" / "metrics.jsonl")]
    assert steps == list(range(1, STEPS + 1))
    page.wait_for_function("() => document.querySelectorAll('.film button').length === 2", timeout=30_000)
    # After the pause the page begins anew on purpose; from then on every event came once and in order, whoever served it.
    begun_anew = len(heard) - heard[::-1].index(min(heard)) - 1
    with Ledger() as ledger:
        (job,) = ledger.jobs()
        assert heard[begun_anew:] == [each["sequence"] for each in ledger.events(job.id, most=10**6)]
    # The server that was started again has another token; the page finds it out by itself.
    asked = f"import('/static/talk.js').then((talk) => talk.post('/api/jobs/{job.id}/first'))"
    assert page.evaluate(asked)["job"]["id"] == job.id
    page.close()
    for each in (first, second):
        each.close()
