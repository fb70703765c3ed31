"""One net under training: loss, optimiser step, filter rule, and what is counted on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from zfnet.data.datasets import Batch
from zfnet.errors import UserError
from zfnet.models.convnet import ConvNet, conv_weights
from zfnet.models.net import Net
from zfnet.training.recipe import learning_rate
from zfnet.training.renorm import rescale_filters
from zfnet.training.step import (
    LOOK_EVERY,
    make_optimizer,
    memory_format_of,
    net_input,
    seed_dropout,
    set_rate,
)

NEVER = 2**62  # "no step yet" in `first_bad_step`
ADVICE = (
    "try a lower training.lr, or training.init=scaled below the paper's width; "
    "training.max_filter_rms=0.1 keeps single filters from running away"
)


class Tally:
    """Sums of loss and of errors over images, kept on the device until somebody asks."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: mean loss (), logits (N, C), labels (N,)."""
        n = len(labels)
        wrong = (logits.argmax(1) != labels).sum()
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices
        wrong5 = n - (best == labels[:, None]).sum()
        count = torch.full_like(wrong, n)
        self.sums += torch.stack([loss.detach().double() * n, wrong, wrong5, count])

    def result(self, strategy: Any) -> dict[str, float]:
        """Return mean loss, top-1 and top-5 error (%), images, over all processes."""
        loss, wrong, wrong5, n = strategy.reduce(self.sums, reduce_op="sum").tolist()
        n = max(n, 1.0)
        return {
            "loss": loss / n,
            "top1_error": 100 * wrong / n,
            "top5_error": 100 * wrong5 / n,
            "images": n,
        }


class Classifier(pl.LightningModule):
    """Trains `net`, one of ours, by the recipe in `training`, a config section as plain values.

    Batches hold crops as uint8 (N, 3, px, px); the mean image is taken off after the transfer.
    `val_errors` is the list of validation errors (%) so far, which the learning rate depends on.
    """

    def __init__(self, net: Net, training: Mapping[str, Any], seed: int) -> None:
        super().__init__()
        assert isinstance(net.model, ConvNet)
        self.model, self.normalise = net.model, net.normalise
        self.training_config = dict(training)
        self.seed = seed
        self.val_errors: list[float] = []
        self.filters = [weight for _, weight in conv_weights(net.model)]
        self.memory_format = memory_format_of(training)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum over all weights and biases."""
        return make_optimizer(self.model, self.training_config)

    def on_train_epoch_start(self) -> None:
        """Set the epoch's learning rate and start its counts."""
        config = self.training_config
        self.rate = learning_rate(config, self.trainer.current_epoch + 1, self.val_errors)
        set_rate(self.optimizers(use_pl_optimizer=False), self.rate)  # type: ignore[arg-type]
        self.train_tally = Tally(self.device)
        self.rescaled = torch.zeros((), dtype=torch.int64, device=self.device)
        self.largest_rms = torch.zeros((), device=self.device)
        self.first_bad_step = torch.full((), NEVER, dtype=torch.int64, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout depend on seed, step and process alone, so that resuming is exact."""
        seed_dropout(self.seed, self.global_step, self.global_rank, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the batch's mean cross-entropy."""
        logits = self.model(net_input(batch, self.normalise, self.memory_format))
        loss = F.cross_entropy(logits, batch["label"])
        self.train_tally.add(loss, logits, batch["label"])
        bad = torch.where(torch.isfinite(loss.detach()), NEVER, self.global_step + 1)
        self.first_bad_step = torch.minimum(self.first_bad_step, bad)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Look at the loss, then apply the filter rule to the weights that the step just made."""
        if self.device.type == "cpu" or batch_idx % LOOK_EVERY == LOOK_EVERY - 1:
            self.check_loss()
        rescaled, largest = rescale_filters(self.filters, self.training_config["max_filter_rms"])
        self.rescaled += rescaled
        self.largest_rms = torch.maximum(self.largest_rms, largest)

    def check_loss(self) -> None:
        """Raise UserError, naming the first bad step, if a loss was infinite or not a number."""
        step = int(self.first_bad_step)
        if step != NEVER:
            raise UserError(
                f"the loss is no longer a number (epoch {self.trainer.current_epoch + 1}, step "
                f"{step}): the training diverged at learning rate {self.rate:g}; {ADVICE}"
            )

    def on_validation_epoch_start(self) -> None:
        """Start the validation's counts."""
        self.val_tally = Tally(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch of centre crops."""
        logits = self.model(net_input(batch, self.normalise, self.memory_format))
        self.val_tally.add(F.cross_entropy(logits.float(), batch["label"]), logits, batch["label"])
