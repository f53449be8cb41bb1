"""Laws of the house, read from the source: what may import what, who may print, how large things grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import maquette
from maquette.cli.app import COMMANDS
from maquette.studio.server import PACKAGES
from tests.disguises import disguises

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "maquette"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# From the top down: a room may import the rooms after it. The modules at the package's root come last.
ROOMS = (
    "cli",
    "studio",
    "jobs",
    "api",
    "searches",
    "demo",
    "checking",
    "importing",
    "planning",
    "rules",
    "searching",
    "deploying",
    "choosing",
    "evaluating",
    "comparing",
    "measuring",
    "training",
    "masking",
    "curating",
    "captioning",
    "regularizing",
    "toolbox",
    "drawing",
    "encoders",
    "footprint",
    "logs",
    "lora",
    "world",
    "runs",
    "families",
    "dataset",
    "elsewhere",
    "kohya",
    "words",
    "project",
    "findings",
)
FOUNDATION = (
    "devices",
    "precisions",
    "web",
    "processes",
    "locking",
    "files",
    "reading",
    "stopping",
    "events",
    "errors",
    "spoken",
)
# The small world is a base model like any other: it may not lean on how LoRAs are trained or drawn.
ONLY_LEANS_ON = {"world": ("families",), "lora": ("families",)}

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "numpy", "PIL", "cv2", "tensorboard")
DISTRIBUTIONS = {
    "markdown-it-py": "markdown_it",
    "mlflow-skinny": "mlflow",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scenedetect-headless": "scenedetect",
}
UNPICKLERS = ("pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle")
WRITERS = ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write", "pprint.pprint")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 100


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room_of(path: Path) -> str:
    """Return the room of a source file: its folder below the package, or its own name at the root."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported_modules(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every absolute module name that a file imports, anywhere in it, with the line."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute in this house"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each of our own rooms that a file imports, with the line."""
    for name, line in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "maquette" and len(parts) > 1 and parts[1] in {*ROOMS, *FOUNDATION}:
            yield parts[1], line


def places(offences: list[tuple[Path, int, str]]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}:{line}: {what}" for path, line, what in offences)


def test_every_module_belongs_to_a_room() -> None:
    known = {*ROOMS, *FOUNDATION, "__init__", "__main__"}
    assert {room_of(path) for path in SOURCES} <= known


def test_imports_point_downward_only() -> None:
    rank = {room: depth for depth, room in enumerate((*ROOMS, *FOUNDATION))}
    offences = []
    for path in SOURCES:
        room = room_of(path)
        if room not in rank:
            continue
        for other, line in imported_rooms(path):
            upward = rank[other] < rank[room]
            too_much = room in ONLY_LEANS_ON and other not in (room, *ONLY_LEANS_ON[room], *FOUNDATION)
            if upward or too_much:
                offences.append((path, line, f"{room} may not import {other}"))
    assert not offences, places(offences)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_imports(path: Path) -> Iterator[str]:
    """Yield what a file imports when it runs, deferred imports too; not what it imports for its types alone."""
    checks = [
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    for_types = {id(node) for check in checks for node in ast.walk(check)}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """A package's own __init__ may name its modules; nothing else goes round in a circle, inside a room neither."""
    modules = {module_name(path): path for path in SOURCES}
    graph = {
        name: {other for other in runtime_imports(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import maquette", (*HEAVY, "pydantic", "click")),
        ("import maquette.studio.app", ("torch", "diffusers", "transformers", "optuna", "plotly")),
        ("from maquette.cli import main; sys.argv = ['maquette', '--help']; main()", (*HEAVY, "pydantic")),
        ("from maquette.cli import main; sys.argv = ['maquette', '--version']; main()", (*HEAVY, "pydantic")),
        *(
            (f"from maquette.cli import main; sys.argv = ['maquette', '{name}', '--help']; main()", HEAVY)
            for name in COMMANDS
        ),
    ],
    ids=["import", "the studio", "--help", "--version", *(f"{name} --help" for name in COMMANDS)],
)
def test_the_door_is_light(code: str, forbidden: tuple[str, ...]) -> None:
    """Counted in modules, not in seconds: what is not imported costs nothing on any machine."""
    program = (
        f"import sys\ntry:\n    exec({code!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & set(forbidden)


def modules_of(requirements: list[str]) -> set[str]:
    """Return the modules that requirements bring."""
    names = {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    return {DISTRIBUTIONS.get(name, name.replace("-", "_")) for name in names}


def test_the_studio_asks_for_every_package_of_its_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(PACKAGES) == modules_of(project["optional-dependencies"]["studio"])


def test_every_third_party_import_is_a_declared_dependency() -> None:
    """What another package happens to bring along may be gone with its next release."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        requirement
        for extra, requirements in project["optional-dependencies"].items()
        if extra != "dev"
        for requirement in requirements
    ]
    modules = modules_of(project["dependencies"] + extras)
    offences = [
        (path, line, f"imports {name}")
        for path in SOURCES
        for name, line in imported_modules(path)
        if name.partition(".")[0] not in {"maquette", *modules, *sys.stdlib_module_names}
    ]
    assert not offences, places(offences)


def test_nothing_outside_families_asks_for_a_family() -> None:
    offences = [
        (path, line, what)
        for path in SOURCES
        if room_of(path) != "families"
        for line, what in disguises(
            tree_of(path),
            knows_scripts=room_of(path) in ("kohya", "elsewhere"),
            knows_prefixes=room_of(path) == "lora",
            knows_keys=room_of(path) == "elsewhere",
        )
    ]
    assert not offences, places(offences)


@pytest.mark.parametrize(
    "code",
    [
        'if name == "sdxl": pass',
        'kind = f"sd{1}" if old else f"sdx{\'l\'}"',
        'kind = "sd" + "xl"',
        'kind = "".join(["sd", "xl"])',
        'sizes = {"sd_xl": 1024}',
        'match info.family:\n    case "sd-1": pass',
        'if info.family in ("flux", "other"): pass',
        'if model.spec.name == "flux": pass',
        "if model.is_sdxl: pass",
        "def sdxl_sizes(): pass",
        'words = {"sd_v1": "SD1"}',
        'prefixes = ["lora_unet_", "lora_te1"]',
        'script = "sdxl_train_network.py"',
        'architecture = "stable-diffusion-v1/lora"',
    ],
)
def test_a_family_in_disguise_is_seen(code: str) -> None:
    assert list(disguises(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        'message = "SDXL learned pictures of 1024 px."',
        '"""What SDXL is told."""',
        "if info.family == other.family: pass",
        "if lora.family is None: pass",
        "spec = FAMILIES[info.family].spec",
        'line = "lora key not loaded: lora_te1_text_model_encoder.lora_up.weight"',
        'folder = "sd1234"',
    ],
)
def test_what_only_sounds_like_a_family_is_not_blamed(code: str) -> None:
    assert not list(disguises(ast.parse(code)))


def test_only_the_command_line_writes_to_the_terminal() -> None:
    """The command line, and modules that are programs of their own (`python -m …`); a stage yields events."""
    offences = []
    for path in SOURCES:
        if room_of(path) == "cli" or "__name__ == '__main__'" in ast.unparse(tree_of(path)):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in WRITERS:
                offences.append((path, node.lineno, f"calls {ast.unparse(node.func)}"))
    assert not offences, places(offences)


def test_nothing_is_ever_unpickled() -> None:
    offences = []
    for path in SOURCES:
        offences += [
            (path, line, f"imports {name}")
            for name, line in imported_modules(path)
            if name.partition(".")[0] in UNPICKLERS
        ]
        offences += [
            (path, node.lineno, f"calls {ast.unparse(node.func)}")
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Call)
            and (
                ast.unparse(node.func) == "torch.load"
                or any(keyword.arg == "allow_pickle" for keyword in node.keywords)
            )
        ]
    assert not offences, places(offences)


def test_pictures_are_opened_in_one_place() -> None:
    """There formats and sizes are held against what is allowed, and what goes wrong becomes one error with a name."""
    openers = ("Image.open", "cv2.imread", "cv2.imdecode", "cv2.imdecodemulti", "cv2.VideoCapture")
    offences = []
    for path in SOURCES:
        if path == PACKAGE / "dataset" / "opening.py":
            continue
        offences += [
            (path, node.lineno, f"calls {ast.unparse(node.func)}")
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Call)
            and (ast.unparse(node.func) in openers or ast.unparse(node.func).endswith("Image.open"))
        ]
        offences += [
            (path, line, f"imports {name}")
            for name, line in imported_modules(path)
            if name.startswith(("PIL.Image.open", "PIL.ImageFile", "imageio"))
        ]
    assert not offences, places(offences)


PARSERS = ("json.load", "json.loads", "tomllib.load", "tomllib.loads", "tomli.loads", "JSONDecoder")
"""And whatever of `yaml` parses."""
READ_ELSEWHERE = {
    "web": "answers of a server, over a connection that bounds them",
    "world": "the pack that is shipped, and the programs that make it",
}
"""Rooms and modules that parse for themselves, and what."""


def test_what_a_stranger_may_have_written_is_read_in_one_place() -> None:
    """`maquette.reading` bounds size, depth, digits and entries, and says in words what is wrong."""
    offences = []
    for path in SOURCES:
        if room_of(path) in ("reading", *READ_ELSEWHERE):
            continue
        for node in ast.walk(tree_of(path)):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in PARSERS or name.startswith("yaml."):
                offences.append((path, node.lineno, f"calls {name}"))
    assert not offences, places(offences)


def test_files_stay_readable_in_one_sitting() -> None:
    folders = ("src", "tests", "tools", "benchmarks")
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    offences = [(path, count, f"{count} lines") for path, count in lengths.items() if count > MAX_FILE_LINES]
    assert not offences, places(offences)


def test_functions_stay_readable_on_a_screen_or_two() -> None:
    offences = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > MAX_FUNCTION_LINES:
                    offences.append((path, node.lineno, f"{node.name} has {count} lines"))
    assert not offences, places(offences)


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in SOURCES if tree_of(path).body and not ast.get_docstring(tree_of(path))]
    assert not silent, places([(path, 1, "has no docstring") for path in silent])


def test_the_changelog_has_an_entry_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(maquette.__version__)}\]", changelog, re.MULTILINE)
