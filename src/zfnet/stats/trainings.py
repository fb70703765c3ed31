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


def over_trainings(each: Sequence[Estimate], *, shared: bool) -> Estimate:
    """The mean over trainings with a 95 % interval for new trainings.

    each: the same number of every training, its own interval over images or maps. Numbers that are
    not known are left out, with a word. What equals in all and has no interval stays as it is.

    shared=False: every training was measured on images, or maps, of its own. The interval is
    Student's with k - 1 degrees of freedom, and never narrower than the single intervals alone
    would make it, as trainings agree by chance now and then, and counts often. shared=True: all
    were measured on the same images, whose choice moves all of them alike. The half width over
    images is then added whole, in quadrature; what images and trainings do together counts twice,
    which is too wide rather than too narrow.
    """
    known = [one for one in each if math.isfinite(one.value)]
    if len(known) < 2:
        return known[0] if known else each[0]
    values = np.array([one.value for one in known])
    first, k = known[0], len(known)
    invalid = next((one.invalid for one in each if one.invalid), "")
    own = [_variance(one) for one in known]
    if not any(own) and np.ptp(values) == 0 and first.half is None:
        return replace(first, trainings=k, invalid=invalid)
    between, within, df = float(values.var(ddof=1)), float(np.mean(own)), k - 1.0
    if shared and IMAGES in first.covers and within > 0:
        images = min(one.freedom for one in known)
        squares = between / k * critical(LEVEL, df) ** 2 + within * critical(LEVEL, images) ** 2
        half = math.sqrt(squares)
        df = freedom_of(half / math.sqrt(between / k + within))
    else:
        alone = math.sqrt(float(np.mean([(one.half or 0.0) ** 2 for one in known])) / k)
        half = max(critical(LEVEL, df) * math.sqrt(between / k), alone)
    value = float(values.mean())
    note = f"mean of {k} trainings"
    if len(known) < len(each):
        note += f"; of {len(each) - k} it is not known"
    covers = first.covers if any(one.half is not None for one in known) else ()
    joined = Estimate(value, value - half, value + half, k, first.unit, first.note, df, k)
    return replace(joined, covers=(*covers, TRAININGS), invalid=invalid).noting(note)


def _variance(one: Estimate) -> float:
    """Of the number over its own images or maps, from its interval; 0 without one."""
    if one.half is None:
        return 0.0
    return (one.half / critical(LEVEL, one.freedom)) ** 2


def freedom_of(factor: float) -> float:
    """Degrees of freedom for which Student's 95 % critical value is `factor`."""
    from scipy.special import stdtridf

    return float(stdtridf(1 - LEVEL / 2, factor)) if factor > Z95 * (1 + 1e-6) else math.inf
