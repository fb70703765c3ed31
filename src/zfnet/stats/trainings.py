"""One number of several trainings of a net, as one number of such nets.

The training is the unit of inference: one training's rounding decides which minimum it ends in, so
that an interval over images of one net says nothing of the next net.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zfnet.stats.estimate import IMAGES, TRAININGS, Estimate
from zfnet.stats.intervals import Z95, critical

LEVEL = 0.05
ENOUGH = 3  # trainings, or adopted nets: fewer tell nothing of the next one


def over_trainings(each: Sequence[Estimate], *, shared: bool) -> Estimate:
    """The mean over trainings with a 95 % interval for new trainings.

    each: the same number of every training, its own interval over images or maps. Numbers that are
    not known are left out, with a word. What equals in all and has no interval stays as it is.

    shared=False: every training was measured on images, or maps, of its own. The interval is
    Student's with k - 1 degrees of freedom, and never narrower than the single intervals alone
    would make it, as trainings agree by chance now and then, and counts often. shared=True: all
    were measured on the same images, whose choice moves all of them alike. The half width over
    images is then added whole, in quadrature; what images and trainings do together counts twice,
    which is too wide rather than too narrow. Of fewer than ENOUGH the interval is over images or
    maps alone.
    """
    known = [one for one in each if math.isfinite(one.value)]
    if len(known) < 2:
        return (
            known[0].noting(f"of {len(each) - 1} trainings it is not known") if known else each[0]
        )
    values = np.array([one.value for one in known])
    first, k = known[0], len(known)
    invalid = next((one.invalid for one in each if one.invalid), "")
    own = [one for one in known if one.half is not None and math.isfinite(one.half)]
    if not own and np.ptp(values) == 0:
        return replace(first, trainings=k, invalid=invalid)
    between, df, value = float(values.var(ddof=1)), k - 1.0, float(values.mean())
    within, squared = _mean_of_squares(own)  # over images or maps, as are half widths
    shared = shared and IMAGES in first.covers and within > 0
    alone = math.sqrt(squared / (1 if shared else k))
    note = f"mean of {k} trainings"
    if len(known) < len(each):
        note += f"; of {len(each) - k} it is not known"
    if k < ENOUGH:
        low, high = (value - alone, value + alone) if own else (None, None)
        few = replace(first, value=value, low=low, high=high, trainings=k, invalid=invalid)
        return few.noting(note)
    if shared:
        images = min(one.freedom for one in own)
        squares = between / k * critical(LEVEL, df) ** 2 + within * critical(LEVEL, images) ** 2
        half = math.sqrt(squares)
        df = freedom_of(half / math.sqrt(between / k + within))
    else:
        half = max(critical(LEVEL, df) * math.sqrt(between / k), alone)
    covers = (*(first.covers if own else ()), TRAININGS)
    joined = replace(first, value=value, low=value - half, high=value + half, n=k, df=df)
    return replace(joined, trainings=k, covers=covers, invalid=invalid).noting(note)


def _mean_of_squares(each: Sequence[Estimate]) -> tuple[float, float]:
    """Mean variance and mean squared half width of numbers with intervals; 0, 0 without any."""
    halves = np.array([one.half for one in each], np.float64)
    if not len(halves):
        return 0.0, 0.0
    factors = np.array([critical(LEVEL, one.freedom) for one in each])
    return float(((halves / factors) ** 2).mean()), float((halves**2).mean())


def freedom_of(factor: float) -> float:
    """Degrees of freedom for which Student's 95 % critical value is `factor`."""
    from scipy.special import stdtridf

    return float(stdtridf(1 - LEVEL / 2, factor)) if factor > Z95 * (1 + 1e-6) else math.inf
