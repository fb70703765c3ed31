"""The few numbers that `dvc metrics` and `dvc exp show` compare runs by; all are in metrics/ too.

Which these are stands with each quantity in `zfnet.pipeline.studies`. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zfnet.pipeline.studies import quantity_of
from zfnet.stats.estimate import decimals
from zfnet.verdicts.evidence import SEEDS, Run


def headline(run: Run, counts: Mapping[str, int]) -> dict[str, Any]:
    """{group: {name: number}} of a run, rounded to what the interval tells; `counts`: of verdicts.

    Where a net was trained with several seeds the mean over them is taken; what a run did not
    measure is left out. No key may be `error`: DVC takes that for a file that it could not read.
    """
    found: dict[str, Any] = {"claims": {word.replace(" ", "_"): n for word, n in counts.items()}}
    for source, numbers in run.numbers.items():
        for key, one in numbers.items():
            quantity, words = quantity_of(source, key) or (None, {})
            over = numbers.get(f"{key}{SEEDS}", one)
            number = one if over.value != over.value else over
            if quantity is None or not quantity.headline or number.value != number.value:
                continue
            group, _, name = quantity.headline.format(**words).partition(".")
            places = decimals(number.value, number.low, number.high)
            value = round(number.value, places) + 0.0  # no -0.0
            found.setdefault(group, {})[name] = value if places else int(value)
    return found
