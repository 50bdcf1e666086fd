"""A module imports lower layers only: the shape of the code, checked."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nnt"

LAYERS = [
    {"types"},
    {"errors", "detector", "files", "machine", "progress", "provenance"},
    {"compiled"},
    {"tracks", "objective", "classes", "optimisers", "plugins"},
    {"networks"},
    {"filters", "sampling", "simulation", "metrics", "fixedpoint", "kernel"},
    {"config"},
    {"judging", "plots", "engine", "tracking"},
    {"training", "export"},
    {"evaluation"},
    {"sweep"},
    {"cli"},
    {"__main__"},
]

SOLE_IMPORTER = {
    "yaml": "config",
    "pydantic": "config",
    "pydantic_core": "config",
    "annotated_types": "config",
    "matplotlib": "plots",
    "mlflow": "tracking",
}

LAYER_OF = {module: i for i, names in enumerate(LAYERS) for module in names}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: import by absolute names"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    "path", sources(), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_go_downwards(path: Path) -> None:
    module = module_of(path)
    if module == "__init__":
        return
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "nnt" and rest and rest[0] in LAYER_OF and rest[0] != module:
            assert LAYER_OF[rest[0]] < LAYER_OF[module], (
                f"{module} imports {rest[0]}, which is not below it"
            )
        owner = SOLE_IMPORTER.get(top, module)
        assert owner == module, f"only {owner} may import {top}"


def test_every_module_has_a_layer() -> None:
    assert {module_of(path) for path in sources()} - {"__init__"} <= set(LAYER_OF)


def test_help_loads_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys\n"
        "from nnt.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'numpy', 'pandas', 'numba', 'pydantic', 'yaml'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_configuration_loads_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys\n"
        "from nnt.config import load_config\n"
        "load_config('reweight_normal').for_expert(1).form\n"
        "heavy = {'torch', 'mlflow', 'pandas', 'numba', 'matplotlib', 'pyarrow'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_training_starts_without_what_only_its_end_needs() -> None:
    code = (
        "import sys, nnt.training\n"
        "heavy = {'matplotlib', 'mlflow', 'pandas', 'pyarrow', 'scipy.special'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
