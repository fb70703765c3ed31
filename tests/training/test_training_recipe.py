from __future__ import annotations

import pytest
import torch
from blots import TRAINING

from zfnet.training.recipe import learning_rate


def test_plateau_is_what_torchs_scheduler_does() -> None:
    draw = torch.Generator().manual_seed(0)
    errors = (90 * torch.exp(-torch.arange(40) / 8) + torch.rand(40, generator=draw) * 3).tolist()
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=0.7, threshold_mode="abs", eps=0
    )
    config = TRAINING | {"plateau": {"factor": 0.5, "patience": 2, "threshold": 0.7}}
    rates = []
    for epoch in range(1, 41):
        rate = optimizer.param_groups[0]["lr"]
        assert learning_rate(config, epoch, errors) == pytest.approx(rate, rel=1e-12)
        rates.append(rate)
        scheduler.step(errors[epoch - 1])
    assert len(set(rates)) >= 3


def test_steps_fall_after_their_shares_of_the_epochs() -> None:
    config = TRAINING | {
        "schedule": "steps",
        "epochs": 50,
        "steps": {"at": [0.6, 0.85], "factor": 0.1},
    }
    rates = [round(learning_rate(config, epoch, []), 9) for epoch in range(1, 51)]
    assert rates == [0.01] * 30 + [0.001] * 12 + [0.0001] * 8
