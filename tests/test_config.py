"""Configurations: inheritance, overrides, and every mistake told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nnt.cli import main
from nnt.config import config_files, load_config, resolve
from nnt.errors import ConfigError

FILES = "data={files: [a.gz, b.gz], split: [0.6, 0.2, 0.2]}"
DATA = {"data": {"files": ["a.gz"], "split": [0.6, 0.2, 0.2]}}
CONFIGS = Path(__file__).parents[1] / "configs"


def load(**keys: Any) -> Any:
    return load_config(DATA | keys)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_all_are_shipped() -> None:
    assert len(list(CONFIGS.glob("*.yaml"))) == 30
    assert set(config_files()) >= {path.stem for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_loads_and_comes_back(path: Path) -> None:
    config = load_config(path, [FILES])
    assert config.description
    assert config.name == path.stem
    assert load_config(config.to_dict()) == config
    for expert in config.experts:
        assert config.for_expert(expert).expert_overrides == {}


def test_simulation_is_the_default() -> None:
    pytest.importorskip("nnt.simulation")
    data = load_config("base").data
    assert data.simulate is not None
    assert data.simulate.tracks == 100_000
    assert load_config({}) == load_config(load_config({}).to_dict())


def test_inheritance_is_recursive_and_nested() -> None:
    config = load_config("reweight_normal_inf_bounds", [FILES, "dist.n_buckets=4"])
    assert (config.epochs, config.act) == (1000, "tanh/2")
    assert config.dist is not None
    assert (config.dist.n_buckets, config.dist.inf_bounds) == (4, True)


def test_a_child_replaces_the_form_of_its_parent() -> None:
    config = load_config(
        "reweight_normal", [FILES, "dist.uniform={lower: -1, upper: 1}"]
    )
    assert config.dist is not None
    assert config.dist.norm is None
    assert config.data.simulate is None


def test_per_expert() -> None:
    config = load_config("baseline_v3_per_expert", [FILES, "expert_2.act=relu"])
    second = config.for_expert(2)
    assert (second.epochs, second.batch_size, second.act) == (4000, 16, "relu")
    assert config.for_expert(0).batch_size == 1024
    assert config.for_expert(-1).batch_size == 2048


def test_several_pairs_in_one_override() -> None:
    config = load_config("base", [f"epochs=1e3 {FILES} act=tanh learning_rate=1e-4"])
    assert (config.epochs, config.act, config.learning_rate) == (1000, "tanh", 1e-4)
    assert config.data.files == ("a.gz", "b.gz")


def test_run_id_stays_text() -> None:
    run = "12345678901234567890123456789e12"
    assert load_config("base", [FILES, f"compare_to={run}"]).compare_to == run


def test_mistakes_are_told_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "bad",
        "extends: base\nepocs: 3\nact: tahn\nbatch_size: 0\nexpert_7: {}\n"
        "loss: on\nexpert_1: {data: {}, optim: Adm}\n",
    )
    with pytest.raises(ConfigError) as err:
        load_config(path, [FILES])
    told = str(err.value)
    assert told.count(str(path)) == len(told.splitlines()) == 7
    for part in (
        "epocs: unknown key; did you mean 'epochs'",
        "did you mean 'tanh'",
        "batch_size: expected a whole number >= 1, got 0",
        "expert_7",
        "YAML reads on, off",
        "expert_1.data: belongs to the run",
        "expert_1.optim",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs: 1\nepochs: 2", "line 2: key 'epochs' is there twice"),
        ("on: 1", "expected text as key, got True"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("[1, 2]", "expected keys and values"),
        ("a: [", "not valid YAML"),
        ("extends: basee", "did you mean 'base'"),
        ("extends: bad", "circle: bad -> bad"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"bad\.yaml") as err:
        load_config(write(tmp_path, "bad", text))
    assert told in str(err.value)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"dist": {"n_buckets": 3}}, "one of norm and uniform, got 'neither'"),
        (
            {
                "dist": {
                    "n_buckets": 3,
                    "norm": {"mean": 0, "std": 1},
                    "uniform": {"lower": 0, "upper": 1},
                }
            },
            "one of norm and uniform",
        ),
        ({"dist": {"n_buckets": 3, "norm": {"mean": 0}}}, "dist.norm.std: is missing"),
        ({"experts": [-1, 0]}, "experts: expected"),
        ({"experts": []}, "experts: expected"),
        ({"in_size": 26}, "in_size: expected 27, got 26"),
        ({"expert_2": {"out_size": 1}}, "expert_2.out_size: belongs to the run"),
        ({"epochs": True}, "epochs: expected a whole number"),
        ({"learning_rate": "1e-3"}, "learning_rate: expected a number"),
        ({"filter": "__import__('os').system('true')"}, "filter: "),
        ({"data": {"files": ["a"]}}, "data.split: is missing"),
        ({"data": {"files": {"train": ["a"]}}}, "data.files.val: is missing"),
        ({"data": {"files": ["a"], "split": [1, 1, 1]}}, "data.split: expected"),
        ({"lr_schedule": {"name": "cosin"}}, "did you mean 'cosine'"),
        ({"lr_schedule": {"name": "step", "final": 1}}, "lr_schedule.final: unknown"),
    ],
)
def test_bad_values(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as err:
        load(**keys)
    assert told in str(err.value)


def test_float_without_a_dot_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path, "x", "extends: base\nlearning_rate: 5e-4\n")
    assert load_config(path, [FILES]).learning_rate == 5e-4


def test_origins() -> None:
    _, merged = resolve("baseline_v2", ["dist.n_buckets=3"])
    assert merged.origins["act"].endswith("baseline_v2.yaml")
    assert merged.origins["epochs"].endswith("baseline_v1.yaml")
    assert merged.origins["dist.n_buckets"] == "-m"


def test_show_origin() -> None:
    done = CliRunner().invoke(
        main, ["config", "show", "baseline_v2", "-m", FILES, "--origin"]
    )
    assert done.exit_code == 0, done.output
    act = next(line for line in done.output.splitlines() if line.startswith("act "))
    assert act.endswith("baseline_v2.yaml")


def test_check_tells_a_bad_file(tmp_path: Path) -> None:
    path = write(tmp_path, "bad", "extends: base\nepocs: 3\ndata: null\n")
    done = CliRunner().invoke(main, ["config", "check", str(path)])
    assert done.exit_code == 1
    assert "did you mean 'epochs'" in done.output
