"""Builds the static site: one page per template, one per study, every picture beside them.

Pages open from disk: no server, no request to any network, data by `<script>`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from zfnet.errors import UserError
from zfnet.figures.kit import trainings
from zfnet.figures.kit.words import words
from zfnet.pipeline.studies import STUDIES
from zfnet.report import charts, claims, explorers, facts, formats, pictures, provenance
from zfnet.report.claims import Link, StudyLinks
from zfnet.report.gather import Evidence, NetRun
from zfnet.report.scripts import write_global
from zfnet.stats.chance import FALL

HERE = Path(__file__).parent
GENERATOR = "zfnet report"
ROWS_SHOWN = 40
WORKS = {"paper": "Of the paper", "survey": "Other techniques"}


def powers(text: str) -> Markup:
    """Text with its powers raised: "10^-2" becomes 10 with −2 above the line."""
    raised = re.sub(r"\^(-?\d+)", r"<sup>\1</sup>", str(escape(text)))
    return Markup(raised.replace("<sup>-", "<sup>\N{MINUS SIGN}"))


def markdown(text: str) -> Markup:
    """A page's words as HTML; HTML among them is shown, not obeyed. Wide tables scroll."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = html.replace("<table>", '<div class="scroll"><table>')
    return Markup(html.replace("</table>", "</table></div>"))


def build(evidence: Evidence, out: Path) -> Path:
    """Write the whole site into `out` and return its index.html.

    An older site there is replaced; a folder that holds anything else raises UserError.
    """
    _clear(out)
    shutil.copytree(HERE / "static", out / "assets")
    site = _Site(evidence, out)
    site.index()
    site.training()
    site.run()
    for name in evidence.studies:
        site.study(name)
    for explorer in site.explorers:
        site.explorer(explorer)
    return out / "index.html"


def _clear(out: Path) -> None:
    index = out / "index.html"
    if out.is_dir() and any(out.iterdir()):
        if not index.is_file() or GENERATOR not in index.read_text(encoding="utf-8")[:2000]:
            raise UserError(
                f"{out} holds files that are no report: move them, or name another folder."
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    # A site that was not finished is known as one.
    index.write_text(f"<!doctype html><title>{GENERATOR}</title>Not finished.", encoding="utf-8")


def environment() -> Any:
    """What renders templates/; `include` also finds the files of static/ there."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader((HERE / "templates", HERE / "static")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {"number": formats.number, "powers": powers, "markdown": markdown}
    return jinja


class _Site:
    """The evidence, the templates and the folder they go to."""

    def __init__(self, evidence: Evidence, out: Path) -> None:
        self.evidence = evidence
        self.out = out
        self.jinja = environment()
        self.chance = facts.chance_error(evidence)
        self.figures = {name: self._figures(name) for name in evidence.studies}
        self.explorers = explorers.build_all(evidence, out)
        self.cards = {name: self._card(name) for name in evidence.studies}

    # ------------------------------------------------------------------------------- pages
    def index(self) -> None:
        """The first page: what ran, whether the nets work, a card for each study."""
        evidence = self.evidence
        rows = facts.error_rows(evidence.nets)
        notes = {row["estimate"].note for row in rows} - {""}
        self._write(
            "index.html",
            lead=facts.lead(evidence),
            claims=claims,
            document=evidence.claims,
            parts=evidence.claims and claims.parts(evidence.claims, self._links(evidence.claims)),
            glance=facts.glance(evidence),
            errors=rows,
            error_note=notes.pop() if len(notes) == 1 else "",
            chance=self.chance,
            cards=self.cards,
            works={
                heading: {n: row for n, row in STUDIES.items() if row.measures and row.work == work}
                for work, heading in WORKS.items()
            },
        )

    def training(self) -> None:
        """Curves of every net that was trained here, and the nets side by side."""
        nets = self.evidence.nets
        drawn = charts.training_charts(nets, self._levels())
        if drawn:
            self._plotly()
            write_global(self.out / "data" / "training.js", "ZFNET_CHARTS", drawn)
        columns, rows = facts.net_table(nets)
        ended_columns, ended = facts.ending_table(nets)
        colours = charts.colours(nets)
        self._write(
            "training.html",
            lead=facts.training_lead(nets),
            net_columns=columns,
            nets=rows,
            numeric=[1, *range(3, len(columns))],
            charts=drawn,
            ended_columns=ended_columns,
            ended=ended,
            fall=f"{100 * FALL:g}",
            each_net=[
                {
                    "name": net.name,
                    "title": net.title,
                    "colour": colours.get(net.name),
                    "metrics": facts.numbers(net.estimates, net.name),
                    "columns": list(map(words, net.history)),
                    "histories": {
                        seed: list(zip(*history.values(), strict=True))
                        for seed, history in net.histories.items()
                    },
                }
                for net in nets
            ],
        )

    def run(self) -> None:
        """How it was made: departures, data, times, machines, code, configuration."""
        evidence = self.evidence
        hosts = provenance.host_groups(evidence.timings)
        self._write(
            "run.html",
            departures=facts.departure_groups(evidence.nets),
            any_net=bool(evidence.nets),
            adopted=[net.name for net in evidence.nets if not net.history],
            data=provenance.data_facts(evidence),
            classes=provenance.class_names(evidence),
            quarantine=evidence.data.quarantine if evidence.data else [],
            stages=provenance.stage_times(evidence.timings, hosts),
            total=formats.duration(provenance.total_seconds(evidence.timings)),
            together=any(net.timing.get("trained_for_later_stages") for net in evidence.nets),
            hosts=hosts,
            code_facts=provenance.code_facts(evidence),
            packages=sorted(evidence.code.packages.items()),
            tracking=evidence.tracking,
            runs=[[run["name"], run["id"]] for run in (evidence.tracking or {}).get("runs", [])],
            config_text=provenance.config_text(evidence),
        )

    def study(self, name: str) -> None:
        """One study's page: the answer and its picture, then how it was reached."""
        study = self.evidence.studies[name]
        names = list(self.evidence.studies)
        place = names.index(name)
        figures = _card_first(study, self.figures[name])
        folded = [item for item in self.figures[name] if item["folded"]]
        self._write(
            f"studies/{name}.html",
            study=study,
            name=name,
            description=study["answer"].split("\n\n")[0][:200],
            facts=facts.study_facts(study, self.evidence),
            card=figures[0] if figures else None,
            figures=figures[1:],
            each=[item for item in folded if item["name"] == trainings.NAME],
            folded=[item for item in folded if item["name"] != trainings.NAME],
            tables=[self._table(name, key, table) for key, table in study["tables"].items()],
            metrics=facts.numbers(study["results"].estimates),
            files=self._files(f"results/{name}"),
            explorer=self._explorer(name),
            previous=self._page(names[place - 1]) if place else None,
            next=self._page(names[place + 1]) if place + 1 < len(names) else None,
        )

    def explorer(self, explorer: explorers.Explorer) -> None:
        """The page of an explorer, where it can be built; its data are written already."""
        if not explorer.href:
            return
        self._plotly()
        self._write(explorer.href, explorer=explorer, **explorer.shown)

    # ------------------------------------------------------------------------------ pieces
    def _plotly(self) -> None:
        script = self.out / "assets" / "plotly.min.js"
        if not script.is_file():
            shutil.copyfile(charts.plotly_script(), script)

    def _write(self, href: str, **values: Any) -> None:
        template = "study.html.j2" if href.startswith("studies/") else f"{href}.j2"
        nav = [
            Link("index.html", "Overview"),
            Link("training.html", "Training"),
            Link("index.html#studies", "Studies"),
            *(Link(item.href, item.title) for item in self.explorers if item.href),
            Link("run.html", "Run"),
        ]
        common = {
            "generator": GENERATOR,
            "base": "../" * href.count("/"),
            "here": href,
            "nav": nav,
            "experiment": self.evidence.config.get("name"),
            "code": self.evidence.code,
            "description": "Visualizing and Understanding Convolutional Networks, reproduced.",
        }
        text = self.jinja.get_template(template).render(common | values)
        target = self.out / href
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _page(self, name: str) -> Link:
        return Link(f"studies/{name}.html", self.evidence.studies[name]["title"])

    def _explorer(self, study: str) -> explorers.Explorer | None:
        return next((each for each in self.explorers if study in each.offers), None)

    def _figures(self, name: str) -> list[dict[str, Any]]:
        return [
            {
                **figure,
                "title": words(figure["name"]),
                "anchor": f"figure-{figure['name']}",
                "picture": pictures.place(figure, self.out, f"studies/{name}"),
            }
            for figure in self.evidence.studies[name]["figures"]
        ]

    def _links(self, document: Mapping[str, Any]) -> dict[str, StudyLinks]:
        """Where the evidence behind the claims stands: the studies' pages, the nets' trainings."""
        asked = {study for claim in document["claims"].values() for study in claim["studies"]}
        training = StudyLinks(Link("training.html", "Training"))  # of a net that is not there
        links = {name: training for name in asked if name.startswith("train_")}
        links |= {f"train_{net.name}": self._net_links(net) for net in self.evidence.nets}
        return links | {name: self._study_links(name) for name in self.evidence.studies}

    def _study_links(self, name: str) -> StudyLinks:
        page, card, explorer = self._page(name), self.cards[name], self._explorer(name)
        metrics = facts.numbers(self.evidence.studies[name]["results"].estimates)
        return StudyLinks(
            page=page,
            numbers={item["key"]: f"{page.href}#{item['id']}" for item in metrics},
            figure=card["figure"],
            picture=card["picture"],
            trainings=trainings.by_key(self.evidence.studies[name]["results"]),
            explorer=Link(explorer.href, explorer.title) if explorer and explorer.href else None,
            files=self._files(f"results/{name}"),
        )

    def _net_links(self, net: NetRun) -> StudyLinks:
        metrics = facts.numbers(net.estimates, net.name)
        numbers = {item["key"]: f"training.html#{item['id']}" for item in metrics}
        page = Link("training.html", f"Training of {net.title}")
        files = self._files(f"models/{net.name}/final")
        return StudyLinks(page, numbers, files, trainings=facts.errors_by_seed(net))

    def _files(self, folder: str) -> Link:
        """A folder of the checkout, with an href where the site lies in that checkout."""
        root, out = self.evidence.root.resolve(), self.out.resolve()
        there = out.parent == root and (root / folder).is_dir()
        return Link(f"../{folder}/" if there else "", f"{folder}/")

    def _levels(self) -> dict[str, tuple[str, float]]:
        levels = {} if self.chance is None else {"error": ("chance", self.chance)}
        limit = self.evidence.config.get("training", {}).get("max_filter_rms")
        return levels if limit is None else levels | {"rms": ("limit", float(limit))}

    def _card(self, name: str) -> dict[str, Any]:
        study, href = self.evidence.studies[name], f"studies/{name}.html"
        chosen = next(iter(_card_first(study, study["figures"])), None)
        return {
            "href": href,
            "figure": f"{href}#figure-{chosen['name']}" if chosen else href,
            "title": study["title"],
            "paper": study["paper"],
            "picture": chosen and pictures.card(chosen["path"], self.out, f"studies/{name}"),
            "metrics": facts.card_numbers(study),
        }

    def _table(self, study: str, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        href = f"studies/{study}/{name}.csv"
        (self.out / href).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(table["path"], self.out / href)
        rows = table["rows"]
        return {
            "title": words(name),
            "anchor": f"table-{name}",
            "caption": table["caption"],
            "columns": table["columns"],
            "rows": rows[:ROWS_SHOWN],
            "total": len(rows),
            "numeric": formats.numeric_columns(rows),
            "href": href,
        }


def _card_first(study: Mapping[str, Any], figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures that are not folded away, the one that stands for the study first."""
    shown = [item for item in figures if not item["folded"]]
    return sorted(shown, key=lambda item: item["name"] != study["card"])
