"""Tables of Markdown, for the descriptions of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WIDE = "\u00a0\u00a0"
"""After each heading: MLflow leaves no room between the columns of a table."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown; every row has as many cells as there are headings.

    Raises
    ------
    ValueError
        A row has more cells or fewer.
    """
    wide = [f"{_cell(heading)}{WIDE}" for heading in headings]
    lines = [f"| {' | '.join(wide)} |", "|---" * len(headings) + "|"]
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"expected {len(headings)} cells, found {len(row)}")
        lines.append(f"| {' | '.join(map(_cell, row))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Write text so that it stays within its cell of a table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
