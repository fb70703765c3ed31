"""`zfnet verdicts`: print what this checkout's run says of every claim, or what changed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from zfnet.errors import UserError
from zfnet.verdicts import compare, table
from zfnet.verdicts.judge import judge, summary


class _Parser(argparse.ArgumentParser):
    """Faults of the command line end like every other fault of what was asked for."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"zfnet verdicts: {message}")


def main(argv: Sequence[str], root: Path, stream: TextIO | None = None) -> int:
    """Judge the checkout `root` and print the table to `stream` (standard output by default).

    Raises UserError for a wrong option or a file that cannot be read.
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
    judgement = judge(root)
    if options.compare is not None:
        before = compare.at_revision(root, options.compare)
        out.write(compare.text(options.compare, before, summary(judgement)))
    else:
        out.write(table.text(judgement, table.width_of(out), table.is_coloured(out)))
    return 0
