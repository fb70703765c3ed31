"""What a figures module hands over: figures to draw, and tables with headings for people.

figures/<study>.py has `figures(results) -> list[Figure]`, `tables(results) -> dict[str, Shown]` and
CARD, the name of the figure that stands for the study. It reads `Results` and paper/ only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zfnet.results import Table
from zfnet.stats.estimate import Estimate, text

WEBP_QUALITY = 88
NOTHING = "–"


@dataclass(frozen=True)
class Figure:
    """A picture that is drawn only when it is saved.

    `draw()` returns a `PIL.Image.Image` or a matplotlib `Figure`. `format` is "png" (lossless; the
    choice for plots) or "webp" (for large grids of photographs; lossy). `folded`: a sheet to look
    things up in, which a page folds away.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[], Any]
    format: Literal["png", "webp"] = "png"
    folded: bool = False


@dataclass(frozen=True)
class Column:
    """One column of a table as people see it.

    `key`: the measured table's. `interval`: the ends lie under <key>_low and <key>_high and are
    printed with the value. `words`: what to print instead of some values.
    """

    key: str
    heading: str
    interval: bool = False
    words: Mapping[Any, str] | None = None

    def cell(self, record: Mapping[str, Any]) -> Any:
        """What stands in this column."""
        value = record[self.key]
        if self.words is not None and value in self.words:
            return self.words[value]
        if self.interval and value is not None:
            ends = record[f"{self.key}_low"], record[f"{self.key}_high"]
            return text(Estimate(value, *ends), unit=False)
        return value


@dataclass(frozen=True)
class Shown:
    """A measured table as people see it; columns that are not named are not shown."""

    columns: Sequence[Column]
    caption: str = ""
    table: Table | None = None  # in place of the measured one of that name

    def rows(self, measured: Table) -> list[list[Any]]:
        """The cells of every row."""
        table = self.table or measured
        return [[column.cell(record) for column in self.columns] for record in table.records()]

    @property
    def headings(self) -> list[str]:
        """The columns' heads."""
        return [column.heading for column in self.columns]


def all_columns(
    table: Table,
    caption: str,
    headings: Mapping[str, str],
    words: Mapping[str, Mapping[Any, str]] | None = None,
    hide: Collection[str] = (),
) -> Shown:
    """A table with all its columns but those of `hide`; an interval stands with its value.

    `headings`: by key, else the key itself in words. `words`: what to print instead of values, by
    key.
    """
    ends = {f"{key}{end}" for key in table.columns for end in ("_low", "_high")}
    columns = [
        Column(
            key,
            headings.get(key, key.replace("_", " ")),
            f"{key}_low" in table.columns,
            (words or {}).get(key),
        )
        for key in table.columns
        if key not in ends and key not in hide
    ]
    return Shown(columns, caption, table)


def to_image(drawn: Any) -> Any:
    """A PIL image without metadata from whatever `draw` returned."""
    import numpy as np
    from PIL import Image

    if isinstance(drawn, Image.Image):
        return Image.fromarray(np.asarray(drawn.convert("RGB")))
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
