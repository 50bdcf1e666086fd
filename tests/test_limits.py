"""What a configuration may ask for and a training refuses before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nnt
from nnt.config import load_config
from nnt.errors import ConfigError
from nnt.training.inputs import LIMITS, refuse_unsupported

BEYOND: dict[str, dict[str, Any]] = {
    "teach_from": {"teach_from": "0" * 32},
}


@pytest.mark.parametrize("key", [key for key, *_ in LIMITS])
def test_each_is_refused_by_its_key(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^custom: {key}: .*not support.*; use "):
        refuse_unsupported(load_config(BEYOND[key]))


def test_nothing_is_begun_where_something_is_refused(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="teach_from"):
        nnt.train({"teach_from": "x"})
    assert list(workplace.iterdir()) == []


def test_what_is_shipped_is_supported() -> None:
    from nnt.config import config_files

    for path in config_files().values():
        refuse_unsupported(load_config(path))
