"""A disk that is full costs neither the training nor a traceback."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nnt.cli.common import tell_errors
from nnt.training.expert import LogFile, MetricsFile


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
    files = [MetricsFile(full), MetricsFile(tmp_path / "free")]
    for epoch in range(1, 500):
        for file in files:
            file.add(epoch, {"val/loss": 1 / epoch, "lr": 1e-3})
    full.unlink()  # there is room again
    for file in files:
        file.close()
    assert full.read_bytes() == (tmp_path / "free").read_bytes()


def test_every_epoch_can_be_watched_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    for epoch in (1, 2):
        file.add(epoch, {"val/loss": 1 / epoch})
        last = (tmp_path / "metrics.csv").read_text().splitlines()[-1]
        assert last == f"{epoch},{1 / epoch}"
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
    @tell_errors
    def command() -> None:
        full.write_text("x")

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "No space left on device; make room" in result.output
