"""Average precision as PASCAL VOC defines it, and its interval over images. Needs no torch.

Images are ranked by score. Precision is made to fall: at each recall it is the highest reached at
that recall or a larger one. Until 2009 the average is that at the eleven recalls 0, 0.1, …, 1
(VOC 2007), from 2010 on the area under the whole curve (VOC 2012).
"""

from __future__ import annotations

import numpy as np

LAST_ELEVEN = 2009  # the last year of the eleven-point average
RECALLS = np.arange(11) / 10


def average_precision(
    scores: np.ndarray, positive: np.ndarray, *, eleven_points: bool = False
) -> float:
    """Average precision (0..1) of `scores` (n,) for images of which `positive` (n,) show the class.

    Images with equal scores share a rank: they are taken together, in no order. NaN without a
    positive image.
    """
    positive = np.asarray(positive, bool)
    if not positive.any():
        return float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked = np.asarray(scores)[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # of each group of equal scores
    found = np.cumsum(positive[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    recall = found / found[-1]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if not eleven_points:
        return float((np.diff(recall, prepend=0.0) * envelope).sum())
    # the first rank that reaches each recall; 1e-12: 0.3 of 10 images is 3 of them
    reached = np.searchsorted(recall, RECALLS - 1e-12)
    return float(envelope[reached].mean())


def mean_precision_interval(
    scores: np.ndarray,
    positive: np.ndarray,
    counts: np.ndarray,
    *,
    eleven_points: bool = False,
    seed: int = 0,
    draws: int = 200,
) -> tuple[float, float]:
    """95 % bootstrap interval over images of the mean average precision over classes.

    scores, positive, counts: (n, K); an image counts for class k where counts[:, k]. Classes
    without a positive image in a sample are left out of its mean. A sample holds some images twice,
    next to each other in the ranking, which raises the precision of poor rankings: the interval is
    that of the samples about their mean, laid about the value.
    """
    n, classes = scores.shape
    rng = np.random.default_rng([seed, n, classes, 32])
    times = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    total, counted = np.zeros((2, draws))
    for k in range(classes):
        own = np.flatnonzero(counts[:, k])
        order = own[np.argsort(-scores[own, k], kind="stable")]
        found = np.cumsum(times[:, order] * positive[order, k], axis=1)
        seen = np.cumsum(times[:, order], axis=1)
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        there = found[:, -1] > 0
        recall = found / np.maximum(found[:, -1:], 1)
        if eleven_points:
            means = np.mean(
                [np.where(recall >= at - 1e-12, envelope, 0).max(1) for at in RECALLS], axis=0
            )
        else:
            means = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(1)
        total += np.where(there, means, 0)
        counted += there
    sample = total / np.maximum(counted, 1)
    low, high = np.quantile(sample - sample.mean(), [0.025, 0.975])
    columns = [(scores[c, k], positive[c, k]) for k, c in enumerate(np.asarray(counts, bool).T)]
    values = [average_precision(*column, eleven_points=eleven_points) for column in columns]
    value = float(np.nanmean(values))
    return max(0.0, value + float(low)), min(1.0, value + float(high))
