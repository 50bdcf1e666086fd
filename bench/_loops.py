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

from bench._forms import Tutorial
from nnt.config import Config
from nnt.engine import Epoch, ExpertData, Hooks
from nnt.networks import initial_state
from nnt.sampling import generator
from nnt.tracking import Tracker
from nnt.training.fitting import train_expert

Told = Callable[[float], bool]
Loop = Callable[[ExpertData, Config, int, Told], None]

HAS_LIGHTNING = importlib.util.find_spec("lightning") is not None

PATIENCE = 1000


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


def _tutorial(data: ExpertData, config: Config, expert: int) -> Tutorial:
    torch.manual_seed(config.seed)
    draw = generator(config.seed, expert, "weights 0")
    return Tutorial(
        config.form,
        (data.x_train, data.y_train, None),
        config.batch_size,
        validated=(data.x_val, data.y_val, None),
        state=initial_state(config.form, draw),
        rate=config.learning_rate,
        decay=config.weight_decay,
    )


def _dataloader(data: ExpertData, config: Config, expert: int, told: Told) -> None:
    """Train as the tutorials of PyTorch do."""
    tutorial = _tutorial(data, config, expert)
    for _ in range(config.epochs):
        tutorial.train()
        if told(tutorial.validate()):
            return


def _lightning(data: ExpertData, config: Config, expert: int, told: Told) -> None:
    """Train as the documentation of Lightning does, without bars and summaries."""
    import lightning
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = tutorial.network
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
            return tutorial.optimiser

    class Tell(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            if told(float(trainer.callback_metrics["val_loss"])):
                trainer.should_stop = True

    tutorial = _tutorial(data, config, expert)
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
        trainer.fit(Module(), tutorial.training, tutorial.validation)


OURS: dict[str, Loop] = {
    "nnt compiled": partial(_nnt, engine="compiled"),
    "nnt torch": partial(_nnt, engine="torch"),
}
OTHERS: dict[str, Loop] = {"DataLoader": _dataloader}
if HAS_LIGHTNING:
    OTHERS["Lightning"] = _lightning
