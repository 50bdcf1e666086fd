"""Training loops to compare: NNT's two backends, a DataLoader loop, Lightning.

All train the same network with the same loss, optimiser and batch size, and validate
once per epoch. NNT and Lightning also write metrics and checkpoints to disk, keep the
best weights and may stop early; the DataLoader loop does nothing but train.

A `Loop` does the epochs of one expert and tells the validation loss of each; it ends
early where it is answered with True.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nnt.config import Config
from nnt.engine import Epoch, ExpertData, Hooks
from nnt.networks import initial_state
from nnt.networks.module import build_module
from nnt.sampling import generator
from nnt.tracking import Tracker
from nnt.training.fitting import train_expert

__all__ = ["HAS_LIGHTNING", "OTHERS", "OURS", "Loop"]

Told = Callable[[float], bool]
Loader = DataLoader[tuple[Tensor, ...]]
Loop = Callable[[ExpertData, Config, int, Told], None]

HAS_LIGHTNING = importlib.util.find_spec("lightning") is not None

PATIENCE = 1000
VALIDATION_BATCH = 2048
"""At least: small batches in validation would only slow the others down."""


def _nnt(
    data: ExpertData, config: Config, expert: int, told: Told, engine: str
) -> None:
    """Train as ``nnt train`` does, but for MLflow and images."""
    stop = threading.Event()

    def on_epoch(epoch: Epoch) -> None:
        if told(epoch.metrics["val/loss"]):
            stop.set()

    chosen = config.model_copy(update={"engine": engine})
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        run = Tracker(folder).start_run("bench", description="", tags={})
        train_expert(
            chosen, expert, data, run,
            hooks=Hooks(
                on_epoch=on_epoch, should_stop=stop.is_set, validation_pool=pool
            ),
        )  # fmt: skip


def _model(config: Config, expert: int) -> nn.Module:
    drawn = initial_state(config.form, generator(config.seed, expert, "weights 0"))
    return build_module(config.form, drawn)


def _loaders(data: ExpertData, config: Config) -> tuple[Loader, Loader]:
    train = TensorDataset(
        torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    )
    val = TensorDataset(torch.from_numpy(data.x_val), torch.from_numpy(data.y_val))
    # Worker processes would only cost: the rows are in memory, a step takes 1 ms.
    return (
        DataLoader(train, config.batch_size, shuffle=True),
        DataLoader(val, max(config.batch_size, VALIDATION_BATCH)),
    )


def _adam(model: nn.Module, config: Config) -> torch.optim.Adam:
    return torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )


def _dataloader(data: ExpertData, config: Config, expert: int, told: Told) -> None:
    """Train as the tutorials of PyTorch do."""
    torch.manual_seed(config.seed)
    model, loss_of = _model(config, expert), nn.MSELoss()
    optimiser = _adam(model, config)
    train, val = _loaders(data, config)
    for _ in range(config.epochs):
        model.train()
        for x, y in train:
            optimiser.zero_grad()
            loss = loss_of(model(x), y)
            loss.backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            total = sum(float(loss_of(model(x), y)) * len(x) for x, y in val)
        if told(total / len(data.x_val)):
            return


def _lightning(data: ExpertData, config: Config, expert: int, told: Told) -> None:
    """Train as the documentation of Lightning does, without bars and summaries."""
    import lightning
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = _model(config, expert)
            self.loss_of = nn.MSELoss()

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            x, y = batch
            loss: Tensor = self.loss_of(self.net(x), y)
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: list[Tensor], _: int) -> None:
            x, y = batch
            self.log("val_loss", self.loss_of(self.net(x), y))

        def configure_optimizers(self) -> torch.optim.Adam:
            return _adam(self.net, config)

    class Tell(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            if told(float(trainer.callback_metrics["val_loss"])):
                trainer.should_stop = True

    torch.manual_seed(config.seed)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=config.epochs,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=CSVLogger(folder),
            callbacks=[
                EarlyStopping("val_loss", patience=PATIENCE),
                ModelCheckpoint(Path(folder), monitor="val_loss"),
                Tell(),
            ],
        )
        trainer.fit(Module(), *_loaders(data, config))


OURS: dict[str, Loop] = {
    "nnt compiled": partial(_nnt, engine="compiled"),
    "nnt torch": partial(_nnt, engine="torch"),
}
OTHERS: dict[str, Loop] = {"DataLoader": _dataloader}
if HAS_LIGHTNING:
    OTHERS["Lightning"] = _lightning
