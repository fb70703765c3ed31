"""Images of a target that the source set holds too, as the stage overlap found them.

The paper left them out of the source set; here they neither train nor test a classifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zfnet.errors import UserError
from zfnet.results import Results

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths


def excluded_rows(paths: Paths, target: str) -> dict[str, list[int]]:
    """Rows of `target` to leave out, by split; a split without any may be absent.

    Raises UserError if the stage overlap has not looked at the target.
    """
    folder = paths.result_of("overlap")
    duplicates = Results(folder, paths.root).facts.get("duplicates", {})
    if target not in duplicates:
        raise UserError(f"{folder}: says nothing of {target}: run `dvc repro overlap`")
    rows = duplicates[target]  # a list where the target has a split train alone
    return dict(rows) if isinstance(rows, dict) else {"train": list(rows)}
