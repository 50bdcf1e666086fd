"""Tables and lists of the docs name everything that the code has."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import click
import pytest

from nnt.cli import main
from nnt.config import Config
from nnt.export import TARGETS
from nnt.filters import FILTERS
from nnt.networks import ACTIVATIONS, MODELS
from nnt.objective import CLASS_KINDS, OPTIMISERS, REGRESSION_KINDS

ROOT = Path(__file__).parent.parent


def rows_of_table(page: str, heading: str) -> list[str]:
    """First cells of a table, below its header."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = text.split(f"| {heading} |")[1].split("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_every_filter_has_a_row() -> None:
    rows = rows_of_table("configuration.md", "filter")
    assert {row.strip("`").partition("(")[0] for row in rows} == set(FILTERS)


def test_every_export_target_has_a_row() -> None:
    rows = rows_of_table("deployment.md", "`--to`")
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(TARGETS)


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
    words = re.findall(r"[\w/]+", Config.model_fields[key].description or "")
    assert set(names) <= set(words)


def test_the_docs_show_every_command() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    shown = set(re.findall(r"\bnnt (\w+)", text))
    assert set(main.list_commands(click.Context(main))) <= shown
