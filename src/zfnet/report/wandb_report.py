"""The W&B Report: the site's chapters, with W&B's own panels on the runs that `track` replayed.

Order, titles, words and numbers come from where the site takes them. `wr` is the module
wandb_workspaces.reports.v2, or what stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zfnet.figures.kit.words import words
from zfnet.report import claims, facts, formats, provenance
from zfnet.report.evolution_panels import SECTION, panel_keys
from zfnet.report.gather import Evidence
from zfnet.report.records import CLAIMS, FIGURES, TABLES, VERDICTS

# As the site's pages are headed (a test compares).
TITLE = "Visualizing and Understanding Convolutional Networks, run again"
NETS_HEADING = "Do the nets work?"
CURVES = ("val_top1_error", "train_top1_error", "val_loss", "train_loss")
LONGEST_TITLE = 128
GRID = 24  # columns of a panel grid
ROWS_A_GRID = 29  # of its rows make a square of all its columns
MARGIN = 4  # rows that a panel's head and caption take


@dataclass(frozen=True)
class Destination:
    """Where the runs and the report go, and the ids of the runs by what they are about."""

    entity: str
    project: str
    group: str
    runs: Mapping[str, str]


def build(wr: Any, evidence: Evidence, place: Destination) -> Any:
    """The report, not yet saved: verdicts, nets, a chapter per study, the run itself."""
    book = _Book(wr, evidence, place)
    experiment = evidence.config.get("name")
    return wr.Report(
        project=place.project,
        entity=place.entity,
        title=f"{TITLE} ({experiment})"[:LONGEST_TITLE] if experiment else TITLE,
        description=facts.lead(evidence),
        width="fluid",
        blocks=[
            wr.TableOfContents(),
            *book.verdicts(),
            *book.nets(),
            *(block for name in evidence.studies for block in book.study(name)),
            *book.run(),
        ],
    )


class _Book:
    """Makes the blocks of each chapter."""

    def __init__(self, wr: Any, evidence: Evidence, place: Destination) -> None:
        self.wr, self.evidence, self.place = wr, evidence, place

    # ---------------------------------------------------------------------------- chapters
    def verdicts(self) -> list[Any]:
        """The table of claims; nothing where none was judged."""
        document = self.evidence.claims
        if not document:
            return []
        blocks = []
        for part in claims.parts(document, {}):
            rows = [
                [f"{row['claim']} ({row['place']})", row["measured"], row["paper"],
                 _with(f"**{row['verdict']}**", row["later"])]
                for row in part.rows
            ]  # fmt: skip
            table = self._table(["Claim", "Estimate", "Source", "Verdict"], rows)
            blocks += [self.wr.H1(text=part.heading), self._text(part.lead), table]
        return [
            *blocks,
            *map(self._text, filter(None, [claims.caution(document), *claims.notes(document)])),
            *self._panels([VERDICTS], [self._logged_table(CLAIMS)]),
        ]

    def nets(self) -> list[Any]:
        """Errors of every net, and how those trained here learned."""
        nets = self.evidence.nets
        if not nets:
            return []
        rows = [
            [_with(row["net"], row["state"]), row["error"], row["trainings"]]
            for row in facts.error_rows(nets)
        ]
        trained = [net for net in nets if net.history]
        known = {name for net in trained for name in net.history}
        curves = [
            self.wr.LinePlot(title=words(name), x="epoch", y=[name], layout=self._half(i))
            for i, name in enumerate(name for name in CURVES if name in known)
        ]
        return [
            self.wr.H1(text=NETS_HEADING),
            self._text(facts.training_lead(nets)),
            self._table(["Net", "Error [95 % interval]", "Trainings"], rows),
            *self._panels([f"train {net.name}" for net in trained], curves),
        ]

    def study(self, name: str) -> list[Any]:
        """One study: the answer, its figures, how it was reached, numbers and tables."""
        study = self.evidence.studies[name]
        figures = sorted(study["figures"], key=lambda item: item["name"] != study["card"])
        shown = [item for item in figures if not item["folded"]]
        folded = [item for item in figures if item["folded"]]
        rows = [
            [item["name"], item["value"], formats.number(item["n"])]
            for item in facts.numbers(study["results"].estimates)
        ]
        tables = [self._logged_table(f"{TABLES}/{key}") for key in study["tables"]]
        return [
            self.wr.H1(text=f"{study['title']} ({study['paper']})"),
            self.wr.MarkdownBlock(text=study["answer"]),
            *map(self._text, filter(None, [study["trainings"]])),
            *self._panels([name], map(self._figure, shown)),
            *(self._by_epoch(study) if name == SECTION else []),
            self.wr.MarkdownBlock(text=study["text"]),
            self._table(["Number", "Value [95 % interval]", "n"], rows),
            *self._folded("Tables", name, tables),
            *self._folded("Everything drawn", name, map(self._figure, folded)),
        ]

    def run(self) -> list[Any]:
        """How it was made: data, time, code, configuration."""
        evidence = self.evidence
        items = [*provenance.data_facts(evidence), *provenance.code_facts(evidence)]
        if evidence.timings:
            total = formats.duration(provenance.total_seconds(evidence.timings))
            items.append(provenance.fact("Time, all stages", total))
        rows = [[item["name"], _with(item["value"], item["note"])] for item in items]
        config = self.wr.CodeBlock(code=provenance.config_text(evidence), language="yaml")
        return [
            self.wr.H1(text="Run"),
            self._table(["", ""], rows),
            self.wr.H3(text="Configuration", collapsed_blocks=[config]),
        ]

    # ------------------------------------------------------------------------------ pieces
    def _text(self, text: str) -> Any:
        return self.wr.P(text=text.strip())

    def _table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        return self.wr.MarkdownBlock(text=text)

    def _panels(self, keys: Sequence[str], panels: Iterable[Any]) -> list[Any]:
        """A grid of panels on the runs named by `keys`; nothing without panels."""
        shown = list(panels)
        if not shown:
            return []
        ids = [self.place.runs[key] for key in keys]
        runs = self.wr.Runset(
            entity=self.place.entity,
            project=self.place.project,
            name=", ".join(keys)[:LONGEST_TITLE],
            # By id, not by group: an older run of the group on the server is about other results.
            filters=f"Metric('ID') in {ids!r}",
        )
        return [self.wr.PanelGrid(runsets=[runs], panels=shown, hide_run_sets=len(keys) == 1)]

    def _folded(self, heading: str, name: str, panels: Iterable[Any]) -> list[Any]:
        blocks = self._panels([name], panels)
        return [self.wr.H3(text=heading, collapsed_blocks=blocks)] if blocks else []

    def _by_epoch(self, study: Mapping[str, Any]) -> list[Any]:
        """One panel a layer with the pictures of all epochs, W&B's slider below."""
        panels = [
            self.wr.MediaBrowser(title=words(key.rpartition("/")[2]), media_keys=[key],
                                 num_columns=1, layout=self._half(i))
            for i, key in enumerate(panel_keys(study))
        ]  # fmt: skip
        if not panels:
            return []
        how = "The same maps epoch by epoch: move a panel's step slider, the step is the epoch."
        return [self._text(how), *self._panels([SECTION], panels)]

    def _figure(self, figure: Mapping[str, Any]) -> Any:
        from PIL import Image

        with Image.open(figure["path"]) as picture:
            share = picture.height / picture.width
        rows = max(8, min(40, round(ROWS_A_GRID * share) + MARGIN))
        return self.wr.MediaBrowser(
            title=words(figure["name"]),
            media_keys=[f"{FIGURES}/{figure['name']}"],
            num_columns=1,
            layout=self.wr.Layout(w=GRID, h=rows),
        )

    def _logged_table(self, key: str) -> Any:
        layout = self.wr.Layout(w=GRID, h=14)
        return self.wr.WeavePanelSummaryTable(table_name=key, layout=layout)

    def _half(self, index: int) -> Any:
        """Place of panel number `index` in two columns."""
        row, column = divmod(index, 2)
        return self.wr.Layout(x=column * GRID // 2, y=row * 12, w=GRID // 2, h=12)


def _with(text: Any, more: str) -> str:
    return f"{text} ({more})" if more else str(text)


def _cell(value: Any) -> str:
    """A value as one cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")
