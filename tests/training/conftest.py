"""Fixtures of a tiny training: its data, its config, its paths."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from blots import MODEL, TRAINING, make_prepared

from zfnet.pipeline.options import ModelOptions, TrainingOptions, checked


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared(tmp_path_factory.mktemp("data") / "prepared")


@pytest.fixture(scope="session")
def config() -> Callable[..., SimpleNamespace]:
    """Makes a config; keys of the model section begin with `model_`."""

    def make(net: str = "zfnet", seed: int = 3, **changes: Any) -> SimpleNamespace:
        model, training = copy.deepcopy(MODEL), copy.deepcopy(TRAINING)
        for key, value in changes.items():
            section = model if key.startswith("model_") else training
            section[key.removeprefix("model_")] = value
        return SimpleNamespace(
            nets={net: checked(ModelOptions, model, "model")},
            training=checked(TrainingOptions, training, "training"),
            seed=seed,
            device="cpu",
        )

    return make


@pytest.fixture(scope="session")
def places(prepared: Path) -> Callable[..., SimpleNamespace]:
    """Makes the paths of one run below a folder."""

    def make(root: Path, **more: Any) -> SimpleNamespace:
        return SimpleNamespace(
            prepared=prepared,
            work=root / "work",
            final=root / "models" / "final",
            epochs=root / "models" / "epochs",
            metrics=root / "metrics" / "train.json",
            **more,
        )

    return make
