"""One progress bar for the whole project: on stderr, quiet where nobody watches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(
    iterable: Iterable[T], total: int | None = None, desc: str = "", unit: str = "it"
) -> Iterator[T]:
    """Yield from `iterable`, drawing a bar on stderr.

    On a terminal the bar moves; in a log file it writes one line every 15 s, so that a long stage
    shows that it lives without filling the log. `ZFNET_PROGRESS=0` turns it off.
    """
    if os.environ.get("ZFNET_PROGRESS") == "0":
        yield from iterable
        return
    from tqdm import tqdm

    watched = sys.stderr.isatty()
    yield from tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        file=sys.stderr,
        mininterval=0.2 if watched else 15.0,
        dynamic_ncols=watched,
        leave=True,
    )
