"""Configurations: inheritance, overrides, and every mistake told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from nnt.cli import main
from nnt.config import Config, config_files, load_config, resolve
from nnt.config.schema import RUN_WIDE
from nnt.errors import ConfigError

FILES = "data={files: [a.gz, b.gz], split: [0.6, 0.2, 0.2]}"
CONFIGS = Path(__file__).parents[1] / "configs"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_all_are_shipped() -> None:
    assert len(list(CONFIGS.glob("*.yaml"))) >= 30
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
        "expert_1.data: applies to the whole run",
        "expert_1.optim",
    ):
        assert part in told


BROKEN = [
    ("a: &x [1]\nb: *x", "aliases"),
    ("[1, 2]", "expected keys and values"),
    ("a: [", "not valid YAML"),
    ("[" * 5000, "not valid YAML"),
    ("extends: basee", "did you mean 'base'"),
    ("extends: bad", "circular: bad -> bad"),
    ("seed: 0100", "line 1: 0100 has leading zeros"),
    ("seed: 089", "write 89"),
    ("seed: -010", "write -10"),
    ("learning_rate: 00.5", "write 0.5"),
    ("epochs: 1:30", "1:30 is a base-60 number"),
    ("learning_rate: 1:30.5", "base-60"),
    ("dist: {n_buckets: 011, uniform: {lower: -1, upper: 1}}", "write 11"),
    ("epochs: 2026-11-25", "epochs: expected a whole number >= 0, got '2026-11-25'"),
    ("epochs: 1,000", "got '1,000'"),
    ("epochs: .inf", "epochs: expected a whole number >= 0, got inf"),
    ("learning_rate: .nan", "learning_rate: expected a number > 0, got nan"),
    ("learning_rate: inf", "got 'inf'"),
    ("loss: on", "YAML reads on, off, yes, no as true or false"),
    ("on: 1", "expected text as key, got true"),
    ("2: 1", "expected text as key, got 2"),
    ("epochs: 1\nepochs: 1", "line 2: key 'epochs' appears twice"),
    ("dist: {n_buckets: 3, n_buckets: 4}", "key 'n_buckets' appears twice"),
    ("epochs:\t20", "line 1, column 8: a tab"),
    ("dist:\n\tn_buckets: 3", "line 2, column 1: a tab"),
    ("epochs:\N{NO-BREAK SPACE}20", "expected keys and values"),
    ("epochs:", "epochs: expected a whole number >= 0, got null"),
    ("<<: {epochs: 3}", "<< and = mean something else in YAML"),
    ("act: =", "<< and = mean something else in YAML"),
    ("act: [tanh]", "unknown activation ['tanh']"),
    ("expert_1: []", "expected a mapping of keys, got []"),
    ("dist: {n_buckets: 3, norm: {mean: 0, std: 40}}", "write 0.4 for 40 cm"),
    ("dist: {n_buckets: 3, norm: {mean: 15, std: 0.1}}", "write 0.4 for 40 cm"),
    ("dist: {n_buckets: 3, uniform: {lower: -50, upper: 50}}", "1 is 100 cm"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[t[:40] for t, _ in BROKEN])
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=r"bad\.yaml") as err:
        load_config(write(tmp_path, "bad", text))
    assert message in str(err.value)
    assert "<unicode string>" not in str(err.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("version: 1.10", "1.10"),
        ("version: 0.2", "0.2"),
        ("version: 2026-11-25", "2026-11-25"),
        ("description: yes", "yes"),
        ("description: 0100", "0100"),
        ("description: 1:30", "1:30"),
        ("description: '#1'", "#1"),
        ("category: on", "on"),
        (f"compare_to: {'1' * 30}e12", f"{'1' * 30}e12"),
        ("load_pre_trained_weights: 00000000000000000000000000000001", "0" * 31 + "1"),
        ("expert_1: {load_pre_trained_weights: 0e1}", "0e1"),
    ],
)  # fmt: skip
def test_text_keys_hold_what_is_written(tmp_path: Path, text: str, value: str) -> None:
    config = load_config(write(tmp_path, "x", text))
    key = text.partition(":")[0]
    if key == "expert_1":
        config, key = config.for_expert(1), "load_pre_trained_weights"
    assert getattr(config, key) == value
    again = load_config(write(tmp_path, "y", config.to_yaml()))
    assert getattr(again, key) == value


NULLABLE = [
    key
    for key, field in Config.model_fields.items()
    if type(None) in get_args(field.annotation) or key == "filter"
]


@pytest.mark.parametrize("key", NULLABLE)
@pytest.mark.parametrize("word", ["None", "none", "nil", "''"])
def test_a_word_of_another_language_for_null(
    tmp_path: Path, key: str, word: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{key}.*null"):
        load_config(write(tmp_path, "bad", f"{key}: {word}"))
    assert load_config(write(tmp_path, "good", f"{key}: null"))


@pytest.mark.parametrize(
    "encoded",
    [
        b"\xef\xbb\xbfextends: base\nepochs: 3\n",
        b"extends: base\r\nepochs: 3\r\n",
        b"extends: base\repochs: 3\r",
        b"%YAML 1.1\n---\nextends: base\nepochs: 3\n...\n",
    ],
    ids=["byte order mark", "CRLF", "CR", "document"],
)
def test_what_other_editors_write(tmp_path: Path, encoded: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(encoded)
    assert load_config(path).epochs == 3


LEFT_BEHIND = {
    "._mine.yaml": b"\0\5\26\7Mac OS X \260\377",
    ".mine.yaml": b"epocs: 1",
    ".mine.yaml.swp": b"b0VIM",
    "mine.yaml~": b"epocs: 1",
    "#mine.yaml#": b"epocs: 1",
    "mine.yaml.orig": b"epocs: 1",
}


@pytest.mark.parametrize("command", ["list", "check"])
def test_what_editors_and_disks_leave_behind(workplace: Path, command: str) -> None:
    folder = workplace / "configs"
    folder.mkdir()
    write(folder, "mine", "extends: base")
    for name, content in LEFT_BEHIND.items():
        (folder / name).write_bytes(content)
    (folder / ".#mine.yaml").symlink_to("me@host.1234:1")
    (folder / "old.yaml").mkdir()
    done = CliRunner().invoke(main, ["config", command, "--json"])
    assert done.exit_code == 0, done.output
    known = [Path(name).stem for name in json.loads(done.stdout)]
    assert "mine" in known
    assert not [name for name in known if name.startswith((".", "#")) or name == "old"]


def test_one_broken_file_leaves_the_list_of_the_others(workplace: Path) -> None:
    folder = workplace / "configs"
    folder.mkdir()
    write(folder, "broken", "extends: base\nepocs: 3")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\0")
    (folder / "gone.yaml").symlink_to("nowhere.yaml")
    done = CliRunner().invoke(main, ["config", "list"])
    assert done.exit_code == 0, done.output
    assert "baseline_v2" in done.stdout
    for name in ("broken", "binary", "gone"):
        assert f"{name}.yaml" in done.stderr
    assert "did you mean 'epochs'" in done.stderr
    done = CliRunner().invoke(main, ["config", "list", "--json"])
    listed = json.loads(done.stdout)
    assert listed["broken"] is None
    assert listed["baseline_v2"]


@pytest.mark.parametrize("key", sorted(RUN_WIDE))
def test_no_expert_has_a_key_of_the_whole_run(key: str) -> None:
    value = {"extends": "base"}.get(key, load_config({}).to_dict().get(key))
    with pytest.raises(
        ConfigError, match=rf"expert_1\.{key}: applies to the whole run"
    ):
        load_config({"expert_1": {key: value}})


RESOLVED = Path(__file__).parent / "data" / "resolved_configs.json"


@pytest.mark.parametrize("name", sorted(json.loads(RESOLVED.read_text())))
def test_shipped_values_stay(name: str) -> None:
    """The file was written before the keys were checked by models."""
    config = load_config(CONFIGS / f"{name}.yaml")
    changed = json.loads(RESOLVED.read_text())[name]
    base = load_config("base").to_dict()
    assert {k: v for k, v in config.to_dict().items() if v != base.get(k)} == changed


def test_float_without_a_dot_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path, "x", "extends: base\nlearning_rate: 5e-4\n")
    assert load_config(path, [FILES]).learning_rate == 5e-4


def test_origins() -> None:
    *_, origins = resolve("baseline_v2", ["dist.n_buckets=3"])
    assert origins["act"].endswith("baseline_v2.yaml")
    assert origins["epochs"].endswith("baseline_v1.yaml")
    assert origins["dist.n_buckets"] == "-m"


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
