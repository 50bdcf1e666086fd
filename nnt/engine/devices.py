"""Where an expert trains."""

from __future__ import annotations

import torch

from nnt.config import Config
from nnt.errors import ConfigError, did_you_mean

__all__ = ["DEVICES", "choose_device"]

DEVICES = ("auto", "cpu", "cuda")


def choose_device(config: Config, asked: str) -> str:
    """Choose the device of an expert.

    Parameters
    ----------
    config : Config
        Of this expert.
    asked : str
        One of `DEVICES`. ``"auto"``: the CPU where the compiled loops apply, whose
        result is then the same on every machine; else a GPU if there is one.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ConfigError
        There is no such device.
    """
    if asked not in DEVICES:
        raise ConfigError(f"device: unknown {asked!r}; {did_you_mean(asked, DEVICES)}")
    if asked == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        if asked == "auto":
            return "cpu"
        raise ConfigError(
            f"device: expected a GPU, but PyTorch {torch.__version__} finds none; use "
            "--device auto or cpu, or see that the driver and PyTorch's build fit"
        )
    return "cuda" if asked == "cuda" or not _is_compiled(config) else "cpu"


def _is_compiled(config: Config) -> bool:
    if config.engine == "torch" or config.quantize is not None:
        return False
    # Imported here: compiled loops take a second to load.
    from nnt.engine.compiled_gear import why_not_compiled

    return config.engine == "compiled" or not why_not_compiled(config, "cpu")
