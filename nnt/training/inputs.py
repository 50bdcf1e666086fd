"""All that is read and checked before a run is opened."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from nnt.config import Config
from nnt.errors import ConfigError
from nnt.judging import Outputs, reference_outputs, served_rows
from nnt.networks import State
from nnt.provenance import CodeState, code_state
from nnt.tracks import Tracks
from nnt.training.data import load_splits, shared_shares, splits_digest
from nnt.training.earlier_networks import (
    initial_states,
    reference_networks,
    sources_of_weights,
)
from nnt.training.teachers import Teachers
from nnt.version import __version__

__all__ = ["TrainingInputs", "prepare"]

log = logging.getLogger(__name__)

MAX_TAG = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInputs:
    """All that is checked before the first run is opened."""

    config: Config
    splits: dict[str, Tracks]
    """As the files hold them, whatever the networks are compared with."""
    references: dict[str, Outputs | None]
    """Outputs to compare with, for the rows of each split."""
    initial: dict[int, State]
    started_from: str
    """Runs whose weights the experts start from; ``unknown`` where no run held them."""
    code: CodeState
    digest: str
    shared: dict[str, float]
    """Share of the rows of val and test that are of events of earlier splits."""
    teachers: Teachers | None = None
    """Whose outputs the rows to train on have for targets."""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the parent run, by which the list of runs is filtered."""
        config, code = self.config, self.code
        changes = " ".join(f"{k}={v}" for k, v in config.overridden.items())[:MAX_TAG]
        return {
            "nnt.kind": "training",
            **({"nnt.overrides": changes} if changes else {}),
            "category": config.category,
            "config": config.name,
            "git.commit": code.commit,
            "git.dirty": code.dirty_tag,
            "git.diff": code.diff_digest,
            "data.digest": self.digest,
            **({"nnt.started_from": self.started_from} if self.started_from else {}),
            **({"teachers.digest": self.teachers.digest} if self.teachers else {}),
            **{f"data.shared.{k}": f"{v:.3g}" for k, v in self.shared.items()},
            "nnt.version": __version__,
        }


def _check_chain(config: Config, splits: Mapping[str, Tracks]) -> None:
    """Refuse rows of the other chain, or with another number of inputs."""
    for split, tracks in splits.items():
        expected = {"chain": config.chain, "in_size": config.in_size}
        found = {"chain": tracks.chain.name, "in_size": tracks.inputs.shape[1]}
        for key, value in expected.items():
            if found[key] != value:
                raise ConfigError(
                    f"{config.name}: {key}: expected data of {key} {value}, but those "
                    f"of {split} have {found[key]}; set {key}: {found[key]}, or name "
                    "other files"
                )


def prepare(
    config: Config, splits: Mapping[str, Tracks] | None = None
) -> TrainingInputs:
    """Read earlier weights, the data and the reference, and check that they fit.

    Parameters
    ----------
    config : Config
        Of the training.
    splits : mapping of str to Tracks, optional
        The rows, where they have been read already.

    Raises
    ------
    ConfigError, DataError, TrackingError
        Something cannot be used; nothing has been started.
    """
    initial, teachers = initial_states(config), Teachers.of(config)
    reference = reference_networks(config)
    splits = load_splits(config) if splits is None else dict(splits)
    _check_chain(config, splits)
    digest = splits_digest(splits)
    references: dict[str, Outputs | None] = {
        split: reference_outputs(
            tracks, reference, config.form.outputs, served_rows(tracks, config.experts)
        )
        for split, tracks in splits.items()
    }
    if all(output is None for output in references.values()):
        log.info(
            "the data hold no outputs of a reference network: there is nothing to "
            "compare with"
        )
    return TrainingInputs(
        config=config,
        splits=splits,
        references=references,
        initial=initial,
        started_from=sources_of_weights(config),
        code=code_state(),
        digest=digest,
        shared=shared_shares(config, splits),
        teachers=teachers,
    )
