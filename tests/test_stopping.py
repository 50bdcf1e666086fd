"""How a training hears that it shall stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import psutil
import pytest
from some_processes import start

WAIT = """
import time
from nnt.cli.process import Stopper
stopper = Stopper()
stopper.watch()
{begin}
try:
    print("ready", flush=True)
    print("stopped" if stopper.event.wait(20) else "nothing", flush=True)
    time.sleep({rest})
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", {code!r}])
"""


def ready(*words: str, **more: Any) -> subprocess.Popen[str]:
    """A process that has told that it watches signals."""
    process = start("-c", *words, **more)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def told(process: subprocess.Popen[str]) -> str:
    """All that it still says, at its end."""
    return process.communicate(timeout=30)[0].strip()


def code(*, has_begun: bool = True, rest: float = 0) -> str:
    begin = "stopper.begin('1')" if has_begun else ""
    return WAIT.format(begin=begin, rest=rest)


@pytest.mark.parametrize(
    ("number", "has_begun", "end"),
    [
        (signal.SIGINT, True, "stopped"),
        (signal.SIGTERM, True, "stopped"),
        (signal.SIGHUP, True, "stopped"),
        (signal.SIGTERM, False, "interrupted"),  # there is nothing to keep
    ],
)
def test_the_first_signal_asks_for_an_ordered_end(
    number: signal.Signals, has_begun: bool, end: str
) -> None:
    process = ready(code(has_begun=has_begun))
    process.send_signal(number)
    assert told(process) == end
    assert process.returncode == 0


def test_the_second_signal_ends_at_once() -> None:
    process = ready(code(rest=60))
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(signal.SIGTERM)
    told(process)
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 5


def test_the_end_of_a_terminal_is_ignored_under_nohup() -> None:
    ignoring = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = ready(ignoring + code())
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert told(process) == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_orphan_trains_on_where_mlflow_has_died(number: signal.Signals) -> None:
    parent = ready(PARENT.format(code=code()), "mlflow", MLFLOW_RUN_ID="0" * 32)
    parent.send_signal(number)
    assert told(parent) == "stopped"  # by the child, which has the same stdout


def under_mlflow(rest: float) -> subprocess.Popen[str]:
    """A process that waits below one that is taken for MLflow, in a group of theirs."""
    return ready(
        PARENT.format(code=code(rest=rest)),
        "mlflow",
        new_session=True,
        MLFLOW_RUN_ID="0" * 32,
    )


def test_a_group_that_is_terminated_with_mlflow_ends_in_order() -> None:
    parent = under_mlflow(rest=2.5)
    os.killpg(parent.pid, signal.SIGTERM)
    begin = time.monotonic()
    assert told(parent) == "stopped"
    assert time.monotonic() - begin > 2


def test_the_echo_of_mlflow_is_no_second_signal() -> None:
    parent = under_mlflow(rest=60)
    (child,) = psutil.Process(parent.pid).children()
    child.send_signal(signal.SIGINT)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "stopped\n"
    child.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert child.is_running()
    child.send_signal(signal.SIGTERM)
    told(parent)
    assert not child.is_running()
