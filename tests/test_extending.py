"""The examples of docs/extending.md are run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE)


def test_all_examples_run_one_after_the_other(
    tmp_path: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, tmp_path)
    steps = []
    for example in EXAMPLES:
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


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:nnt|tests)/[\w/]+\.py)`", PAGE)))
)
def test_the_page_names_files_that_exist(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("nnt/networks/form.py", "ACTIVATIONS"),
        ("nnt/networks/form.py", "MODELS"),
        ("nnt/networks/predicting.py", "ACTIVATION_FUNCTIONS"),
        ("nnt/networks/module.py", "ACTIVATION_MODULES"),
        ("nnt/kernel/activations.py", "ACTIVATION_CODES"),
        ("nnt/export/onnx_files.py", "ACTIVATIONS"),
        ("nnt/tracks/layouts.py", "LAYOUTS"),
        ("tests/test_backends.py", "NOT_COMPILED"),
    ],
)
def test_the_page_names_tables_that_exist(path: str, name: str) -> None:
    assert f"`{name}`" in PAGE
    assert re.search(rf"(?m)^{name}\b", (ROOT / path).read_text(encoding="utf-8"))
