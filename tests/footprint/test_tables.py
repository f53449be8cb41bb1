"""The shipped tables are what the installed libraries' networks give, and with them nothing heavy is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from maquette import families
from maquette.families.common import layers, stored
from maquette.families.protocol import Layout
from maquette.families.sd1.tiny import TINY as SMALL
from maquette.families.sdxl.tiny import TINY as LARGE
from maquette.footprint import workload
from maquette.world.pack import base_path

NARROW = [SMALL, LARGE, families.layout_of(families.inspect(base_path()))]
REMEDY = "make it again: python tools/make_tables.py"


def shipped(folder: Path, name: str) -> dict[str, object]:
    table = stored.read_table(folder / f"{name}.json.gz")
    assert table is not None, f"{name}: {REMEDY}"
    return {key: value for key, value in table.items() if key != "version"}


def plain(table: dict[str, object]) -> object:
    return json.loads(json.dumps(table))


@pytest.mark.parametrize("layout", NARROW, ids=layers.table_name)
@pytest.mark.slow
def test_tables_of_narrow_models_are_up_to_date(layout: Layout) -> None:
    """The published models' tables are made by the same code in the same run of the tool."""
    family = families.FAMILIES[layout.family]
    assert shipped(stored.SHIPPED, layers.table_name(layout)) == plain(layers.parts_table(family, layout)), (
        REMEDY
    )
    coding = shipped(workload.SHIPPED, workload.coding_name(layout))
    assert coding == plain(workload.coding_table(layout)), REMEDY
    for parts, conv in product(workload.PARTS_CHOICES, (False, True)):
        training = shipped(workload.SHIPPED, workload.training_name(layout, parts, conv))
        assert training == plain(workload.training_table(layout, parts, conv)), REMEDY


@pytest.mark.parametrize("family", sorted(families.FAMILIES))
def test_published_models_have_all_their_tables(family: str) -> None:
    layout = families.FAMILIES[family].layout(None)
    names = [workload.coding_name(layout)] + [
        workload.training_name(layout, parts, conv)
        for parts, conv in product(workload.PARTS_CHOICES, (False, True))
    ]
    assert all(shipped(workload.SHIPPED, name) for name in names)
    assert shipped(stored.SHIPPED, layers.table_name(layout))


def test_the_memory_of_a_known_layout_is_known_without_torch() -> None:
    code = (
        "import sys; from maquette import families; from maquette.footprint.memory import *\n"
        "for family in families.FAMILIES.values(): estimate_memory(MemoryRequest(layout=family.layout(None)))\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_traced_once_is_kept_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    made = []

    def make() -> dict[str, object]:
        made.append(1)
        return {"rows": [1, 2]}

    for _ in range(2):
        assert stored.stored("new", make)["rows"] == [1, 2]
    assert len(made) == 1
    (tmp_path / "layouts" / "new.json.gz").write_bytes(b"damaged")
    assert stored.stored("new", make)["rows"] == [1, 2] and len(made) == 2
