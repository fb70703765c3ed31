"""`zfnet verdicts`: print what this checkout's run says of every claim, or what changed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.verdicts import compare, table
from zfnet.verdicts.judge import judge, summary, without_notes


class _Parser(argparse.ArgumentParser):
    """Faults of the command line end like every other fault of what was asked for."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"zfnet verdicts: {message}")


def main(argv: Sequence[str], root: Path, stream: TextIO | None = None) -> int:
    """Judge the checkout `root` and print the table to `stream` (standard output by default).

    Without the studies' results, as in a clone before `dvc pull`, nothing is judged anew: the
    committed verdicts of metrics/claims.json are printed or compared. Raises UserError for a wrong
    option, for a file that cannot be read and where there are no verdicts either.
    """
    parser = _Parser(
        prog="zfnet verdicts",
        description="What the run in this checkout says of each of the paper's claims.",
    )
    parser.add_argument(
        "--compare",
        metavar="REV",
        help="print what changed against another git revision or DVC experiment instead",
    )
    options = parser.parse_args(list(argv))
    out = sys.stdout if stream is None else stream
    before = None if options.compare is None else compare.at_revision(root, options.compare)
    lacking = without_notes(root)
    if lacking:
        why, now = _committed(root, lacking)
        if before is not None:
            sys.stderr.write(f"zfnet: {why}\n")
            out.write(compare.text(options.compare, before, now))
        else:
            out.write(compare.committed(now, why, table.width_of(out)))
        return 0
    judgement = judge(root)
    if before is not None:
        out.write(compare.text(options.compare, before, summary(judgement)))
    else:
        out.write(table.text(judgement, table.width_of(out), table.is_coloured(out)))
    return 0


def _committed(root: Path, lacking: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Why nothing is judged, and metrics/claims.json."""
    some = f"results/{lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
    short = f"{some} not here"
    file = root / compare.FILE
    if not file.is_file():
        raise UserError(
            f"{short}, and no {compare.FILE}: run `dvc pull` for the results of this commit, or "
            "`dvc repro`"
        )
    found = read_json(file)
    if not isinstance(found.get("claims"), dict) or not found["claims"]:
        raise UserError(f"{file} holds no verdicts: run `dvc pull` or `dvc repro`")
    return (
        f"{short}, without which nothing can be judged anew: these are the verdicts of "
        f"{compare.FILE} as it stands. `dvc pull` or `dvc repro` brings the results.",
        found,
    )
