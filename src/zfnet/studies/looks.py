"""What a picture looks like, what else looks as different, and ranks within classes. No nets."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import critical

LOOKS = ("brightness", "contrast", "sharpness")
LUMA = (0.299, 0.587, 0.114)
FLAT = 0.5  # grey levels of contrast below which sharpness is that of an image with so much


def look(pixels: Tensor) -> np.ndarray:
    """Brightness, contrast, sharpness (3, n) of images (n, 3, H, W) in 0..255.

    Mean and standard deviation of the luma in grey levels; the standard deviation of its Laplacian
    over that of the luma: how much of the contrast lies between neighbours, 0 for a flat image.
    """
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    luma = (pixels.float() * weights).sum(1)
    middle = luma[:, 1:-1, 1:-1]
    around = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
    contrast, edges = luma.std((1, 2)), (around - 4 * middle).std((1, 2))
    sharpness = edges / contrast.clamp(min=FLAT)
    return torch.stack([luma.mean((1, 2)), contrast, sharpness]).double().numpy()


def darkened(own: Tensor, changed: Tensor) -> Tensor:
    """Pictures `own` (n, 3, H, W) uint8 in dimmer light, their pixels changed as much as `changed`.

    As much: by the same number of grey levels on average; black where that is not enough.
    """
    found = []
    for image, other in zip(own, changed, strict=True):
        wanted = float((image.int() - other.int()).abs().sum())
        levels = torch.bincount(image.flatten().int(), minlength=256).double()
        grey, low, high = torch.arange(256).double(), 0.0, 1.0
        for _ in range(30):  # halvings: far below what moves one grey level
            middle = (low + high) / 2
            lost = float((levels * (grey - (grey * middle).round())).sum())
            low, high = (middle, high) if lost > wanted else (low, middle)
        found.append((grey * high).round().to(torch.uint8)[image.long()])
    return torch.stack(found)


def rank_correlation(values: np.ndarray, odds: np.ndarray, labels: np.ndarray) -> Estimate | None:
    """Spearman's correlation (n,) with ranks within each class, classes pooled; NaN left out.

    Interval by Fisher's z with the variance 1.06 / (n - 3) of Fieller, Hartley and Pearson (1957),
    n less one for every further class. None where nothing varies, or images are too few.
    """
    from scipy.stats import rankdata

    there = ~np.isnan(values)
    values, odds, labels = values[there], odds[there], labels[there]
    first, second = np.zeros(len(values)), np.zeros(len(values))
    kinds = np.unique(labels)
    for label in kinds:
        own = labels == label
        for ranks, of in ((first, values), (second, odds)):
            ranks[own] = (rankdata(of[own]) - (own.sum() + 1) / 2) / own.sum()
    length = math.sqrt((first**2).sum() * (second**2).sum())
    degrees = len(values) - len(kinds) - 2
    if degrees < 1 or length == 0:
        return None
    value = float((first * second).sum() / length)
    half = critical(0.05, degrees) * math.sqrt(1.06 / degrees)
    z = math.atanh(max(-1 + 1e-9, min(1 - 1e-9, value)))
    low, high = math.tanh(z - half), math.tanh(z + half)
    return Estimate(value, low, high, len(values), note="ranks within classes", df=degrees)
