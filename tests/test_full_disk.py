"""A disk that is full costs neither the training nor a traceback."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nnt.cli.common import report_errors
from nnt.engine import Epoch
from nnt.training.fitting import MetricsFile
from nnt.training.side_by_side import LogFile


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Give the name of a file whose disk is full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "file"
    path.symlink_to("/dev/full")
    return path


def test_metrics_that_a_full_disk_did_not_take_are_written_at_the_end(
    full: Path, tmp_path: Path
) -> None:
    (tmp_path / "free").touch()
    history: list[Epoch] = []
    files = [MetricsFile(path, history) for path in (full, tmp_path / "free")]
    for number in range(1, 500):
        metrics = {"val/loss": 1 / number, "lr": 1e-3}
        history.append(Epoch(number=number, metrics=metrics))
        for file in files:
            file.write_last()
    full.unlink()  # there is room again
    for file in files:
        file.close()
    assert full.read_bytes() == (tmp_path / "free").read_bytes()


def test_every_epoch_can_be_read_as_soon_as_it_is_done(tmp_path: Path) -> None:
    history: list[Epoch] = []
    file = MetricsFile(tmp_path / "metrics.csv", history)
    for number in range(1, 4):
        history.append(Epoch(number=number, metrics={"val/loss": 0.5**number}))
        file.write_last()
        lines = file.path.read_text().splitlines()
        assert lines[0] == "epoch,val/loss"
        assert lines[-1] == f"{number},{0.5**number}"
        assert len(lines) == number + 1
    file.close()


def test_a_log_on_a_full_disk_is_silent(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(full, encoding="utf-8")
    handler.emit(logging.makeLogRecord({"msg": "lost"}))
    handler.close()
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_one_message(full: Path) -> None:
    @click.command()
    @report_errors
    def command() -> None:
        full.write_text("x")

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "No space left on device; make room" in result.output
