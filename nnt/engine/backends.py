"""Which backend trains an expert, and where: chosen before a run is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from nnt.compiled import is_disabled
from nnt.config import Config
from nnt.engine.records import Backend, ExpertData
from nnt.errors import ConfigError, did_you_mean
from nnt.networks import State

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendChoice:
    """What moves the weights of an expert, and why."""

    name: Literal["compiled", "torch", "quantized"]
    device: Literal["cpu", "cuda"]
    reason: str = ""
    """Why the compiled loops do not apply; empty if they do."""

    def __str__(self) -> str:
        if self.name == "compiled":
            return "compiled loops"
        return f"{self.name} on {self.device} ({self.reason})"


def choose_backend(config: Config, device: str = "auto") -> BackendChoice:
    """Choose backend and device of an expert.

    Parameters
    ----------
    config : Config
        Of this expert.
    device : str
        One of `DEVICES`. ``"auto"``: the CPU where the compiled loops apply, whose
        result is then the same on every machine; else a GPU if there is one.

    Raises
    ------
    ConfigError
        There is no such device, or ``engine: compiled`` is set where the compiled
        loops do not apply.
    """
    if device not in DEVICES:
        raise ConfigError(
            f"device: unknown {device!r}; {did_you_mean(device, DEVICES)}"
        )
    reason = _why_not_compiled(config, device)
    if not reason:
        return BackendChoice(name="compiled", device="cpu")
    has_gpu = _find_gpu(device)
    if config.engine == "compiled":
        raise ConfigError(
            f"{config.name}: engine: the compiled loops do not apply: {reason}; set "
            "engine to auto or torch"
        )
    return BackendChoice(
        name="torch" if config.quantize is None else "quantized",
        device="cuda" if has_gpu else "cpu",
        reason=reason,
    )


def _find_gpu(device: str) -> bool:
    if device == "cpu":
        return False
    # PyTorch takes a second to load, and most trainings go without it.
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise ConfigError(
            f"device: expected a GPU, but PyTorch {torch.__version__} finds none; use "
            "--device auto or cpu, or check that the driver matches PyTorch's build"
        )
    return has_gpu


def _why_not_compiled(config: Config, device: str) -> str:
    if config.quantize is not None:
        return "the firmware's integers are computed in float64"
    if config.engine == "torch":
        return "engine is torch"
    if device == "cuda":
        return "the device is cuda, the loops run on the CPU"
    if is_disabled():
        return "NUMBA_DISABLE_JIT is set"
    # Imported here: the compiled loops take a second to load.
    from nnt.kernel import why_not

    return why_not(config.form, config.objective, config.optim)


def make_backend(
    choice: BackendChoice, state: State, config: Config, data: ExpertData
) -> Backend:
    """Make the backend that was chosen, with first weights and rows of an expert."""
    # Imported here: each takes a second to load.
    if choice.name == "compiled":
        from nnt.engine.compiled import CompiledBackend

        return CompiledBackend(state, config, data)
    from nnt.engine.torch_backend import QuantizedBackend, TorchBackend

    make = TorchBackend if choice.name == "torch" else QuantizedBackend
    return make(state, config, data, choice.device)


@contextmanager
def one_torch_thread(choices: Iterable[BackendChoice]) -> Iterator[None]:
    """Let PyTorch compute in one thread, as experts run side by side themselves."""
    if all(choice.name == "compiled" for choice in choices):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
