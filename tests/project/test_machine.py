"""Looking at a machine is quick and quiet, and a machine can be written down and read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from maquette.cli.check import command
from maquette.errors import ConfigError
from maquette.project.machine import Disk, Gpu, Machine, machine_from_json, machine_to_json
from maquette.project.machine_look import (
    apple_gpu_bytes,
    installed_packages,
    look_at_machine,
    machine_for,
    parse_cards,
    parse_cpuinfo,
    parse_programs,
    read_machine,
    visible_cards,
)
from maquette.project.request import TrainingRequest

GIB = 2**30
CARDS = """GPU-11, NVIDIA GeForce RTX 5080, 16303, 8125, 12.0
GPU-22, NVIDIA GeForce RTX 2080 Ti, 11264, [N/A], 7.5
"""
PROGRAMS = f"""GPU-11, 4711, /usr/bin/python3, 7522
GPU-11, 815, C:\\Programs\\ComfyUI\\python.exe, [N/A]
GPU-22, {os.getpid()}, /usr/bin/python3, 900
"""


def test_cards_are_read_from_nvidia_smi() -> None:
    first, second = parse_cards(CARDS).values()
    assert first.name == "NVIDIA GeForce RTX 5080" and first.compute_capability == (12, 0)
    assert first.total_bytes == 16303 * 2**20 and first.free_bytes == 8125 * 2**20
    assert second.free_bytes is None and second.compute_capability == (7, 5)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n", ("amx_bf16", "avx512_bf16")),
        ("processor\t: 0\nflags\t\t: fpu avx2\nbf16 in a later line\n", ()),
        ("processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n", ("bf16",)),
        ("processor\t: 0\n", None),
    ],
)
def test_bf16_arithmetic_is_read_from_the_processors_flags(text: str, flags: tuple[str, ...] | None) -> None:
    assert parse_cpuinfo(text) == flags


def test_programs_are_named_with_what_they_hold_and_this_one_is_left_out() -> None:
    programs = parse_programs(PROGRAMS)
    assert programs == {"GPU-11": ["python3 (7.3 GiB)", "python.exe"]}


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["5080", "2080 Ti"]),
        ("1,0", ["2080 Ti", "5080"]),
        ("GPU-22", ["2080 Ti"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["5080"]),
    ],
)
def test_cards_are_those_that_a_program_may_see(visible: str | None, names: list[str]) -> None:
    seen = visible_cards(parse_cards(CARDS), visible)
    assert [gpu.name.rpartition("RTX ")[2] for gpu in seen] == names


def test_apple_gpus_use_two_thirds_of_small_and_three_quarters_of_large_memories() -> None:
    """What Metal reports: 10.7 GB of 16, 21.3 of 32, 48 of 64."""
    assert apple_gpu_bytes(16 * GIB) / GIB == pytest.approx(10.67, abs=0.01)
    assert apple_gpu_bytes(32 * GIB) / GIB == pytest.approx(21.33, abs=0.01)
    assert apple_gpu_bytes(64 * GIB) / GIB == 48


def test_looking_loads_neither_torch_nor_anything_heavy() -> None:
    code = (
        "import sys\nfrom maquette.project.machine_look import look_at_machine\nlook_at_machine()\n"
        "assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_probe_is_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "nvidia-smi"
    broken.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    machine = look_at_machine()
    assert machine.ram_bytes > 0 and all(gpu.kind != "cuda" for gpu in machine.gpus)


def test_this_machine_is_found() -> None:
    machine = look_at_machine()
    assert machine.packages["torch"] and 0 < machine.free_ram_bytes <= machine.ram_bytes
    disk = machine.disk_of(Path.cwd() / "not" / "there" / "yet")
    assert disk is not None and disk.free_bytes <= disk.total_bytes
    assert machine.packages_for("maquette") == installed_packages()


def test_a_machine_reads_back_as_it_was_written() -> None:
    machine = Machine(
        system="Windows",
        gpus=(Gpu(kind="cuda", name="A", total_bytes=24 * GIB, free_bytes=GIB, compute_capability=(8, 9)),),
        ram_bytes=64 * GIB,
        environment={"HF_HOME": "/workspace"},
        packages={"torch": "2.9.0"},
        disks={Path("/"): Disk(total_bytes=10 * GIB, free_bytes=3 * GIB)},
        home=Path("/root"),
    )
    assert machine_from_json(machine_to_json(machine)) == machine


def test_a_machine_from_a_file_knows_only_its_own_disks(tmp_path: Path) -> None:
    file = tmp_path / "rented.json"
    file.write_text(
        '{"system": "Linux", "gpus": [{"kind": "cuda", "name": "A40", "total_bytes": 48000000000}]}'
    )
    machine = read_machine(file)
    assert machine.device == "cuda" and machine.disk_of(tmp_path) is None


def test_every_mistake_in_a_machine_file_is_named(tmp_path: Path) -> None:
    values = {"sytem": "Linux", "gpus": [{"kind": "nvidia", "memory": 3}], "ram_bytes": "64 GB"}
    with pytest.raises(ConfigError) as caught:
        machine_from_json(values, "rented.json")
    said = str(caught.value)
    assert "sytem" in said and "nvidia" in said and "memory" in said and "ram_bytes" in said
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ConfigError, match=r"no\.json line 1: not valid JSON"):
        read_machine(tmp_path / "no.json")


def test_packages_are_those_of_the_trainer_s_own_environment(tmp_path: Path) -> None:
    """kohya_ss keeps a venv beside its sd-scripts folder."""
    site = tmp_path / "kohya_ss" / "venv" / "lib" / "python3.10" / "site-packages"
    for name in ("bitsandbytes-0.44.0", "lion_pytorch-0.2.3", "numpy-1.26.4"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    script = tmp_path / "kohya_ss" / "sd-scripts" / "train_network.py"
    request = TrainingRequest(file=tmp_path / "train.sh", trainer="sd-scripts", script_path=script)
    ours = Machine(system="Linux", packages={"torch": "2.9.0"}, packages_of="maquette")
    assert ours.packages_for("sd-scripts") is None
    found = machine_for(ours, request)
    assert found.packages_for("sd-scripts") == {"bitsandbytes": "0.44.0", "lion-pytorch": "0.2.3"}
    elsewhere = replace(request, script_path=tmp_path / "other" / "train_network.py")
    assert machine_for(ours, elsewhere).packages_for("sd-scripts") is None


def test_this_machine_is_printed_with_every_key_and_reads_back(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command, ["--machine", "this"])
    assert printed.exit_code == 0 and json.loads(printed.stdout).keys() == {
        each.name for each in fields(Machine)
    }
    path = tmp_path / "rented.json"
    path.write_text(printed.stdout)
    assert read_machine(path).disks
    hint = printed.stderr.partition('as {"kind"')[2]
    if hint:
        assert machine_from_json({"gpus": [json.loads('{"kind"' + hint)]}).gpus[0].kind == "cuda"


def test_the_machine_s_page_explains_every_key_and_its_example_is_a_machine() -> None:
    page = (Path(__file__).parents[2] / "docs" / "machine.md").read_text(encoding="utf-8")
    for record in (Machine, Gpu, Disk):
        assert [each.name for each in fields(record) if f"`{each.name}`" not in page] == []
    example = page.partition("```json")[2].partition("```")[0]
    described = json.loads(example)
    assert described.keys() == {each.name for each in fields(Machine)}
    assert machine_from_json(described).gpus[0].processes


def test_sizes_below_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="ram_bytes: -1 — a whole number of 0 or more"):
        machine_from_json({"ram_bytes": -1})
