"""Experts that share their steps: each trains in a thread of its own, and waits here.

A thread hands in the epoch of its expert and waits for what comes of it. One of those
that wait leads: it takes in what was handed in, has the device do a chunk of steps for
all slots that have work, hands out the epochs that are done, and then the next one may
lead. So there is no thread to be ended, no slot waits for one that is between its
epochs, and an error reaches all who wait.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from nnt.config import Config
from nnt.engine.stacked import Form, Stack
from nnt.engine.steps import Member, Moved, Moving, Steps
from nnt.errors import TrainingError
from nnt.types import F32, I64

__all__ = ["Ensemble", "make_ensembles", "why_not_batched"]

CHUNK = 64
"""Steps between two looks at what was handed in; the host waits once for all."""
MAX_PADDING = 8
"""Batches are padded to the largest of an ensemble, at most so many times."""


@dataclass(slots=True, eq=False)
class _Ticket:
    """An epoch that was handed in."""

    slot: int
    moving: Moving
    order: I64
    rate: float
    steps_left: int
    moved: Moved | None = None


class Ensemble:
    """Slots for experts whose networks have one form.

    Shapes do not depend on who is at work: the bits of a slot are the same whether or
    not others train, and in whatever order they come.

    Parameters
    ----------
    configs : mapping of int to Config
        Of each expert, as `Config.for_expert` gives it; `why_not_batched` is empty.
    n_rows : mapping of int to int
        How many rows each of them trains on.
    device : str
        ``"cpu"`` or ``"cuda"``.
    """

    def __init__(
        self, configs: Mapping[int, Config], n_rows: Mapping[int, int], device: str
    ) -> None:
        self.name = f"batched torch on {device}"
        self.device = torch.device(device)
        self._slots = {expert: slot for slot, expert in enumerate(configs)}
        self._members = [_member(own, n_rows[k]) for k, own in configs.items()]
        (form,) = {Form.of(own) for own in configs.values()}
        self._steps = Steps(form, self._members, device)
        self._turn = threading.Condition()
        self._is_led = False
        self._arrived: list[_Ticket] = []
        self._at_work: list[_Ticket] = []
        self._error: BaseException | None = None

    @property
    def stack(self) -> Stack:
        """How the weights of a network lie in a row, and what it makes of inputs."""
        return self._steps.stack

    @property
    def experts(self) -> list[int]:
        """Who has a slot."""
        return list(self._slots)

    def put_rows(self, expert: int, x: F32, y: F32) -> None:
        """Bring the rows (n, I) and (n, O) of an expert to the device.

        Raises
        ------
        TrainingError
            They are not as many as the ensemble was made for.
        """
        slot = self._slots[expert]
        if len(x) != self._members[slot].n_rows:
            raise TrainingError(
                f"expert {expert}: expected {self._members[slot].n_rows} rows to "
                f"train on, found {len(x)}"
            )
        self._steps.put_rows(slot, x, y)

    def train(self, expert: int, moving: Moving, order: I64, rate: float) -> Moved:
        """Do an epoch of an expert; wait for its end.

        Parameters
        ----------
        expert : int
            Its rows have been put; no other thread trains it.
        moving : Moving
            Its network as it is now.
        order : (M,) int64
            Rows in the order in which they are met, at least one.
        rate : float
            Learning rate.

        Raises
        ------
        TrainingError
            The order names rows that are not there, or the device failed.
        """
        slot = self._slots[expert]
        member = self._members[slot]
        _check_order(order, member.n_rows)
        ticket = _Ticket(slot, moving, order, rate, -(-len(order) // member.batch_size))
        with self._turn:
            self._arrived.append(ticket)
            while ticket.moved is None:
                if self._error is not None:
                    raise TrainingError(
                        f"{self.name}: {type(self._error).__name__}: {self._error}"
                    ) from self._error
                if self._is_led:
                    self._turn.wait()
                else:
                    self._lead()
        return ticket.moved

    def _lead(self) -> None:
        """Do a chunk of steps; the lock is held before and after, not meanwhile."""
        self._is_led = True
        self._at_work += self._arrived
        arrived, self._arrived = self._arrived, []
        self._turn.release()
        try:
            self._advance(arrived)
        except BaseException as err:
            self._error = err
            # What PyTorch raises is told by all who wait, this thread among them.
            if not isinstance(err, RuntimeError):
                raise
        finally:
            self._turn.acquire()
            self._is_led = False
            self._turn.notify_all()

    def _advance(self, arrived: list[_Ticket]) -> None:
        with self._steps.on_stream():
            for new in arrived:
                self._steps.begin(new.slot, new.moving, new.order, new.rate)
            n_steps = min(CHUNK, *(ticket.steps_left for ticket in self._at_work))
            self._steps.run(n_steps)
            for ticket in self._at_work:
                ticket.steps_left -= n_steps
                if not ticket.steps_left:
                    ticket.moved = self._steps.read(ticket.slot)
        self._at_work = [t for t in self._at_work if t.moved is None]


def _check_order(order: I64, n_rows: int) -> None:
    """Refuse what a GPU would read beyond its tensors: it is of no use afterwards."""
    if len(order) > n_rows or order.min() < 0 or order.max() >= n_rows:
        raise TrainingError(
            f"order: expected at most {n_rows} rows from 0 to {n_rows - 1}, found "
            f"{len(order)} from {order.min()} to {order.max()}"
        )


def _member(config: Config, n_rows: int) -> Member:
    return Member(
        n_rows=n_rows,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        gradient_clip=config.gradient_clip,
    )


def why_not_batched(config: Config) -> str:
    """Say what keeps an expert from sharing its steps; empty if nothing."""
    if config.model != "BaselineModel":
        return f"model is {config.model}, batched steps know BaselineModel"
    if config.quantize is not None:
        return "it trains through the firmware's rounding"
    if config.engine == "compiled":
        return "engine is compiled"
    return ""


def make_ensembles(
    configs: Mapping[int, Config], n_rows: Mapping[int, int], device: str
) -> dict[int, Ensemble]:
    """Put experts together whose networks have one form and whose batches fit.

    Parameters
    ----------
    configs : mapping of int to Config
        Of each expert; others than those that can share steps are left out.
    n_rows : mapping of int to int
        How many rows each trains on; an expert without any is left out.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    dict of int to Ensemble
        The ensemble of each expert.

    Raises
    ------
    TrainingError
        The device cannot hold the rows, or cannot capture the steps.
    """
    able = {k: c for k, c in configs.items() if n_rows[k] and not why_not_batched(c)}
    try:
        ensembles = [
            Ensemble({k: able[k] for k in group}, n_rows, device)
            for group in _groups(able)
        ]
    except RuntimeError as err:  # memory that is too small is one, too
        raise TrainingError(
            f"batched steps could not be set up on {device} ({err}); train on the CPU "
            "(--device cpu) or, for too little memory, on fewer rows"
        ) from err
    return {expert: own for own in ensembles for expert in own.experts}


def _groups(configs: Mapping[int, Config]) -> list[list[int]]:
    """Experts of one form, by batches that differ by `MAX_PADDING` at most."""
    by_form: defaultdict[Form, list[int]] = defaultdict(list)
    for expert, config in configs.items():
        by_form[Form.of(config)].append(expert)
    groups = []
    for experts in by_form.values():
        smallest = 0
        for expert in sorted(experts, key=lambda k: configs[k].batch_size):
            size = configs[expert].batch_size
            if not smallest or size > MAX_PADDING * smallest:
                smallest = size
                groups.append([expert])
            else:
                groups[-1].append(expert)
    return groups
