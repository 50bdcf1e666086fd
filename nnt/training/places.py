"""Where the experts of a training are fitted: on which device, how many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnt.config import Config
from nnt.engine import BackendChoice, choose_backend
from nnt.errors import TrainingError
from nnt.machine import usable_cores

__all__ = ["Places"]


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

        Parameters
        ----------
        config : Config
            Of the training.
        device : str
            ``"cpu"``, ``"cuda"`` or ``"auto"``.
        workers : int, optional
            Experts at the same time; default: `workers` of the configuration.

        Raises
        ------
        ConfigError, TrainingError
            An engine or a device does not go with the configuration or the machine.
        """
        experts = {k: config.for_expert(k) for k in config.experts}
        backends = {
            k: choose_backend(of_expert, device) for k, of_expert in experts.items()
        }
        return cls(backends, workers or config.workers)

    def jobs(self, asked: int | None) -> int:
        """Experts at the same time, where the user has asked for a number or not."""
        if asked is not None and asked < 1:
            raise TrainingError(f"jobs: expected a whole number >= 1, got {asked}")
        return asked or self.workers or usable_cores()
