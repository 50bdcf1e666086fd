"""The page of promises names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_promise_names_a_test_that_is_there() -> None:
    page = (HERE.parent / "docs" / "robustness.md").read_text(encoding="utf-8")
    files = {path.name: path.read_text("utf-8") for path in HERE.glob("test_*.py")}
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", page))
    assert len(named) > 40
    code = "".join(files.values())
    missing = [
        name
        for name in sorted(named)
        if name not in files and f"def {name}(" not in code
    ]
    assert not missing
