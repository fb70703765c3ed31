"""Signed pictures as bytes: grey is zero, the scale is symmetric. Results keep projections so."""

from __future__ import annotations

import numpy as np

ZERO = 128
QUANTILE = 0.995


def signed_scale(x: np.ndarray, quantile: float = QUANTILE) -> float:
    """The size at which a signed picture saturates: the `quantile` of |x|, or its maximum.

    The maximum is taken where so few pixels are non-zero that the quantile would be 0. An empty or
    all-zero picture has scale 0.
    """
    size = np.abs(np.asarray(x, dtype=np.float32)).ravel()
    if size.size == 0:
        return 0.0
    place = min(size.size - 1, int(quantile * size.size))
    scale = float(np.partition(size, place)[place])
    return scale if scale > 0 else float(size.max())


def signed_to_rgb(x: np.ndarray, scale: float | None = None) -> np.ndarray:
    """Signed values as grey-centred uint8: 0 is exactly 128, ±scale is 255 and 1.

    x: any shape, float; colour planes last, if it has them. The scale is symmetric, so that equal
    steps up and down look equal; by default it is `signed_scale(x)`. Scale 0 gives plain grey.
    """
    x = np.asarray(x, dtype=np.float32)
    if scale is None:
        scale = signed_scale(x)
    if scale <= 0:
        return np.full(x.shape, ZERO, np.uint8)
    return np.rint(np.clip(x / np.float32(scale), -1, 1) * 127 + ZERO).astype(np.uint8)
