"""What the benchmarks share: options, a model to measure on, and rounds timed side by side."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import nn


def options(doc: str | None, **counts: int) -> argparse.Namespace:
    """Parse --device, --threads, --rounds and one whole-number option for each of `counts`."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    for name, default in ({"threads": 2, "rounds": 3} | counts).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    return parsed


def alexnet(device: str) -> nn.Module:
    """torchvision's AlexNet with random weights from seed 0, channels-last."""
    from torchvision.models import alexnet as build

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    return build().eval().to(device, memory_format=torch.channels_last)


def best_of(work: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Return the shortest time of each in seconds; they take turns, so that all meet the same host.

    Call each once before, to warm up.
    """
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
