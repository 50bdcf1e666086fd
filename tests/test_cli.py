"""The command line as a whole: names, help, and what a slip of the pen leads to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from nnt.cli import COMMANDS, main
from nnt.config import load_config
from nnt.tracking import MlflowTracker


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian", "baseline_v2"], "train"),
        (["evalaute"], "evaluate"),
        (["config", "lsit"], "list"),
        (["data", "describ", "x.gz"], "describe"),
    ],
)
def test_a_misspelt_command_is_answered_by_the_nearest(
    words: list[str], meant: str
) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert f"did you mean '{meant}'?" in done.stderr


def test_a_command_like_no_other_is_answered_by_all() -> None:
    done = CliRunner().invoke(main, ["config", "xyz"])
    assert done.exit_code == 2
    assert "valid: check, list, show" in done.stderr


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_run_to_resume_is_wrong_usage(
    workplace: Path, command: str, text: str
) -> None:
    words = ["baseline_v2", "-m", "epochs=0", "--resume", text]
    done = CliRunner().invoke(main, [command, *words])
    assert done.exit_code == 2
    assert "'--resume': expected a run, found an empty text" in done.stderr
    assert not list(workplace.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_by_its_name(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: main {name} ")


def test_origins_leave_out_the_defaults_of_the_simulation() -> None:
    done = CliRunner().invoke(
        main,
        ["config", "show", "baseline_v1_only_z", "--origin", "-m", "epochs=3",
         "-m", "data.simulate.late_share=0.1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = {
        line.split()[0]: line.rpartition("# ")[2] for line in done.stdout.splitlines()
    }
    assert lines["epochs"] == lines["data.simulate.late_share"] == "-m"
    assert lines["data.simulate.tracks"].endswith("base.yaml")
    assert lines["outputs"].endswith("baseline_v1_only_z.yaml")
    assert lines["classes.signal_cm"].endswith("base.yaml")
    assert "data.simulate.stray_share" not in lines
    assert len(lines) < 60
    assert "parameters of data.simulate.* with their defaults" in done.stdout


def test_a_deleted_working_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = CliRunner().invoke(main, ["list"])
    assert done.exit_code == 1
    assert "the working directory cannot be used (No such file" in done.stderr


def test_a_shown_configuration_leaves_out_the_defaults_of_the_simulation() -> None:
    given = ["-m", "data.simulate.late_share=0.1", "-m", "expert_2.epochs=3"]
    done = CliRunner().invoke(main, ["config", "show", "finetune", *given])
    assert done.exit_code == 0, done.output
    assert "late_share: 0.1" in done.stdout
    assert "stray_share" not in done.stdout
    again = load_config(yaml.safe_load(done.stdout))
    assert again == load_config("finetune", given[1::2])


def test_the_list_of_trainings_makes_nothing_where_there_are_none(
    workplace: Path,
) -> None:
    done = CliRunner().invoke(main, ["list"])
    assert done.exit_code == 1
    assert "there is no tracking store" in done.stderr
    assert list(workplace.iterdir()) == []


def test_the_list_of_trainings(project: Path) -> None:
    tracker = MlflowTracker()
    for number in range(3):
        tags = {
            "nnt.kind": "training", "config": f"config_{number}",
            "nnt.description": "a | b", "data.digest": "0123456789",
        }  # fmt: skip
        run = tracker.start_run(f"config_{number}", description="", tags=tags)
        run.log_metrics({"test/rejection_at_eff96": 0.5}, step=0)
        run.finish("FINISHED", "")
    tracker.close()
    done = CliRunner().invoke(main, ["list", "-n", "2"])
    assert done.exit_code == 0, done.output
    assert "config_2" in done.stdout
    assert "config_0" not in done.stdout
    assert "50.0 %" in done.stdout
    done = CliRunner().invoke(main, ["list", "--json"])
    found = json.loads(done.stdout)["trainings"]
    assert len(found) == 3
    assert found[0]["run_id"][:8] in CliRunner().invoke(main, ["list"]).stdout
    assert found[0]["val_rejection"] is None
