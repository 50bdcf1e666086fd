"""A whole training: data, experts side by side, comparison, artifacts."""

from nnt.training.result import ExpertResult, Part, TrainingResult
from nnt.training.resume import Resume
from nnt.training.run import Caller, train

__all__ = ["Caller", "ExpertResult", "Part", "Resume", "TrainingResult", "train"]
