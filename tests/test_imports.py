"""The shape of the code, checked: every import goes down, and none goes in a circle.

What counts is every import, at the top of a file, inside a function or for the type
checker alone, and every name of a module in a string, which is imported later.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import nnt

PACKAGE = Path(nnt.__file__).parent

LAYERS = [
    {"types", "version"},
    {"errors", "detector", "files", "machine", "markdown", "provenance"},
    {"compiled", "progress"},
    {"tracks", "objective", "classes", "plugins"},
    {"networks"},
    {"filters", "sampling", "simulation", "metrics", "fixedpoint", "kernel"},
    {"config"},
    {"judging", "plots", "engine", "tracking"},
    {"training", "export"},
    {"evaluation"},
    {"sweep"},
    {"nnt"},
    {"cli"},
    {"__main__"},
]
"""Rooms from the ground to the roof; `nnt` is the door, with all its lazy names. A room
imports from lower layers only, never from its neighbours in the same one."""

LAYER_OF = {room: i for i, rooms in enumerate(LAYERS) for room in rooms}

ONLY_IN = {
    "yaml": "config",
    "pydantic": "config",
    "pydantic_core": "config",
    "matplotlib": "plots",
    "mlflow": "tracking",
    "click": "cli",
    "jinja2": "evaluation",
    "pyarrow": "tracks",
    "onnx": "export",
    "optuna": "sweep",
    "distributed": "sweep",
    "dask_jobqueue": "sweep",
}
"""Libraries that one room alone knows."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


PATHS = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    return module if module == "nnt" else module.split(".")[1]


def written_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a file imports, now or later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by absolute names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("nnt."):
            name = str(node.value).partition(":")[0]
            # The tags of runs are called nnt.SOMETHING, too.
            if name in PATHS:
                yield name


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports: files of nnt, and the libraries by their first names."""
    found = set()
    for name in written_names(ast.parse(PATHS[module].read_text(encoding="utf-8"))):
        if name.partition(".")[0] != "nnt":
            found.add(name.partition(".")[0])
            continue
        while name not in PATHS:
            name = name.rpartition(".")[0]
        found.add(name)
    return frozenset(found - {module})


@pytest.mark.parametrize("module", PATHS)
def test_imports_go_down(module: str) -> None:
    room = room_of(module)
    for name in imports(module):
        if name in PATHS and room_of(name) != room:
            assert LAYER_OF[room_of(name)] < LAYER_OF[room], (
                f"{module} imports {name}, which is not below it"
            )
        owner = ONLY_IN.get(name, room)
        assert owner == room, f"only {owner} may import {name}"


def test_no_files_import_each_other() -> None:
    graph = {name: imports(name) & PATHS.keys() for name in PATHS}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail(" <- ".join(err.args[1]))


def test_every_room_has_a_layer() -> None:
    assert {room_of(name) for name in PATHS} <= set(LAYER_OF)


@pytest.mark.parametrize("module", [n for n in PATHS if n != "nnt.__main__"])
def test_every_public_name_can_be_imported(module: str) -> None:
    loaded = importlib.import_module(module)
    missing = [n for n in getattr(loaded, "__all__", ()) if not hasattr(loaded, n)]
    assert not missing, f"{module} has no {missing}"


def test_functions_of_nnt_stay_functions_once_all_is_imported() -> None:
    for module in PATHS.keys() - {"nnt.__main__"}:
        importlib.import_module(module)
    for name in set(nnt.__all__) - {"__version__"}:
        assert callable(getattr(nnt, name)) or f"nnt.{name}" in PATHS, name
    assert callable(nnt.sweep)


def loaded_by(code: str, heavy: set[str]) -> str:
    """Which of some libraries a separate program loads."""
    code = f"import sys\n{code}\nprint(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


PLAIN_TRAINING = """
import tempfile
import nnt
from nnt.tracking import Tracker
data = {"simulate": {"tracks": 300, "seed": 1}, "split": [0.6, 0.2, 0.2]}
small = {"data": data, "experts": [-1], "epochs": 1, "plot_every": 0, "hidden": [8]}
with tempfile.TemporaryDirectory() as folder:
    nnt.train(nnt.load_config("baseline_v2", small), tracker=Tracker(folder))
"""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import nnt", "torch mlflow numpy pandas numba pydantic yaml click scipy"),
        (
            "from nnt.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
            "torch mlflow numpy pandas numba pydantic yaml",
        ),
        (
            "from nnt.config import load_config\n"
            "load_config('reweight_normal').for_expert(1).form",
            "torch mlflow pandas numba matplotlib pyarrow",
        ),
        (
            "import nnt.training, nnt.sweep.worker",
            "matplotlib mlflow pandas pyarrow scipy.special optuna distributed",
        ),
        ("import nnt.sweep.run, nnt.sweep.report", "torch mlflow"),
        ("import nnt.evaluation, nnt.export, nnt.fixedpoint", "torch"),
        (PLAIN_TRAINING, "torch"),
    ],
    ids=[
        "import nnt",
        "help",
        "configuration",
        "training",
        "sweep",
        "evaluation",
        "plain networks",
    ],
)
def test_nothing_heavy_is_loaded_before_its_time(code: str, heavy: str) -> None:
    assert not loaded_by(code, set(heavy.split()))
