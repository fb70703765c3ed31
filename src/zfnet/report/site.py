"""Builds the static site: one page per template, one per study, every picture beside them.

Pages open from disk: no server, no request to any network, data by `<script>`. A new study gets its
page from its result.json alone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from zfnet.errors import UserError
from zfnet.report import charts, claims, explorers, facts, formats, pictures
from zfnet.report.claims import Link, Source
from zfnet.report.gather import Evidence, NetRun
from zfnet.report.scripts import write_global

HERE = Path(__file__).parent
GENERATOR = "zfnet report"
ROWS_SHOWN = 40
FILES_SHOWN = 200
STUDIES_IN_NAV = 5
FOLDED = "all_"  # prefix of the names of figures that a page folds away


def short(title: str) -> str:
    """A title for the page's head: what stands before its colon."""
    return title.partition(":")[0]


def powers(text: str) -> Markup:
    """Text with its powers raised: "10^-2" becomes 10 with -2 above the line."""
    raised = re.sub(r"\^(-?\d+)", r"<sup>\1</sup>", str(escape(text)))
    return Markup(raised.replace("<sup>-", "<sup>\u2212"))


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


class _Site:
    """The evidence, the templates and the folder they go to."""

    def __init__(self, evidence: Evidence, out: Path) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.evidence = evidence
        self.out = out
        self.jinja = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.jinja.filters |= {"number": formats.number, "powers": powers}
        self.chance = facts.chance_error(evidence)
        self.figures = {name: self._figures(name) for name in evidence.studies}
        self.explorers = explorers.build_all(evidence, out)
        self.cards = {name: self._card(name) for name in evidence.studies}

    # ------------------------------------------------------------------------------- pages
    def index(self) -> None:
        """The first page: what ran, whether the nets work, a card for each study."""
        evidence = self.evidence
        rows = facts.error_rows(evidence.nets)
        notes = {row["note"] for row in rows if row["note"]}
        self._write(
            "index.html",
            "index.html.j2",
            lead=facts.lead(self.evidence),
            claims=claims.rows(evidence.claims, self._sources()),
            claims_lead=claims.lead(evidence.claims),
            claims_legend=claims.legend(evidence.claims),
            claims_notes=claims.notes(evidence.claims),
            glance=facts.glance(self.evidence),
            errors=rows,
            error_note=notes.pop() if len(notes) == 1 else "",
            chance=self.chance,
            cards=[*self.cards.values()]
            + [facts.planned_card(name) for name in self.evidence.planned],
        )

    def training(self) -> None:
        """Curves of every net that was trained here, and the nets side by side."""
        nets = self.evidence.nets
        drawn = charts.training_charts(nets, self._levels())
        if drawn:
            self._plotly()
            write_global(self.out / "data" / "training.js", "ZFNET_CHARTS", drawn)
        columns, rows = facts.net_table(nets)
        self._write(
            "training.html",
            "training.html.j2",
            lead=facts.training_lead(nets),
            net_columns=columns,
            nets=rows,
            numeric=range(2, len(columns)),
            charts=drawn,
            filters=self._filters(),
            histories=[facts.history_table(net) for net in nets if net.history],
            numbers=[(net.title, facts.net_metrics(net)) for net in nets],
        )

    def run(self) -> None:
        """How it was made: departures, data, times, machines, code, configuration."""
        evidence = self.evidence
        hosts = facts.host_groups(evidence.timings)
        quarantine = (
            [list(row.values()) for row in evidence.data.quarantine] if evidence.data else []
        )
        classes = evidence.data.meta.get("classes", []) if evidence.data else []
        self._write(
            "run.html",
            "run.html.j2",
            lead="Everything needed to judge or repeat what the other pages show: what was done "
            "otherwise than the paper says, on which data, with which code, on which machine and "
            "in what time.",
            departures=facts.departure_groups(evidence.nets),
            any_net=bool(evidence.nets),
            adopted=[net.name for net in evidence.nets if not net.history],
            data=facts.data_facts(evidence),
            classes=[facts.class_name(item) for item in classes],
            quarantine=quarantine[:FILES_SHOWN],
            quarantine_total=len(quarantine),
            stages=facts.stage_times(evidence.timings, hosts),
            total=formats.duration(facts.total_seconds(evidence)),
            trained_ahead=facts.trained_ahead(evidence),
            hosts=hosts,
            code_facts=facts.code_facts(evidence),
            packages=sorted(evidence.code.packages.items()),
            tracking=facts.tracking_facts(evidence.tracking),
            config_text=evidence.config_text,
            config_lines=len((evidence.config_text or "").splitlines()),
        )

    def study(self, name: str) -> None:
        """One study's page, from its result.json alone."""
        study = self.evidence.studies[name]
        names = list(self.evidence.studies)
        place = names.index(name)
        metrics = [facts.metric(key, value) for key, value in study["metrics"].items()]
        self._write(
            f"studies/{name}.html",
            "study.html.j2",
            study=study,
            description=str(study["text"]).split("\n")[0][:200],
            paragraphs=[text.strip() for text in str(study["text"]).split("\n\n") if text.strip()],
            facts=facts.study_facts(study, self.evidence.timings.get(name)),
            metrics=metrics,
            figures=[item for item in self.figures[name] if not item["folded"]],
            folded=[item for item in self.figures[name] if item["folded"]],
            tables=[self._table(name, key, table) for key, table in study["tables"].items()],
            arrays=[_array_row(name, *item) for item in study["arrays"].items()],
            name=name,
            files=self._files(f"results/{name}"),
            explorer=next((item for item in self.explorers if name in item.told), None),
            previous=self._link(names[place - 1]) if place else None,
            next=self._link(names[place + 1]) if place + 1 < len(names) else None,
        )

    def explorer(self, explorer: explorers.Explorer) -> None:
        """The page of an explorer; its data are written already. None where it has no page."""
        if explorer.href is None:
            return
        self._plotly()
        self._write(explorer.href, explorer.template, explorer=explorer, **explorer.shown)

    # ------------------------------------------------------------------------------ pieces
    def _plotly(self) -> None:
        script = self.out / "assets" / "plotly.min.js"
        if not script.is_file():
            shutil.copyfile(charts.plotly_script(), script)

    def _write(self, href: str, template: str, **values: Any) -> None:
        nav = [Link("index.html", "Overview"), Link("training.html", "Training")]
        if len(self.evidence.studies) <= STUDIES_IN_NAV:
            nav += [
                Link(link.href, short(link.text)) for link in map(self._link, self.evidence.studies)
            ]
        else:
            nav += [Link("index.html#studies", "Studies")]
        nav += [Link(item.href, item.title) for item in self.explorers if item.href]
        nav += [Link("run.html", "Run")]
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

    def _link(self, name: str) -> Link:
        return Link(f"studies/{name}.html", self.evidence.studies[name]["title"])

    def _figures(self, name: str) -> list[dict[str, Any]]:
        placed = []
        for figure in self.evidence.studies[name]["figures"]:
            placed.append(
                {
                    "name": figure["name"],
                    "title": facts.words(figure["name"]),
                    "anchor": f"figure-{figure['name']}",
                    "caption": figure["caption"],
                    "alt": figure["alt"],
                    # sheets of everything (all_layer3): there to look things up
                    "folded": figure["name"].startswith(FOLDED),
                    "picture": pictures.place(figure["path"], self.out, f"studies/{name}"),
                }
            )
        return placed

    def _sources(self) -> dict[str, Source]:
        """Where the evidence behind the claims stands: the studies' pages, the nets' trainings."""
        claims = (self.evidence.claims or {}).get("claims", {}).values()
        asked = {study for claim in claims for study in claim["studies"]}
        training = Source(Link("training.html", "Training"))  # of a net that was not trained here
        sources = {name: training for name in asked if name.startswith("train_")}
        sources |= {f"train_{net.name}": self._net_source(net) for net in self.evidence.nets}
        return sources | {name: self._study_source(name) for name in self.evidence.studies}

    def _study_source(self, name: str) -> Source:
        page = self._link(name)
        shown = [item for item in self.figures[name] if not item["folded"]]
        card = self.cards[name]
        return Source(
            page=page,
            numbers={
                key: f"{page.href}#{facts.anchor(key)}"
                for key in self.evidence.studies[name]["metrics"]
            },
            figures=[Link(f"{page.href}#{item['anchor']}", item["title"]) for item in shown],
            figure=card["figure"],
            picture=card["picture"],
            explorer=next(
                (
                    Link(item.href, item.title)
                    for item in self.explorers
                    if item.href and name in item.told
                ),
                None,
            ),
            files=[self._files(f"results/{name}")],
        )

    def _net_source(self, net: NetRun) -> Source:
        numbers = {item["key"]: f"training.html#{item['id']}" for item in facts.net_metrics(net)}
        page = Link("training.html", f"Training of {net.title}")
        return Source(page, numbers, files=[self._files(f"models/{net.name}/final")])

    def _files(self, folder: str) -> Link:
        """A folder of the checkout, with an href where the site lies in that checkout."""
        root, out = self.evidence.root.resolve(), self.out.resolve()
        there = out.parent == root and (root / folder).is_dir()
        return Link(f"../{folder}/" if there else "", f"{folder}/")

    def _levels(self) -> dict[str, tuple[str, float]]:
        levels = {} if self.chance is None else {"error": ("chance", self.chance)}
        limit = self.evidence.config.get("training", {}).get("max_filter_rms")
        return levels if limit is None else levels | {"rms": ("limit", float(limit))}

    def _filters(self) -> dict[str, Any] | None:
        for name, figures in self.figures.items():
            for figure in figures:
                if "filters" in figure["name"]:
                    link = self._link(name)
                    return figure | {"page": link.href, "study": link.text}
        return None

    def _card(self, name: str) -> dict[str, Any]:
        study = self.evidence.studies[name]
        figures = [
            figure
            for figure in study["figures"]
            if "filters" not in figure["name"] and not figure["name"].startswith(FOLDED)
        ]
        extra = study.get("extra") or {}
        named = [figure for figure in figures if figure["name"] == extra.get("card")]
        chosen = named or figures[len(figures) // 2 :]
        paths = [figure["path"] for figure in chosen]
        href = f"studies/{name}.html"
        return {
            "href": href,
            "figure": f"{href}#figure-{chosen[0]['name']}" if chosen else href,
            "title": study["title"],
            "paper": study["paper"],
            "picture": pictures.card(paths, self.out, f"studies/{name}") if chosen else None,
            "metrics": facts.telling_metrics(study["metrics"], 3, extra.get("headline", ())),
        }

    def _table(self, study: str, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        href = f"studies/{study}/{name}.csv"
        (self.out / href).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(table["path"], self.out / href)
        rows = table["rows"]
        return {
            "title": facts.words(name),
            "anchor": f"table-{name}",
            "caption": table["caption"],
            "columns": table["columns"],
            "rows": rows[:ROWS_SHOWN],
            "hidden": max(0, len(rows) - ROWS_SHOWN),
            "numeric": facts.numeric_columns(table["columns"], rows),
            "href": href,
        }


def _array_row(study: str, name: str, item: Mapping[str, Any]) -> list[str]:
    shape = " × ".join(map(str, item["shape"])) or "scalar"
    return [name, shape, item["dtype"], f"results/{study}/{item['file']}"]
