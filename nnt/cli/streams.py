"""Standard streams that take any text, whoever started the process.

A scheduler may close them, and a terminal may know plain characters only.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

__all__ = ["open_streams"]

PLAIN = {
    "–": "-", "—": "-", "−": "-", "…": "...", "±": "+-", "×": "x", "·": "*",
    "→": "->", "≤": "<=", "≥": ">=", "•": "*", "█": "#", "━": "-", "╸": "-",
    "“": '"', "”": '"', "‘": "'", "’": "'", "°": " deg", "▲": "^", "▼": "v",
}  # fmt: skip
"""What is shown where a terminal does not have a character."""

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_streams() -> None:
    """Give the process all three standard streams, and make them take any text.

    A stream that is closed reads nothing and forgets what is written: otherwise the
    next file that is opened would get its number, and error messages with it.
    """
    codecs.register_error("nnt", _plain)
    for number, (name, mode) in enumerate(STREAMS):
        _occupy(number)
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, io.open(number, mode, closefd=False))  # noqa: SIM115, UP020
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nnt")


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        handle = os.open(os.devnull, os.O_RDWR)
        if handle != number:
            os.dup2(handle, number)
            os.close(handle)
        os.set_inheritable(number, True)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    told = ""
    for character in error.object[error.start : error.end]:
        near = PLAIN.get(character) or unicodedata.normalize("NFKD", character)
        told += near.encode("ascii", errors="replace").decode()
    return told, error.end
