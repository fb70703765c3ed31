"""One study as its page, W&B and docs show it: numbers, words, figures and tables together.

What was measured comes from results/<study>/, the pictures from results/figures/<study>/, headings
and captions from figures/<study>.py, titles from the registry, and the words from the template
report/pages/<study>.md.j2. A line of three dashes there parts the answer from how it was reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfnet import paper
from zfnet.errors import UserError
from zfnet.figures.kit import trainings
from zfnet.figures.kit.show import NOTHING, Shown
from zfnet.figures.stage import drawn, module_of
from zfnet.pipeline.registry import TARGETS, title_of
from zfnet.pipeline.studies import STUDIES
from zfnet.results import FILE, Results
from zfnet.stats.estimate import Estimate, decimal, decimals, in_words, text

PAGES = Path(__file__).parent / "pages"
PARTED = "\n---\n"


def load_study(name: str, root: Path) -> dict[str, Any]:
    """All that is told of a study. Raises UserError for what is missing or damaged.

    Keys: study, title, paper, answer and text (Markdown, paragraphs parted by blank lines),
    trainings (a sentence), figures (name, caption, alt, folded, path), tables
    (caption, columns, rows, path of the CSV file), card (the name of the figure that stands for
    it), results (the `Results` themselves).
    """
    folder = root / "results"
    row, found, module = STUDIES[name], Results(folder / name, root), module_of(name)
    answer, _, method = page(name, found).partition(PARTED)
    shown: dict[str, Shown] = module.tables(found) | trainings.tables(found)
    return {
        "study": name,
        "title": row.title,
        "paper": row.place,
        "work": row.work,
        "answer": answer.strip(),
        "text": method.strip(),
        "trainings": trainings_sentence(found),
        "figures": drawn(folder / "figures" / name),
        "tables": {key: _table(key, each, found) for key, each in shown.items()},
        "card": module.CARD,
        "results": found,
    }


def trainings_sentence(results: Results) -> str:
    """Of which training the pictures are and over how many the numbers; "" where there is one."""
    seeds = trainings.seeds_of(results)
    if not seeds:
        return ""
    return (
        f"Pictures, and tables of single maps, images or classes: {trainings.which(seeds[0])}. "
        + trainings.of_nets(
            f"Numbers: mean of {len(seeds)} trainings, 95 % intervals for other trainings.", results
        )
    )


def studies_in(results: Path) -> list[str]:
    """The studies that have a whole result, in the registry's order."""
    return [name for name in STUDIES if (results / name / FILE).is_file()]


def page(name: str, results: Results) -> str:
    """The words of one page, as Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

    jinja = Environment(
        loader=FileSystemLoader(PAGES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown; whoever makes HTML of it escapes
    )
    jinja.filters |= {"est": est, "num": num, "list": in_words, "title": title_of}
    jinja.filters["target"] = lambda name: TARGETS.get(name, name)
    known = {
        "m": results,
        "e": results.estimates,
        "facts": results.facts,
        "tables": results.tables,
        "trainings": max(1, len(trainings.seeds_of(results))),  # that the numbers are means of
        "paper": paper.tables(results.root),
    }
    try:
        return trainings.of_nets(jinja.get_template(f"{name}.md.j2").render(known), results)
    except UndefinedError as error:
        raise UserError(
            f"{results.folder}: {error}: an older version wrote it; run the stage {name} again"
        ) from error


def est(estimate: Estimate | None, places: int | None = None) -> str:
    """The filter that prints an estimate: "0.104 [0.085, 0.122] points"."""
    return "not measured" if estimate is None else text(estimate, places=places)


def num(value: float | None, places: int | None = None) -> str:
    """A plain number in as many decimals as it bears, or in `places`."""
    if value is None:
        return NOTHING
    return decimal(value, decimals(value) if places is None else places)


def _table(name: str, shown: Shown, results: Results) -> dict[str, Any]:
    return {
        "caption": shown.caption,
        "columns": shown.headings,
        "rows": shown.rows(results.tables[name]),
        "path": results.folder / "tables" / f"{name}.csv",
    }
