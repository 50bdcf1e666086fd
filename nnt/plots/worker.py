"""A process that draws: plots come in by its standard input, pictures go out.

A process of its own, not one of `multiprocessing`, which would run the script of the
user once more in each. Only the process that has started it can write to it.
"""

from __future__ import annotations

import gc
import itertools
import pickle
import sys
from typing import BinaryIO

from nnt.plots.rendering import reason, render

__all__ = ["LENGTH", "receive", "send", "work"]

LENGTH = 8
"""Bytes of the number before each message."""
PLOTS_PER_COLLECTION = 10
"""Plots after which memory that nothing refers to any more is looked for."""


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one message."""
    stream.write(len(data).to_bytes(LENGTH, "little") + data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Read one message.

    Raises
    ------
    EOFError
        The other end is closed.
    """
    head = stream.read(LENGTH)
    if len(head) < LENGTH:
        raise EOFError
    size = int.from_bytes(head, "little")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def work(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Draw until nothing more comes.

    Every answer begins with ``1`` and the picture, or ``0`` and the reason why there
    is none.
    """
    # Figures are full of circles; to look for them all the time costs a tenth.
    gc.freeze()
    gc.disable()
    for n_drawn in itertools.count(1):
        if n_drawn % PLOTS_PER_COLLECTION == 0:
            gc.collect()
        try:
            drawing = pickle.loads(receive(incoming))  # noqa: S301 (of the parent)
        except EOFError:
            return
        try:
            answer = b"1" + render(drawing)
        except Exception as err:  # noqa: BLE001 (the parent says so)
            answer = b"0" + reason(err).encode()
        send(outgoing, answer)


def main() -> None:
    """Draw what the process that has started this one asks for."""
    work(sys.stdin.buffer, sys.stdout.buffer)
