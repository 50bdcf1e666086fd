"""Configurations: inheritance, values, and every mistake reported at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from nnt.cli import main
from nnt.config import Config, load_config, resolve
from nnt.config.schema import RUN_WIDE
from nnt.config.values import Part
from nnt.errors import ConfigError

FILES = "data={files: [a.gz, b.gz], split: [0.6, 0.2, 0.2]}"
CONFIGS = Path(__file__).parents[1] / "configs"


RESOLVED = json.loads(
    (Path(__file__).parent / "data" / "resolved_configs.json").read_text()
)
"""Keys of the shipped configurations that differ from those of `base`."""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_loads_with_its_values_and_comes_back(path: Path) -> None:
    config = load_config(path)
    assert config.description
    assert config.name == path.stem
    assert load_config(config.to_dict()) == config
    for expert in config.experts:
        assert config.for_expert(expert).expert_overrides == {}
    if path.stem in RESOLVED:
        base = load_config("base").to_dict()
        changed = {k: v for k, v in config.to_dict().items() if v != base.get(k)}
        assert changed == RESOLVED[path.stem]


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


def test_origins() -> None:
    *_, origins = resolve("baseline_v2", ["dist.n_buckets=3"])
    assert origins["act"].endswith("baseline_v2.yaml")
    assert origins["epochs"].endswith("baseline_v1.yaml")
    assert origins["dist.n_buckets"] == "-m"


def test_check_tells_a_bad_file(tmp_path: Path) -> None:
    path = write(tmp_path, "bad", "extends: base\nepocs: 3\ndata: null\n")
    done = CliRunner().invoke(main, ["config", "check", str(path)])
    assert done.exit_code == 1
    assert "did you mean 'epochs'" in done.output


GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"outputs": ("z", "theta"), "out_size": 2, "hidden": (81,)}),
    ({"out_size": 1}, {"outputs": ("z",)}),
    ({"outputs": ["z"]}, {"out_size": 1}),
    ({"outputs": ["nnt", "z", "theta"]}, {"outputs": ("z", "theta", "nnt")}),
    ({"outputs": ["z", "theta", "nnt", "stt"], "out_size": 4}, {"out_size": 4}),
    ({"extends": "baseline_v1_only_z"}, {"outputs": ("z",), "out_size": 1}),
    ({"extends": "baseline_v1_only_z", "outputs": ["z", "nnt"]}, {"out_size": 2}),
    ({"hidden": []}, {"hidden": ()}),
    ({"hidden": [64, 32.0]}, {"hidden": (64, 32)}),
    ({"chain": "3dh", "experts": [-1], "in_size": 126}, {"in_size": 126}),
    ({"chain": "3dh", "experts": [-1]}, {"in_size": 27}),
    ({"loss": "TriggerLoss", "class_weight": 2}, {"class_weight": 2.0}),
    ({"average": 0.999}, {"average": 0.999}),
    ({"split_seed": 7, "seed": 3}, {"seed_of_split": 7}),
    ({"seed": 3}, {"seed_of_split": 3, "split_seed": None}),
    ({"teach_from": "12e7"}, {"teach_from": ("12e7",)}),
    ({"teach_from": ["a", "b"]}, {"teach_from": ("a", "b")}),
    ({"whiten": 2, "expert_1": {"whiten": None}}, {"whiten": 2.0}),
    ({"predictions": ["test", "val"]}, {"predictions": ("val", "test")}),
    ({"predictions": []}, {"predictions": ()}),
    ({"extends": "baseline_v2", "quantize": {}, "hidden": []}, {"hidden": ()}),
    ({"extends": "baseline_v2", "quantize": {}, "hidden": [9, 8]}, {"hidden": (9, 8)}),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "values"), GOOD, ids=[str(keys) for keys, _ in GOOD])
def test_what_goes_together(keys: dict[str, Any], values: dict[str, Any]) -> None:
    config = load_config(keys)
    assert {key: getattr(config, key) for key in values} == values
    assert load_config(config.to_dict()) == config
    assert config.form.outputs == config.outputs


@pytest.mark.parametrize(
    ("chain", "quantize", "largest"),
    [
        ("classic", {}, 63), ("3dh", {}, 4), ("3dh", {"largest_weight": 8}, 8),
        ("3dh", None, None),
    ],
)  # fmt: skip
def test_the_largest_weight_follows_from_the_chain(
    chain: str, quantize: dict[str, Any] | None, largest: float | None
) -> None:
    experts = [-1] if chain == "3dh" else [0]
    config = load_config(
        {"chain": chain, "experts": experts, "act": "tanh", "quantize": quantize}
    )
    own = config.for_expert(experts[0]).quantize
    assert (None if own is None else own.largest_weight) == largest
    assert load_config(config.to_dict()) == config


NORM = {"mean": 0, "std": 1}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"whiten": 0}, "whiten: expected a number > 0 or null, got 0"),
    ({"whiten": 2, "quantize": {}, "act": "tanh"}, "whiten: expected null with quant"),
    ({"predictions": "val"}, "predictions: expected a list of names out of train, val"),
    ({"predictions": ["vel"]}, "unknown split 'vel'; did you mean 'val'?"),
    ({"predictions": ["val", "val"]}, "predictions: expected each split once"),
    ({"expert_1": {"predictions": []}}, "expert_1.predictions: "),
    ({"outputs": ["z", "thet"]}, "unknown output 'thet'; did you mean 'theta'?"),
    ({"outputs": []}, "outputs: expected a list of names out of z, theta, nnt, stt"),
    ({"outputs": "z"}, "outputs: expected a list of names"),
    ({"outputs": ["z", "z"]}, "outputs: expected each output once"),
    ({"outputs": ["z"], "out_size": 2}, "out_size: expected 1, the number"),
    ({"out_size": 3}, "out_size: expected 2"),
    ({"out_size": 0}, "out_size: expected a whole number >= 1 and <= 4, got 0"),
    ({"hidden": [0]}, "hidden: expected a list of at most 32 widths from 1 to 4096"),
    ({"hidden": 81}, "hidden: expected a list of at most 32 widths from 1 to 4096"),
    ({"hidden": [1] * 33}, "hidden: expected a list of at most 32 widths"),
    ({"hidden": [64], "model": "SimpleModel"}, "hidden: "),
    ({"chain": "3hd"}, "chain: unknown chain '3hd'; did you mean '3dh'?"),
    ({"chain": "3dh"}, "experts: expected [-1] with chain: 3dh"),
    ({"in_size": 126}, "expected 27, got 126; 126 inputs go with chain"),
    ({"loss": "TriggerLoss", "out_size": 1}, "needs outputs: [z, theta], got [z]"),
    ({"loss": "TriggerLoss", "outputs": ["z", "nnt"]}, "loss: TriggerLoss needs"),
    ({"expert_1": {"loss": "TriggerLoss"}, "out_size": 1}, "expert_1.loss: Trig"),
    ({"expert_1": {"model": "SimpleModel"}, "hidden": [64]}, "expert_1.model: "),
    ({"class_loss": "MSE"}, "unknown loss 'MSE'; did you mean 'MSELoss'?"),
    ({"classes": {"signal_cm": 2}}, "background_cm: expected at least signal_cm (2)"),
    ({"classes": {"balance": ["chrge"]}}, "unknown quantity 'chrge'; did you"),
    ({"classes": {"signal": 1}}, "signal: unknown key; did you mean 'signal_cm'?"),
    ({"classes": {"signal_cm": 0}}, "classes.signal_cm: expected a number > 0, got 0"),
    ({"average": 1.0}, "average: expected a number > 0 and < 1 or null, got 1.0"),
    ({"teach_from": []}, "teach_from: expected a run, a list of runs or null"),
    ({"dist": {"n_buckets": 3}}, "needs either norm or uniform, got neither"),
    ({"dist": {"n_buckets": 3, "norm": NORM, "uniform": {"lower": 0, "upper": 1}}},
     "needs either norm or uniform, got both"),
    ({"dist": {"n_buckets": 3, "norm": {"mean": 0}}}, "dist.norm.std: is missing"),
    ({"experts": [-1, 0]}, "experts: expected"),
    ({"experts": []}, "experts: expected"),
    ({"in_size": 26}, "in_size: expected 27 or 126, got 26"),
    ({"expert_2": {"out_size": 1}}, "expert_2.out_size: applies to the whole run"),
    ({"epochs": True}, "epochs: expected a whole number"),
    ({"learning_rate": "1e-3"}, "learning_rate: expected a number"),
    ({"filter": "__import__('os').system('true')"}, "filter: "),
    ({"filter": [{"RangeFilter": {"largest_z": 3}}]}, "got RangeFilter(largest_z=3)"),
    ({"data": {"files": ["a"]}}, "data.split: is missing"),
    ({"data": {"files": dict.fromkeys(["train", "val"], "a")}}, "files.test: is mis"),
    ({"data": {"files": ["a"], "split": [1, 1, 1]}}, "data.split: expected"),
    ({"data": {"simulate": {"collision_stiff_share": [0.1, "x", 0.2]}}},
     "collision_stiff_share: expected a list of 3 numbers, got [0.1, 'x', 0.2]"),
    ({"data": {"simulate": {"background_share": 0.5}}}, "a list of numbers, got 0.5"),
    ({"lr_schedule": {"name": "cosin"}}, "did you mean 'cosine'"),
    ({"lr_schedule": {"name": "step", "final": 1}}, "lr_schedule.final: unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "message"), BAD, ids=[str(keys) for keys, _ in BAD])
def test_what_does_not(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as err:
        load_config(keys)
    assert message in str(err.value)
    assert len(str(err.value).splitlines()) == 1


def test_types_without_words_of_ours_have_those_of_pydantic() -> None:
    class Keys(Part):
        flag: bool | None = None
        count: int = 1
        choice: Literal["a", "b"] = "a"
        names: tuple[str, ...] = ()

    given = {"flag": 3, "count": True, "choice": "c", "names": ["x", 1]}
    with pytest.raises(ValidationError) as err:
        Keys.model_validate(given)
    assert [error["msg"] for error in err.value.errors()][:3] == [
        "expected a valid boolean or null, got 3",
        "expected a valid integer, got true (YAML reads on, off, yes, no as true or "
        "false: quote them)",
        "expected 'a' or 'b', got 'c'",
    ]


def test_either_key_of_the_outputs_replaces_the_inherited_other() -> None:
    whole = load_config({"outputs": ["z", "theta", "nnt"]})
    assert load_config(whole.to_dict(), ["out_size=1"]).outputs == ("z",)
    assert load_config(whole.to_dict(), ["outputs=[z, stt]"]).out_size == 2


def test_a_conflict_is_reported_beside_other_mistakes() -> None:
    with pytest.raises(ConfigError) as err:
        load_config({"in_size": 126, "epochs": -1, "expert_2": {"optim": "Adm"}})
    assert [line.split(": ")[1] for line in str(err.value).splitlines()] == [
        "epochs",
        "in_size",
        "expert_2.optim",
    ]
