"""Progress of long work: a bar on a terminal, quiet lines in a log; and its end.

Work reports through a plain callable, so that nothing below the command line
knows how progress is shown.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from nnt.errors import TrainingError, shorten

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""``progress(done, total)``: called whenever some part of the work is done."""

LOG_EVERY_S = 10.0


def stop_event(stop: Event | None) -> Event:
    """Check what is to be set to end long work early; None: nothing ever is.

    Raises
    ------
    TrainingError
        It is no event.
    """
    if stop is None:
        return Event()
    is_event = all(callable(getattr(stop, name, None)) for name in ("is_set", "wait"))
    if not is_event or isinstance(stop, type):
        raise TrainingError(
            f"stop: expected a threading.Event, found {shorten(stop)}; make one, and "
            "set it from another thread to end early"
        )
    return stop


def silent(done: int, total: int) -> None:
    """Show nothing; the default of every function that reports progress."""


@contextmanager
def show_progress(description: str, unit: str) -> Iterator[Progress]:
    """Show progress with rate and time left until the block ends.

    Yields
    ------
    Progress
        Call it with the number done and the total, of the named unit.
    """
    # A host without a terminal, such as a notebook server, may have no such stream.
    if sys.stderr is not None and sys.stderr.isatty():
        with _bar(description, unit) as progress:
            yield progress
    else:
        yield _log_lines(description, unit)


@contextmanager
def _bar(description: str, unit: str) -> Iterator[Progress]:
    # Imported here: rich takes longer to load than `nnt --help` may take.
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        # The total comes with the first step only; until then there is no number.
        task = bar.add_task(description, total=None, count="", rate="")
        start = time.monotonic()

        def report(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - start, 1e-9)
            count, speed = f"{done:,}/{total:,} {unit}", _rate(rate, unit)
            bar.update(task, completed=done, total=total, count=count, rate=speed)

        yield report


def _log_lines(description: str, unit: str) -> Progress:
    start = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LOG_EVERY_S:
            return
        last = now
        rate = done / (now - start)
        left_s = (total - done) / rate if rate else float("inf")
        count = f"{done:,} of {total:,} {unit}"
        log.info("%s: %s, %s, %.0f s left", description, count, _rate(rate), left_s)

    return report


def _rate(per_s: float, unit: str = "") -> str:
    """How fast, in numbers that say something for slow work, too."""
    gap = " " if unit else ""
    if per_s < 1:
        return f"{60 * per_s:.1f}{gap}{unit}/min"
    return f"{per_s:,.0f}{gap}{unit}/s"
