"""Progress of long work: a bar on a terminal, quiet lines elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from nnt.progress import show_progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_tells_count_and_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also before the first step, when the total is not known yet."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("Simulating", "tracks") as progress:
        progress(1_500, 10_000)
    shown = screen.getvalue()
    assert "Simulating" in shown
    assert "1,500/10,000 tracks" in shown
    assert "tracks/s" in shown


def test_no_bar_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with show_progress("Simulating", "tracks") as progress:
        progress(1_500, 10_000)
    assert screen.getvalue() == ""
