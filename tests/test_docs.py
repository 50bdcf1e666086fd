"""The pages say what the code is, name what exists, and their examples run."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from test_imports import LAYERS, PATHS, room_of

from nnt.cli import main
from nnt.config import Config, config_files, load_config
from nnt.config.schema import RUN_WIDE
from nnt.config.yaml_text import read_yaml
from nnt.export import TARGETS
from nnt.filters import FILTERS
from nnt.networks import ACTIVATIONS, MODELS
from nnt.objective import CLASS_KINDS, OPTIMISERS, REGRESSION_KINDS

ROOT = Path(__file__).parent.parent
PAGES = {
    p.name: p.read_text("utf-8") for p in [ROOT / "README.md", *ROOT.glob("docs/*.md")]
}
CONFIGURATION, EXTENDING = PAGES["configuration.md"], PAGES["extending.md"]
ARCHITECTURE = PAGES["architecture.md"]
DIAGRAMS = dict(
    re.findall(r"(?ms)^### `(\w+)`\n.*?^classDiagram\n(.*?)^```$", ARCHITECTURE)
)
FIELDS = Config.model_fields
BODY = ast.parse(textwrap.dedent(inspect.getsource(Config))).body[0]
MEANINGS = {
    key.target.id: " ".join(str(text.value.value).split())
    for key, text in pairwise(ast.iter_child_nodes(BODY))
    if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
    if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
}
"""Key -> the text below it."""
DESCRIBED = ("name", "description", "category")
"""Keys by which configurations with the same values differ."""


def section(page: str, heading: str) -> str:
    return page.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def values(name: str) -> dict[str, Any]:
    known = load_config(name).to_dict().items()
    return {key: value for key, value in known if key not in DESCRIBED}


# docs/configuration.md


def test_base_holds_every_key_with_its_default() -> None:
    defaults = load_config({}).to_dict()
    text = config_files()["base"].read_text(encoding="utf-8")
    assert {*re.findall(r"(?m)^(\w+):", text), "name"} == set(defaults)
    assert values("base") == {k: v for k, v in defaults.items() if k not in DESCRIBED}


def test_the_table_lists_every_key_with_default_and_meaning() -> None:
    rows = re.findall(
        r"(?m)^\| `(\w+)` \| `(.*?)` \| (.*) \|$", section(CONFIGURATION, "Keys")
    )
    assert [k for k, *_ in rows] == [k for k in FIELDS if k not in ("name", "extends")]
    for key, default, meaning in rows:
        assert load_config({key: read_yaml(default, key)}) == load_config({}), key
        assert meaning == MEANINGS[key]


def test_the_page_names_the_keys_of_the_whole_run() -> None:
    listed = CONFIGURATION.partition("The keys of the whole run\n(")[2].partition(")")[
        0
    ]
    named = [name.strip(" `\n") for name in listed.split(",")]
    assert named == [key for key in Config.model_fields if key in RUN_WIDE]


def test_the_page_is_right_about_names_for_the_same_values() -> None:
    words = CONFIGURATION.partition("stand for the same values:")[2].partition(".\n")[0]
    pairs = re.findall(
        r"`([\w.]+)`(?: and\s`([\w.]+)`)?\s(?:is|are)\s+`([\w.]+)`", words
    )
    assert len(pairs) == 5
    for *names, meant in pairs:
        for name in filter(None, names):
            assert values(name) == values(meant), name


def test_the_page_names_every_configuration() -> None:
    guide = section(CONFIGURATION, "Which one to use")
    shipped = {path.stem for path in ROOT.glob("configs/*.yaml")}
    assert shipped <= set(re.findall(r"`([a-z][\w.]+)`", guide))


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("act", ACTIVATIONS),
        ("model", MODELS),
        ("optim", OPTIMISERS),
        ("loss", REGRESSION_KINDS),
        ("class_loss", CLASS_KINDS),
    ],
)
def test_the_meaning_of_a_key_names_its_values(
    key: str, names: Collection[str]
) -> None:
    words = re.findall(r"[\w/]+", MEANINGS[key])
    assert set(names) <= set(words)


# Tables, commands, promises


@pytest.mark.parametrize(
    ("page", "heading", "known"),
    [
        ("configuration.md", "filter", FILTERS),
        ("deployment.md", "`--to`", TARGETS),
    ],
)
def test_a_table_has_a_row_for_each(
    page: str, heading: str, known: Collection[str]
) -> None:
    table = PAGES[page].split(f"| {heading} |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert {n for cell in cells for n in re.findall(r"`(\w+)", cell)} == set(known)


def test_the_docs_show_every_command() -> None:
    shown = set(re.findall(r"\bnnt (\w+)", "\n".join(PAGES.values())))
    assert set(main.list_commands(click.Context(main))) <= shown


@pytest.mark.parametrize(
    ("page", "least"), [("robustness.md", 60), ("tracking.md", 15)]
)
def test_every_promise_names_a_test_that_is_there(page: str, least: int) -> None:
    files = {
        path.name: path.read_text("utf-8") for path in ROOT.glob("tests/test_*.py")
    }
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", PAGES[page]))
    assert len(named) >= least
    code = "".join(files.values())
    assert not [n for n in named if n not in files and f"def {n}(" not in code]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGES[page]):
        assert (folder / target).exists(), target
        text = PAGES[Path(target).name] if anchor and target else PAGES[page]
        titles = re.findall(r"(?m)^#+ (.*)$", text)
        anchors = [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]
        assert not anchor or anchor in anchors, (target, anchor)


# docs/architecture.md


def test_the_table_has_the_layers_of_the_code() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| (.*) \|$", ARCHITECTURE)
    there = {room_of(module) for module in PATHS} - {"nnt", "__main__"}
    layers = [rooms & there for rooms in LAYERS if rooms & there]
    assert [int(number) for number, _ in rows] == list(range(len(layers)))
    assert [set(re.findall(r"`(\w+)`", names)) for _, names in rows] == layers


def test_the_architecture_names_parts_that_exist() -> None:
    for room, name in re.findall(r"`([a-z]+)\.(?!csv)(\w+)[\w.]*`", ARCHITECTURE):
        if f"nnt.{room}" in PATHS and f"nnt.{room}.{name}" not in PATHS:
            assert hasattr(importlib.import_module(f"nnt.{room}"), name), (room, name)


@pytest.mark.parametrize("package", DIAGRAMS)
def test_a_diagram_is_true(package: str) -> None:
    door = importlib.import_module(f"nnt.{package}")
    for name, body in re.findall(
        r"(?s)class (\w+)(?: \{\n(.*?)\n  \})?", DIAGRAMS[package]
    ):
        for method in re.findall(r"(\w+)\(\)", body):
            assert callable(getattr(getattr(door, name), method)), f"{name}.{method}"
    for left, arrow, right in re.findall(
        r"(?m)^  (\w+) (-->|<\|--) (\w+)$", DIAGRAMS[package]
    ):
        first, second = getattr(door, left), getattr(door, right)
        if arrow == "-->":
            assert re.search(rf"\b{right}\b", inspect.getsource(first)), (left, right)
        else:
            assert issubclass(second, first), (left, right)


def test_every_package_with_several_public_classes_has_a_diagram() -> None:
    for package in {name.split(".")[1] for name in PATHS if name.count(".") == 2}:
        door = importlib.import_module(f"nnt.{package}")
        public = [getattr(door, name) for name in getattr(door, "__all__", ())]
        classes = [c for c in public if isinstance(c, type)]
        assert package in DIAGRAMS or len(classes) <= 4, f"{package}: {classes}"


# docs/extending.md


def test_the_examples_of_extending_run_one_after_the_other(
    tmp_path: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, tmp_path)
    steps = []
    for example in re.findall(r"(?ms)^```python\n(.*?)^```$", EXTENDING):
        if module := re.match(r"# (\w+\.py)\n", example):
            (tmp_path / module[1]).write_text(example)
        else:
            steps.append(example)
    assert len(steps) >= 8
    (tmp_path / "steps.py").write_text("\n".join(steps))
    environment = {**os.environ, "NNT_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "steps.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_files_and_tables_that_exist(page: str) -> None:
    for path in re.findall(r"`((?:nnt|tests|bench|configs)/[\w/]+\.\w+)`", PAGES[page]):
        assert (ROOT / path).is_file(), path
    tables = re.findall(r"`([A-Z_]+)` of\s`([\w/]+\.py)`", PAGES[page])
    assert page != "extending.md" or len(tables) >= 8
    for name, path in tables:
        assert re.search(rf"(?m)^{name}\b", (ROOT / path).read_text("utf-8")), name
