"""Average precision as PASCAL VOC defines it, and its interval over images. Needs no torch.

Images are ranked by score. Precision is made to fall: at each recall it is the highest reached at
that recall or a larger one. Until 2009 the average is that at the eleven recalls 0, 0.1, …, 1
(VOC 2007), from 2010 on the area under the whole curve (VOC 2012).

Arguments: `scores` (n, K) of images by class, `positive` (n, K) which show the class, `counts`
(n, K) which count for it.
"""

from __future__ import annotations

import numpy as np

from zfnet.stats.bootstrap import counts as drawn_counts
from zfnet.stats.bootstrap import percentiles
from zfnet.stats.estimate import Estimate

RECALLS = np.arange(11) / 10 - 1e-12  # 0.3 of 10 images is 3 of them, whatever the rounding
DRAWS = 200  # bootstrap samples; each ranks all images of every class


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
    hits = np.cumsum(positive[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    recall = hits / hits[-1]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven_points:
        return float(envelope[np.searchsorted(recall, RECALLS)].mean())
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def precisions(
    scores: np.ndarray, positive: np.ndarray, counts: np.ndarray, *, eleven_points: bool = False
) -> np.ndarray:
    """Average precision (0..1) of each class, (K,); NaN for one without a positive image."""
    columns = zip(scores.T, positive.T, np.asarray(counts, bool).T, strict=True)
    return np.array([
        average_precision(own[of], shown[of], eleven_points=eleven_points)
        for own, shown, of in columns
    ])  # fmt: skip


def mean_precision(
    scores: np.ndarray,
    positive: np.ndarray,
    counts: np.ndarray,
    *,
    eleven_points: bool = False,
    seed: int = 0,
    note: str = "",
) -> Estimate:
    """Mean average precision over classes, %, with a 95 % bootstrap interval over images.

    Classes without a positive image in a sample are left out of its mean. A sample holds some
    images twice, next to each other in the ranking, which raises the precision of poor rankings:
    the interval is that of the samples about their mean, laid about the value, cut at 0 and 100.
    """
    n, classes = scores.shape
    rng = np.random.default_rng([seed, n, classes, 32])
    times = drawn_counts(n, rng, DRAWS).astype(np.float64)
    total, counted = np.zeros((2, DRAWS))
    for k in range(classes):
        own = np.flatnonzero(counts[:, k])
        order = own[np.argsort(-scores[own, k], kind="stable")]
        hits = np.cumsum(times[:, order] * positive[order, k], axis=1)
        ranks = np.cumsum(times[:, order], axis=1)
        precision = np.divide(hits, ranks, out=np.zeros_like(hits), where=ranks > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(hits[:, -1:], 1)
        if eleven_points:
            means = np.mean([np.where(recall >= at, envelope, 0).max(1) for at in RECALLS], axis=0)
        else:
            means = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(1)
        there = hits[:, -1] > 0
        total += np.where(there, means, 0)
        counted += there
    sample = total / np.maximum(counted, 1)
    value = float(np.nanmean(precisions(scores, positive, counts, eleven_points=eleven_points)))
    low, high = percentiles(value + sample - sample.mean())
    return Estimate(
        100 * value, max(0, 100 * float(low)), min(100, 100 * float(high)), n, "%", note
    )
