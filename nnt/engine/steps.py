"""Steps of many networks at once, on a device that is never asked in between.

Weights, moments, rows, the order of an epoch and all counters are tensors of fixed
shape at fixed addresses, and a step is made of operations on them alone. So steps
can follow each other without the host, and on a GPU a step is one CUDA graph, which
is captured once and replayed.

In shapes: E slots (one network each), B the largest batch, I inputs, O outputs,
P weights of a network, N rows of all slots.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from nnt.engine.stacked import Form, Stack
from nnt.engine.updates import UPDATES, Pace, clip
from nnt.types import F32, I64

__all__ = ["Member", "Moved", "Moving", "Steps"]

WARM_UPS = 3
"""Steps before the capture, in which libraries set up what they need."""

_CAPTURE = threading.Lock()
"""PyTorch allows one capture at a time in a process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """What a slot has of its own."""

    n_rows: int
    """At most so many rows are trained on, and so many are an epoch."""
    batch_size: int
    weight_decay: float
    gradient_clip: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Moving:
    """All that moves of one network, on the CPU; never changed in place."""

    values: Tensor
    """(3, P) float32: weights, first and second moments."""
    step: int
    """Steps done."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What came of an epoch."""

    moving: Moving
    loss_sum: float
    """Over rows, of the batches before the bad one."""
    bad_batch: int | None
    """The first whose loss was not finite, from 0; the network stopped before it."""
    loss_before: float
    """Of the batch before that one; not a number if there is none."""


class Steps:
    """The tensors of E slots, and the step that moves them all.

    Parameters
    ----------
    form : Form
        Of each network.
    members : sequence of Member
        One for each slot.
    device : str
        Where all of it is.
    """

    def __init__(self, form: Form, members: Sequence[Member], device: str) -> None:
        self.stack = Stack(form)
        self._update = UPDATES[form.optim]
        self._starts = [1]  # row 0 is blank, for the places of a batch without a row
        for member in members:
            self._starts.append(self._starts[-1] + member.n_rows)
        n_slots, n_rows = len(members), self._starts[-1]
        width = max(min(m.batch_size, max(m.n_rows, 1)) for m in members)
        self._device = torch.device(device)

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self._device)

        def column(values: list[float]) -> Tensor:
            made = torch.tensor(values, dtype=torch.float64, device=self._device)
            return made[:, None]

        self._x, self._y = zeros(n_rows, form.in_size), zeros(n_rows, form.out_size)
        self._order = zeros(n_rows, dtype=torch.int64)
        self._moving = zeros(n_slots, 3, self.stack.n_weights)
        self._counts = zeros(n_slots, 5, dtype=torch.int64)
        """Place in the order, its end, batch, first bad batch or -1, step."""
        self._sums = zeros(n_slots, 3, dtype=torch.float64)
        """Learning rate, sum of the losses of rows, loss of the batch before."""
        self._places = torch.arange(width, device=self._device)
        self._sizes = column([m.batch_size for m in members])[:, 0].long()
        self._decay = column([m.weight_decay for m in members])
        limits = [m.gradient_clip for m in members]
        self._limit = column([math.inf if x is None else x for x in limits]).float()
        self._clips = any(limit is not None for limit in limits)
        self._stream: torch.cuda.Stream | None = None
        self._do: Callable[[], None] = self._step
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            self._do = self._captured(self._stream)

    def _captured(self, stream: torch.cuda.Stream) -> Callable[[], None]:
        """Give the step as a CUDA graph. No slot has work yet, so nothing moves."""
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with _CAPTURE:
            # On the stream of the capture: libraries keep a handle for each stream.
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    self._step()
            graph = torch.cuda.CUDAGraph()
            # Thread-local: what other threads do on the device is no part of it.
            with torch.cuda.graph(
                graph, stream=stream, capture_error_mode="thread_local"
            ):
                self._step()
        return graph.replay

    def on_stream(self) -> AbstractContextManager[object]:
        """Have work of this thread wait for the steps, and they for it."""
        if self._stream is None:
            return nullcontext()
        return torch.cuda.stream(self._stream)

    def put_rows(self, slot: int, x: F32, y: F32) -> None:
        """Fill in the rows to train on; the slot must not be at work.

        Parameters
        ----------
        x, y : (n, I) and (n, O) float32
            At most as many rows as its `Member` told.
        """
        begin = self._starts[slot]
        rows = slice(begin, begin + len(x))
        # These copies are over when they return, so that no stream has to wait.
        self._x[rows].copy_(torch.from_numpy(x))
        self._y[rows].copy_(torch.from_numpy(y))

    def begin(self, slot: int, moving: Moving, order: I64, rate: float) -> None:
        """Give a slot an epoch to do; within `on_stream`.

        Parameters
        ----------
        moving : Moving
            The network as it is now.
        order : (M,) int64
            Rows of the slot, in the order in which they are met.
        rate : float
            Learning rate.
        """
        begin, end = self._starts[slot], self._starts[slot] + len(order)
        self._order[begin:end].copy_(torch.from_numpy(order)).add_(begin)
        self._moving[slot].copy_(moving.values)
        self._counts[slot].copy_(torch.tensor([begin, end, 0, -1, moving.step]))
        sums = torch.tensor([rate, 0.0, math.nan], dtype=torch.float64)
        self._sums[slot].copy_(sums)

    def run(self, n: int) -> None:
        """Do n steps and wait for their end; within `on_stream`."""
        for _ in range(n):
            self._do()
        if self._stream is not None:
            self._stream.synchronize()

    def read(self, slot: int) -> Moved:
        """Tell what came of the epoch of a slot; within `on_stream`."""
        _, _, _, bad, step = self._counts[slot].tolist()
        _, loss_sum, before = self._sums[slot].tolist()
        values = self._moving[slot].to("cpu", copy=True)
        return Moved(Moving(values, step), loss_sum, None if bad < 0 else bad, before)

    @torch.no_grad()
    def _step(self) -> None:
        """Do the next batch of every slot; one without rows keeps all its bits."""
        cursor, end = self._counts[:, 0], self._counts[:, 1]
        n_rows = torch.minimum(self._sizes, end - cursor)
        is_blank = self._places >= n_rows[:, None]
        places = (cursor[:, None] + self._places).masked_fill(is_blank, 0)
        rows = self._order[places]
        losses, gradient = self.stack.gradients(
            self._moving[:, 0], self._x[rows], self._y[rows], is_blank, n_rows
        )
        moves = self._count(n_rows, losses)
        cursor.add_(n_rows)
        self._move(moves, gradient)

    def _count(self, n_rows: Tensor, losses: Tensor) -> Tensor:
        """Take note of the losses; return which slots move on, (E,) bool."""
        batch, bad, step = (self._counts[:, i] for i in (2, 3, 4))
        loss_sum, before = self._sums[:, 1], self._sums[:, 2]
        has_rows = n_rows > 0
        works = has_rows & (bad < 0)
        # No loss is negative; a comparison with one that is not a number is false.
        moves = works & (losses < math.inf)
        torch.where(works ^ moves, batch, bad, out=bad)
        batch.add_(has_rows)
        step.add_(moves)
        losses = losses.double()
        torch.where(moves, loss_sum + losses * n_rows, loss_sum, out=loss_sum)
        torch.where(moves, losses, before, out=before)
        return moves

    def _move(self, moves: Tensor, gradient: Tensor) -> None:
        """Let the optimiser step in the slots that move on."""
        if self._clips:
            gradient = clip(gradient, self._limit)
        step = self._counts[:, 4:5].double()
        pace = Pace(self._sums[:, :1], self._decay, step)
        old = self._moving[:, 0], self._moving[:, 1], self._moving[:, 2]
        for kept, new in zip(old, self._update(old, gradient, pace), strict=True):
            # Chosen, not multiplied by zero: others may hold what is not finite.
            torch.where(moves[:, None], new, kept, out=kept)
