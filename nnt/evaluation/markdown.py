"""Tables of Markdown, for the descriptions of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["cell", "table"]


def cell(text: str) -> str:
    """Write text so that it stays within its cell of a table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; every row has as many cells as there are headings.

    Raises
    ------
    ValueError
        A row has more cells or fewer.
    """
    lines = [_line(headings), "|---" * len(headings) + "|"]
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"expected {len(headings)} cells, found {len(row)}")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(cell, cells))} |"
