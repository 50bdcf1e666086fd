"""CPU, memory, disk, network and GPU of the machine, on request, as in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any

from nnt.tracking.store_uri import variable

log = logging.getLogger(__name__)

PREFIX = "system/"
ENABLE = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
DEFAULT_S = 10.0
DOUBLED_AFTER = 128
"""Samples after which they are taken half as often: a week shall not fill the store."""


def wanted() -> bool:
    """Whether the user has asked for them."""
    return (variable(ENABLE) or "").lower() in ("true", "1")


class SystemMetrics:
    """Samples the machine in a separate thread until it is stopped.

    ``report(metrics, step)``, whose steps begin at `first_step`, must neither fail nor
    wait.
    """

    def __init__(
        self, report: Callable[[Mapping[str, float], int], None], first_step: int = 0
    ) -> None:
        self._report = report
        self._step = first_step
        self._stop = Event()
        self._thread = Thread(target=self._work, name="system metrics", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            from mlflow.system_metrics.system_metrics_monitor import (
                SystemMetricsMonitor,
            )

            interval_s = float(variable(INTERVAL) or DEFAULT_S)
            # MLflow gives them no types.
            make: Any = SystemMetricsMonitor
            monitors: list[Any] = make("").monitors
            n_samples = 0
            while not self._stop.wait(interval_s):
                named: dict[str, float] = {}
                for monitor in monitors:
                    monitor.collect_metrics()
                    for name, value in monitor.aggregate_metrics().items():
                        named[f"{PREFIX}{name}"] = float(value)
                    monitor.clear_metrics()
                self._report(named, self._step)
                self._step += 1
                n_samples += 1
                if n_samples % DOUBLED_AFTER == 0:
                    interval_s *= 2
        except Exception as err:  # noqa: BLE001 (drivers raise anything)
            log.warning("tracking: no system metrics any more: %s", err)

    def stop(self) -> None:
        """End; nothing is reported afterwards."""
        self._stop.set()
        self._thread.join()
