"""The first line of a file: which chain its rows are of, and what its columns are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from nnt.errors import DataError, shorten
from nnt.tracks.classic import CLASSIC_LAYOUT
from nnt.tracks.hough3d import HOUGH3D_LAYOUT
from nnt.tracks.layout import Layout

__all__ = ["LAYOUTS", "read_header"]

LAYOUTS = (CLASSIC_LAYOUT, HOUGH3D_LAYOUT)
"""All formats of text; a file is of the one whose columns it has."""
OTHER_FILES = {
    b"BZh": "data compressed by bzip2; unpack it with bunzip2",
    b"\xfd7zXZ": "data compressed by xz; unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "data compressed by zstd; unpack it with unzstd",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"root": "a ROOT file; write its rows as text",
    b"PAR1": "a Parquet file; write its rows as text",
    b"\xff\xfe": "text in UTF-16; save it as ASCII or UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as ASCII or UTF-8",
}
"""What files of other kinds begin with."""
OTHER_SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars"}
NO_TEXT = re.compile(rb"[\0\x80-\xff]")
HEAD_BYTES = 4096
"""Where text is distinguished from other data."""


def read_header(path: Path, text: bytes) -> tuple[list[str], Layout]:
    """Tell columns and format from the beginning of a file.

    Parameters
    ----------
    path : Path
        Its name, for messages.
    text : bytes
        At least its first line.

    Raises
    ------
    DataError
        It is no text, or has other columns than any format.
    """
    head = text[:HEAD_BYTES]
    if not text.strip():
        raise DataError(f"{path}: expected rows of tracks, found an empty file")
    for magic, found in OTHER_FILES.items():
        if head.startswith(magic):
            raise DataError(f"{path}: expected plain or gzipped text, found {found}")
    if odd := NO_TEXT.search(head):
        number = head.count(b"\n", 0, odd.start()) + 1
        raise DataError(
            f"{path}, line {number}: expected text, found binary data "
            f"{shorten(head[odd.start() :][:16])}; give a file that BASF2's neuro "
            "trigger data module wrote"
        )
    line = text.partition(b"\n")[0].decode("ascii", errors="replace").strip()
    if not line:
        raise DataError(
            f"{path}, line 1: expected a header of BASF2's neuro trigger data, found a "
            "blank line; remove it"
        )
    if "\r" in line:
        raise DataError(
            f"{path}: expected lines that end in a line feed, found carriage returns "
            "alone; convert it, for example with: tr '\\r' '\\n'"
        )
    # No name holds a blank; an earlier trainer separated them by several.
    names = line.split()
    if names[0].lstrip("-").isdigit():
        return _headless(path, names)
    layout = min(LAYOUTS, key=lambda layout: len(_missing(names, layout)))
    missing = _missing(names, layout)
    if missing:
        for separator, name in OTHER_SEPARATORS.items():
            others = line.replace(separator, " ").split()
            if not all(_missing(others, own) for own in LAYOUTS):
                raise DataError(
                    f"{path}, line 1: expected columns that are separated by tabs, "
                    f"found {name}; replace them by tabs"
                )
        raise DataError(
            f"{path}, line 1: expected a header of BASF2's neuro trigger data, "
            f"found {shorten(line)}; missing: {', '.join(missing[:4])}"
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(
                f"{path}, line 1: expected each column once, found {shorten(name)} "
                f"{count} times"
            )
    return names, layout


def _headless(path: Path, cells: list[str]) -> tuple[list[str], Layout]:
    sizes = {}
    for layout in LAYOUTS:
        if layout.headless is not None:
            sizes[len(layout.headless)] = (list(layout.headless), layout)
    if len(cells) not in sizes:
        expected = " or ".join(str(size) for size in sizes)
        raise DataError(
            f"{path}, line 1: expected {expected} columns in a file without header, "
            f"found {len(cells)}"
        )
    return sizes[len(cells)]


def _missing(names: list[str], layout: Layout) -> list[str]:
    return sorted({*layout.required(names)} - {*names})
