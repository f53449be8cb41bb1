"""A kohya folder as a newcomer has it, with ten different mistakes: each is named, with what to do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from maquette.checking.run import check_events
from maquette.events import run_stage
from maquette.findings.records import Finding
from maquette.project.machine import Gpu
from tests.planted.clean import MACHINE, PROFILE, clean_case, write_material


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mac user's folder after a week of tutorials."""
    tmp_path = tmp_path_factory.mktemp("week")
    material = write_material(tmp_path / "material")
    case = clean_case(tmp_path / "case", "kohya", material)
    pictures = case.pictures
    case.edit(case.script, "--mixed_precision=bf16", "--mixed_precision=fp16")  # 1 on a Mac
    case.edit(case.script, "--optimizer_type=AdamW", "--optimizer_type=AdamW8bit")  # 2 on a Mac
    case.edit(case.script, "accelerate launch --num_cpu_threads_per_process=4", "python3")  # 3
    case.edit(case.script, "--resolution=512,512", "--resolution=1024,1024")  # 4 on SD 1.5
    case.edit(case.script, "--network_alpha=16", "--network_alpha=64")  # 5 alpha above dim
    flipped = pictures[0].with_name(pictures[0].stem + "_flip.png")  # 6 a mirrored copy
    ImageOps.mirror(Image.open(pictures[0])).save(flipped)
    flipped.with_suffix(".txt").write_text(pictures[0].with_suffix(".txt").read_text())
    pictures[5].write_bytes(pictures[5].read_bytes()[:2000])  # 7 a picture cut short
    case.caption(2, "full body, front view, jumping")  # 8 no trigger
    case.caption(8, "zkw_fox, full body, front view, left hand green glove")  # 9 the wrong hand
    case.all_captions(lambda text: text + ", spiky red hair")  # 10 what the trigger should carry
    (case.folder / "profile.toml").write_text(PROFILE)
    return case.folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[Finding]:
    mac = replace(
        MACHINE,
        system="Darwin",
        gpus=(Gpu(kind="mps", name="Apple M1 Pro", total_bytes=16 * 2**30),),
        environment={"PYTORCH_ENABLE_MPS_FALLBACK": "1"},
        packages={"torch": "2.9.0", "accelerate": "1.10.0"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MAQUETTE_CACHE", str(folder / ".cache"))
        return list(run_stage(check_events(["train.sh"], machine=mac)).findings)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("half precision on Apple's GPU", ("fp16", "mps")),
        ("an 8-bit optimizer without CUDA", ("8bit", "cuda")),
        ("no accelerate launch", ("accelerate",)),
        ("SD 1.5 at the resolution of SDXL", ("1024", "512")),
        ("alpha above the rank", ("alpha", "64", "32")),
        ("a mirrored copy of an asymmetric subject", ("mirror", "_flip")),
        ("a picture cut short", ("fox_06.png",)),
        ("a caption without trigger", ("fox_03", "zkw_fox")),
        ("the glove on the wrong hand", ("fox_09", "left", "right")),
        ("hair that the trigger should carry", ("spiky red hair", "trigger")),
    ],
)
def test_each_fault_is_named(fault: str, words: tuple[str, ...], found: list[Finding]) -> None:
    texts = [f"{f.where} {f.message} {f.remedy}".lower() for f in found]
    assert any(all(word.lower() in text for word in words) for text in texts), (fault, texts)


def test_every_finding_says_what_to_do(found: list[Finding]) -> None:
    for finding in found:
        assert finding.message.endswith((".", ")")) and len(finding.message) > 20, finding
        assert finding.remedy.strip(), finding
        assert finding.path is None or os.fspath(finding.path)
