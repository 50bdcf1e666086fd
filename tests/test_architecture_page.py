"""The layers and class diagrams of docs/architecture.md are those of the code."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
from test_imports import LAYERS, PATHS, room_of

PAGE = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text("utf-8")
DIAGRAMS = dict(re.findall(r"(?ms)^### `(\w+)`\n.*?^classDiagram\n(.*?)^```$", PAGE))


def the_class(package: str, name: str) -> type:
    found = getattr(importlib.import_module(f"nnt.{package}"), name)
    assert isinstance(found, type)
    return found


def test_the_table_has_the_layers_of_the_code() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| (.*) \|$", PAGE)
    there = {room_of(module) for module in PATHS} - {"nnt", "__main__"}
    layers = [rooms & there for rooms in LAYERS if rooms & there]
    assert [int(number) for number, _ in rows] == list(range(len(layers)))
    assert [set(re.findall(r"`(\w+)`", names)) for _, names in rows] == layers


@pytest.mark.parametrize("package", DIAGRAMS)
def test_classes_and_methods_exist(package: str) -> None:
    for name, body in re.findall(
        r"(?s)class (\w+)(?: \{\n(.*?)\n  \})?", DIAGRAMS[package]
    ):
        owner = the_class(package, name)
        for method in re.findall(r"(\w+)\(\)", body):
            assert callable(getattr(owner, method)), f"{name}.{method}"


@pytest.mark.parametrize("package", DIAGRAMS)
def test_arrows_are_true(package: str) -> None:
    for left, arrow, right in re.findall(
        r"(?m)^  (\w+) (-->|<\|--|<\|\.\.) (\w+)$", DIAGRAMS[package]
    ):
        first, second = the_class(package, left), the_class(package, right)
        if arrow == "-->":
            assert re.search(rf"\b{right}\b", inspect.getsource(first)), (left, right)
        elif arrow == "<|--":
            assert issubclass(second, first), (left, right)
        else:
            names = {n for n in vars(first) if not n.startswith("_")}
            assert names <= set(dir(second)), (left, right)


def test_every_package_with_public_classes_has_a_diagram() -> None:
    packages = {name.split(".")[1] for name in PATHS if name.count(".") == 2}
    for package in packages - set(DIAGRAMS):
        door = importlib.import_module(f"nnt.{package}")
        public = [getattr(door, name) for name in getattr(door, "__all__", ())]
        classes = [c for c in public if isinstance(c, type)]
        assert not classes, f"{package}: {classes}"
