"""docs/configuration.md says what the configurations are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from test_config import CONFIGS

from nnt.config import Config, load_config
from nnt.config.schema import RUN_WIDE
from nnt.config.yaml_text import read_yaml


def yaml_keys(path: Path) -> set[str]:
    """Keys at the left margin of a file."""
    return set(re.findall(r"(?m)^(\w+):", path.read_text(encoding="utf-8")))


def test_base_holds_every_key_with_its_default() -> None:
    defaults = load_config({}).to_dict()
    keys = yaml_keys(CONFIGS / "base.yaml")
    assert keys | {"name"} == set(defaults)
    base = load_config("base").to_dict()
    apart = {"name", "description", "category"}
    assert {k: v for k, v in base.items() if k not in apart} == {
        k: v for k, v in defaults.items() if k not in apart
    }


def test_the_page_lists_every_key_with_default_and_meaning() -> None:
    page = (CONFIGS.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    table = page.partition("## Keys")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| `(\w+)` \| `(.*?)` \| (.*) \|$", table)
    fields = Config.model_fields
    assert [key for key, *_ in rows] == [
        k for k in fields if k not in ("name", "extends")
    ]
    for key, default, meaning in rows:
        assert load_config({key: read_yaml(default, key)}) == load_config({}), key
        assert meaning == fields[key].description


def test_the_page_names_the_keys_of_the_whole_run() -> None:
    page = (CONFIGS.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    listed = page.partition("The keys of the whole run\n(")[2].partition(")")[0]
    named = [name.strip(" `\n") for name in listed.split(",")]
    assert named == [key for key in Config.model_fields if key in RUN_WIDE]


def test_the_page_is_right_about_names_for_the_same_values() -> None:
    page = (CONFIGS.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    words = page.partition("stand for the same values:")[2].partition(".\n")[0]
    pairs = re.findall(
        r"`([\w.]+)`(?: and\s`([\w.]+)`)?\s(?:is|are)\s+`([\w.]+)`", words
    )
    assert len(pairs) == 5

    def values(name: str) -> dict[str, Any]:
        described = ("name", "description", "category")
        known = load_config(name).to_dict().items()
        return {key: value for key, value in known if key not in described}

    for *names, meant in pairs:
        for name in filter(None, names):
            assert values(name) == values(meant), name


def test_the_page_names_every_configuration() -> None:
    page = (CONFIGS.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    guide = page.partition("## Which one to use")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z][\w.]+)`", guide))
    assert named >= {path.stem for path in CONFIGS.glob("*.yaml")}
