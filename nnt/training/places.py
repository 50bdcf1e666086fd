"""Where the experts of a training are fitted: on which device, how many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnt.config import Config
from nnt.engine import BackendChoice, choose_backend
from nnt.errors import TrainingError
from nnt.machine import usable_cores


@dataclass(frozen=True, slots=True)
class Places:
    """What was chosen before anything is read or opened."""

    backends: Mapping[int, BackendChoice]
    """What moves the weights of each expert."""
    workers: int | None
    """Experts at the same time; None: as many as there are cores to use."""

    @classmethod
    def of(cls, config: Config, device: str, workers: int | None = None) -> Places:
        """Choose by the configuration and what this machine has.

        Raises
        ------
        ConfigError, TrainingError
            An engine or a device does not go with the configuration or the machine.
        """
        experts = config.experts
        backends = {k: choose_backend(config.for_expert(k), device) for k in experts}
        return cls(backends, workers or config.workers)

    def jobs(self, asked: int | None) -> int:
        """Experts at the same time, where the user has asked for a number or not."""
        if asked is not None and asked < 1:
            raise TrainingError(f"jobs: expected a whole number >= 1, got {asked}")
        return asked or self.workers or usable_cores()
