"""Images of a target that the source set holds too, as the stage overlap found them."""

from __future__ import annotations

from typing import Any

from zfnet.errors import UserError
from zfnet.studies.result import load_result


def rows_in_source(paths: Any, target: str, study: str) -> dict[str, list[int]]:
    """Rows of `target` to leave out, by split; a split without any may be absent.

    study: who asks, for the error. Raises UserError if stage overlap has not looked at the target.
    """
    folder = paths.result_of("overlap")
    mend = f"run `dvc repro overlap`, or set study.{study}.leave_out_overlap=false"
    try:
        found = load_result(folder)["extra"].get("duplicates", {})
    except UserError as error:
        raise UserError(
            f"{error} It tells which images of {target} are in the net's own data: {mend}"
        ) from error
    if target not in found:
        raise UserError(f"{folder / 'result.json'} says nothing of {target}: {mend}")
    rows = found[target]  # a list where the target has a split train alone
    return dict(rows) if isinstance(rows, dict) else {"train": list(rows)}
