"""The lower bounds of ``pyproject.toml`` can be installed as they stand."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.lowest import PYPROJECT, lowest


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def test_every_requirement_has_a_lower_bound_that_is_met_here() -> None:
    found = dict(line.split("==") for line in lowest())
    assert {"click", "numpy", "mlflow", "matplotlib", "onnx", "pytest"} <= set(found)
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    used = [r for extra in ("cluster", "onnx", "sweep") for r in extras[extra]]
    named = {r.split(">=")[0] for r in used if not r.startswith(project["name"])}
    assert named <= set(found)
    assert "torch" not in found
    for name, bound in found.items():
        assert numbers(version(name)) >= numbers(bound), name


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy~=2.0"])
def test_a_requirement_without_a_lower_bound_is_refused(
    requirement: str, tmp_path: Path
) -> None:
    changed = PYPROJECT.read_text().replace('"numpy>=', f'"{requirement}", "scipy>=')
    (tmp_path / "pyproject.toml").write_text(changed)
    with pytest.raises(ValueError, match="expected a lower bound"):
        list(lowest(tmp_path / "pyproject.toml"))
