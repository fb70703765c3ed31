"""What happens at the end of each epoch: a line, a row, a snapshot, a checkpoint."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io import CheckpointIO
from pytorch_lightning.callbacks import Callback

from zfnet.files import write_text, write_whole
from zfnet.models.checkpoint import save_weights
from zfnet.stats.chance import at_chance
from zfnet.training.history import Row, epoch_line, history_csv, say
from zfnet.training.job import Job
from zfnet.training.module import Classifier
from zfnet.training.processes import Live

CHANCE_EPOCHS = 5  # a net that still guesses after so many epochs is named


class WholeCheckpoints(CheckpointIO):
    """Full checkpoints as files that are whole or absent, read back as plain tensors and values."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`, flushed to disk before it gets its name."""
        write_whole(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; never runs code from the file."""
        return dict(torch.load(path, map_location=map_location or "cpu", weights_only=True))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Logbook(Callback):
    """Keeps the history, and writes row, snapshot and checkpoint after every epoch, in this order.

    Its state travels in the checkpoint. `live` is called with each new row.
    """

    def __init__(self, job: Job, classes: int, live: Live | None) -> None:
        self.job = job
        self.work = job.folder
        self.classes = classes
        self.live = live
        self.rows: list[Row] = []
        self.times: list[dict[str, float | int]] = []
        self.resumed_at = 0

    def state_dict(self) -> dict[str, Any]:
        """Return rows and times as plain values."""
        return {"rows": self.rows, "times": self.times}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over rows and times from a checkpoint."""
        self.rows, self.times = list(state_dict["rows"]), list(state_dict["times"])
        self.resumed_at = len(self.rows)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the module the validation errors that its learning rate depends on."""
        assert isinstance(pl_module, Classifier)
        pl_module.val_errors = [row["val_top1_error"] for row in self.rows]
        if self.resumed_at and trainer.is_global_zero:
            say(f"{self.job.label}resumed after epoch {self.resumed_at} from {self.work.path}")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training's clock: images/s leave validation out."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self.trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down the epoch that just ended."""
        assert isinstance(pl_module, Classifier)
        pl_module.check_loss()
        row, images = self._row(trainer, pl_module)
        self.rows.append(row)
        pl_module.val_errors.append(row["val_top1_error"])
        seconds = self.trained - self.started
        self.times.append(
            {
                "epoch": row["epoch"],
                "train_seconds": round(seconds, 3),
                "seconds": round(time.perf_counter() - self.started, 3),
                "images_per_second": round(images / seconds, 1),
            }
        )
        if trainer.is_global_zero:
            self._write(pl_module, row["epoch"])
            self._announce(trainer, row)
        trainer.save_checkpoint(self.work.checkpoint(row["epoch"]))
        if trainer.is_global_zero:
            self.work.prune()

    def _row(self, trainer: pl.Trainer, module: Classifier) -> tuple[Row, float]:
        """The epoch's row of history, and how many training images it saw."""
        train = module.train_tally.result(trainer.strategy)
        val = module.val_tally.result(trainer.strategy)
        row: Row = {
            "epoch": len(self.rows) + 1,
            "lr": module.rate,
            "train_loss": train["loss"],
            "train_top1_error": train["top1_error"],
            "val_loss": val["loss"],
            "val_top1_error": val["top1_error"],
            "val_top5_error": val["top5_error"] if self.classes > 5 else None,
            "filters_rescaled": int(module.rescaled),
            "largest_filter_rms": float(module.largest_rms),
        }
        return row, train["images"]

    def _write(self, module: Classifier, epoch: int) -> None:
        if self.job.snapshots:
            path = self.work.snapshot(epoch)
            write_whole(path, lambda file: save_weights(module.model, file))
        write_text(self.work.final / "history.csv", history_csv(self.rows))

    def _announce(self, trainer: pl.Trainer, row: Row) -> None:
        epochs = int(trainer.max_epochs or 0)
        say(self.job.label + epoch_line(row, epochs, self.times))
        if self.live is not None:
            self.live({key: value for key, value in row.items() if value is not None})
        epoch = row["epoch"]
        begun = not at_chance(row["train_loss"], self.classes, within=0.01)
        if epoch == min(CHANCE_EPOCHS, epochs) and not begun:
            say(
                f"WARNING: {self.job.label}after {epoch} epochs the training loss is "
                f"{row['train_loss']:.4f}, that of guessing among {self.classes} classes: this net "
                "has not begun to learn. Try training.init=scaled (the paper's 0.01 is too small "
                "below its width), a higher training.lr, or training.init=he with a lower one"
            )


class SigtermStops(Callback):
    """Puts back the SIGTERM handler that was there before Lightning's.

    Lightning's lets a half-trained net pass for a finished one, and with several processes it
    starts a collective operation from within the signal.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signal back."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)
