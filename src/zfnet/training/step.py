"""One step of training, whoever loops over it: what Lightning's module and the short trainings from
scratch share. Imports no Lightning, which costs seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zfnet.data.datasets import Batch
from zfnet.models.net import Normalise

LOOK_EVERY = 50  # on a GPU the loss is looked at every so many steps, to keep it busy


def make_optimizer(model: nn.Module, training: Mapping[str, Any]) -> torch.optim.SGD:
    """SGD with momentum over all weights and biases, by the config's section."""
    return torch.optim.SGD(
        model.parameters(),
        lr=training["lr"],
        momentum=training["momentum"],
        weight_decay=training["weight_decay"],
    )


def seed_dropout(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Make what is random in one step of one process depend on these alone.

    As torch.manual_seed, which costs a millisecond on a CPU: it notes where it was called from.
    """
    own = step_seed(seed, step, rank)
    torch.default_generator.manual_seed(own)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(own)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all weights."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def memory_format_of(training: Mapping[str, Any]) -> torch.memory_format:
    """How weights and maps lie in memory."""
    return torch.channels_last if training["channels_last"] else torch.contiguous_format


def net_input(batch: Batch, normalise: Normalise, memory_format: torch.memory_format) -> Tensor:
    """Crops as uint8 → net input, float32 (N, 3, px, px)."""
    x = normalise(batch["pixels"], batch["offset"], batch["flip"])
    return x.contiguous(memory_format=memory_format)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of one step in one process; steps and processes do not share theirs."""
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
