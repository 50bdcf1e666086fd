"""A whole training: data, experts side by side, comparison, artifacts."""

from nnt.training.result import ExpertResult, TrainingResult
from nnt.training.run import train

__all__ = ["ExpertResult", "TrainingResult", "train"]
