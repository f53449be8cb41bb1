"""What the tests of a search share: a small project with real pictures, its basis, and spaces."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from maquette.demo.project import write_demo_project
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.searching.basis import Basis, basis_of
from maquette.searching.space import Space
from maquette.searching.space_file import parse_space

TOY = """
safety = false
refuse = "learning_rate > 1.6e-3"

[space]
network_dim = { choose = [2, 4, 8, 16] }
network_alpha_ratio = { low = 0.25, high = 0.9, step = 0.05 }
learning_rate = { low = 3e-4, high = 4e-3, log = true }
lr_scheduler = { choose = ["cosine", "constant", "constant_with_warmup"] }
lr_warmup_steps = { choose = [2, 4], if = "lr_scheduler != 'constant'" }
"""


def toy_space(text: str = TOY) -> Space:
    return parse_space(text, "space.toml")


def toy_project(folder: Path, *, steps: int = 20) -> Path:
    """Write the demo's project with fewer steps; return its folder."""
    write_demo_project(folder, seed=1, steps=steps)
    return folder


@cache
def toy_basis() -> Basis:
    """A basis that tests read and none changes."""
    folder = toy_project(Path(mkdtemp(prefix="maquette-search-")))
    return basis_of(folder, load_settings(folder), judge)
