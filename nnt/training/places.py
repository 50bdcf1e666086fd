"""Where the experts of a training train, and which of them share their steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnt.config import Config
from nnt.engine import Ensemble, choose_device, make_ensembles
from nnt.tracks import Tracks
from nnt.training.data import expert_mask
from nnt.types import BoolArray

__all__ = ["Places"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """What the one who starts a training says of its devices and threads."""

    config: Config
    devices: Mapping[int, str]
    """Of each expert: ``"cpu"`` or ``"cuda"``."""
    batched: bool | None
    """Whether experts share their steps; None: on a GPU."""

    @classmethod
    def of(cls, config: Config, device: str, batched: bool | None) -> Places:
        """Choose the device of each expert.

        Raises
        ------
        ConfigError
            There is no such device.
        """
        chosen = {
            k: choose_device(config.for_expert(k), device) for k in config.experts
        }
        return cls(config=config, devices=chosen, batched=batched)

    def _is_batched(self, device: str) -> bool:
        return device == "cuda" if self.batched is None else self.batched

    def jobs(self, asked: int | None) -> int:
        """How many experts train at the same time."""
        if jobs := asked or self.config.workers:
            return jobs
        if any(map(self._is_batched, self.devices.values())):
            # A step of few experts takes as long as one of all.
            return len(self.config.experts)
        return os.cpu_count() or 1

    def ensembles(
        self, train: Tracks, kept: Mapping[int, BoolArray]
    ) -> dict[int, Ensemble]:
        """Make room on each device for the experts that share their steps there.

        Parameters
        ----------
        train : Tracks
            All rows to train on.
        kept : mapping of int to bool array
            Which of them pass the filter of each expert.

        Raises
        ------
        TrainingError
            A device cannot hold the rows.
        """
        ensembles: dict[int, Ensemble] = {}
        for device in sorted(set(self.devices.values())):
            if not self._is_batched(device):
                continue
            experts = [k for k, own in self.devices.items() if own == device]
            configs = {k: self.config.for_expert(k) for k in experts}
            n_rows = {
                k: int(np.count_nonzero(kept[k] & expert_mask(train, k)))
                for k in experts
            }
            ensembles |= make_ensembles(configs, n_rows, device)
        return ensembles
