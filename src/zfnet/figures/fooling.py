"""Changed images and their answers, answers by the size of the change, pictures of nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from zfnet.figures.kit import trainings
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import CATEGORICAL, INK, MARK, figure, tidy
from zfnet.pipeline.registry import title_of
from zfnet.results import Results

CARD = "curves"
AMPLIFIED = 100  # times, of the change that is drawn
TITLE_POINTS, TEXT_POINTS = 12, 10.5
INKED = "#{:02x}{:02x}{:02x}".format(*INK)
COLUMNS = 4  # of the pictures grown from noise
NAMES = {"fgsm": "along the gradient's sign", "noise": "noise of the same size"}
# Of each panel: key, label, look.
OWN = (
    ("fgsm", "gradient's sign", {"color": CATEGORICAL[5], "marker": "o"}),
    ("noise", "noise, same size", {"color": CATEGORICAL[0], "marker": "s", "linestyle": "--"}),
)
OTHER = ("other", "another image's", {"color": CATEGORICAL[2], "marker": "^", "linestyle": ":"})
HEADINGS = {
    "epsilon": "grey levels",
    "fgsm": "gradient's sign",
    "noise": "noise",
    "transfer_fgsm": "second net: gradient's sign",
    "transfer_noise": "second net: noise",
    "transfer_other": "second net: another image's change",
    "linear_fgsm": "linear: gradient's sign",
    "linear_noise": "linear: noise",
    "target": "made into",
    "p_clean": "p before",
    "rms_unrounded": "RMS before rounding",
    "rms": "RMS, grey levels",
    "p_start": "p of the noise",
    "p": "p reached",
    "moved": "RMS change, grey levels",
    "second_says": "second net says",
    "second_p": "with p",
}


def figures(results: Results) -> list[Figure]:
    """Curves of all images, the images that are shown, pictures grown from noise."""
    found = []
    if panels := _panels(results):
        found.append(_curves(results, panels))
    shown = results.array("clean_pictures").shape[0] if results.has("clean_pictures") else 0
    found += [_sheet(results, i) for i in range(shown)]
    if results.has("grown_pictures"):
        found.append(_grown(results))
    return found


def tables(results: Results) -> dict[str, Shown]:
    """Shares by size of change, smallest changes, and the pictures of every class."""
    over = "trainings" if trainings.seeds_of(results) else "images"
    captions = {
        "levels": "Share of answers that changed, of images that were answered correctly. In "
        f"brackets 95 % intervals, over {over}.",
        "smallest": "The smallest change found that makes the second most likely class the answer, "
        "on whole grey levels. – : none was found.",
        "classes": "Pictures grown from noise, one a class.",
    }
    return {
        name: all_columns(results.tables[name], caption, HEADINGS)
        for name, caption in captions.items()
        if name in results.tables and len(results.tables[name].columns) > 1
    }


# ------------------------------------------------------------------------------------------ curves
def _panels(results: Results) -> list[tuple[str, str, Sequence[Any]]]:
    """Title, prefix of keys and lines of each panel that was measured."""
    net, second = title_of(results.net), title_of(results.facts["second"] or "")
    panels = [
        (net, "", OWN),
        (f"{second}, changes made for {net}", "transfer_", (*OWN, OTHER)),
        ("Linear classifier of pixels", "linear_", OWN),
    ]
    first = results.facts["epsilons"][0]
    return [each for each in panels if f"{each[1]}fgsm_{first}" in results.estimates]


def _curves(results: Results, panels: Sequence[tuple[str, str, Sequence[Any]]]) -> Figure:
    last = results.facts["epsilons"][-1]
    told = "; ".join(
        f"{title}: {100 * results[f'{prefix}fgsm_1'].value:.0f} % at 1 grey level, "
        f"{100 * results[f'{prefix}fgsm_{last}'].value:.0f} % at {last}"
        for title, prefix, _ in panels
    )
    over = "trainings" if trainings.seeds_of(results) else "images"
    return Figure(
        CARD,
        "Share of correct answers that change, against the size of the change in grey levels of "
        "255 (scale by doubling). Every pixel moves by that much: along the sign of the loss "
        "gradient, or up and down at random. "
        f"Bands: 95 % intervals, over {over}.",
        f"Curves of changed answers against grey levels. Along the gradient's sign, {told}.",
        functools.partial(_draw_curves, results, panels),
    )


def _draw_curves(results: Results, panels: Sequence[tuple[str, str, Sequence[Any]]]) -> Any:
    epsilons = results.facts["epsilons"]
    drawn = figure(0.4 + 3.1 * len(panels), 3.7)
    axes = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, prefix, lines) in zip(axes, panels, strict=True):
        for key, label, look in lines:
            each = [results[f"{prefix}{key}_{epsilon}"] for epsilon in epsilons]
            value = [100 * one.value for one in each]
            axis.plot(epsilons, value, label=label, linewidth=1.8, markersize=5.5, **look)
            ends = [(one.low, one.high) for one in each]
            if all(low is not None and high is not None for low, high in ends):
                low, high = np.clip(100 * np.array(ends, np.float64).T, 0, 100)
                axis.fill_between(epsilons, low, high, color=look["color"], alpha=0.18, linewidth=0)
        axis.set_xscale("log", base=2)
        axis.set_xticks(epsilons, [str(epsilon) for epsilon in epsilons])
        axis.minorticks_off()
        axis.set_ylim(-2, 102)
        axis.set_title(_wrapped(title), fontsize=TITLE_POINTS - 0.5, pad=6)
        axis.set_xlabel("change, grey levels", fontsize=TEXT_POINTS)
        tidy(axis, TEXT_POINTS - 0.5, "y")
        axis.legend(loc="upper left", frameon=False, fontsize=TEXT_POINTS - 1)
    axes[0].set_ylabel("answers changed, %", fontsize=TEXT_POINTS)
    drawn.tight_layout(w_pad=1.2)
    return drawn


def _wrapped(title: str) -> str:
    return title.replace(", ", ",\n")


# ------------------------------------------------------------------------------------ single images
def _sheet(results: Results, i: int) -> Figure:
    rows = _rows(results, i)
    clean = rows["clean"][0]
    changed = [row["epsilon"] for row in rows["fgsm"] if row["says"] != clean["says"]]
    noisy = [row["epsilon"] for row in rows["noise"] if row["says"] != clean["says"]]
    net = title_of(results.net)

    def when(levels: Sequence[int]) -> str:
        listed = ", ".join(str(level) for level in levels)
        return f"changes at {listed} grey levels" if levels else "never changes"

    second = ""
    if results.facts["second"] and "second_says" in clean:
        second = f" Third line: what {title_of(results.facts['second'])} says."
    return Figure(
        f"image_{i + 1}",
        f"An image of class {clean['class']} changed by 1 to {rows['fgsm'][-1]['epsilon']} grey "
        f"levels in every pixel: along the sign of {net}'s loss gradient, and by noise of the same "
        f"size. The changes of one grey level are drawn {AMPLIFIED} times as large; grey is none. "
        f"Below each picture: the answer of {net} and its probability; red where it is another "
        f"than that to the image itself.{second}",
        f"Image of class {clean['class']}: the answer {when(changed)} along the "
        f"gradient's sign, {when(noisy)} under noise.",
        functools.partial(_draw_sheet, results, i),
    )


def _rows(results: Results, i: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of the table of examples of image `i`, by kind."""
    every = [row for row in results.tables["examples"].records() if row["shown"] == i]
    return {
        kind: [row for row in every if row["kind"] == kind] for kind in ("clean", "fgsm", "noise")
    }


def _draw_sheet(results: Results, i: int) -> Any:
    rows = _rows(results, i)
    image = np.asarray(results.array("clean_pictures")[i])
    clean = rows["clean"][0]
    lines = 3 if results.facts["second"] else 2
    columns, tile, gap = 1 + len(rows["fgsm"]), 1.62, 0.12
    left, top, head, below = 0.08, 0.02, 0.62, 0.2 * lines + 0.14
    width = left + (1 + columns) * (tile + gap)
    height = top + 2 * (head + tile + below)
    drawn = figure(width, height)

    def put(row: int, column: int, picture: np.ndarray, title: str, told: Any = None) -> None:
        x, y = (
            left + column * (tile + gap),
            height - top - row * (head + tile + below) - head - tile,
        )
        axis = drawn.add_axes((x / width, y / height, tile / width, tile / height))
        axis.imshow(picture, interpolation="antialiased")
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=TEXT_POINTS, pad=4)
        if told is None:
            return
        changed = told["says"] != clean["says"]
        look = {"color": MARK, "fontweight": "bold"} if changed else {"color": INKED}
        for spine in axis.spines.values():
            spine.set(color=MARK if changed else "#999999", linewidth=2.5 if changed else 0.8)
        texts = [(shorten(told["says"], 18), look), (f"p = {told['p']:.2f}", look)]
        if lines == 3:
            texts.append((f"({shorten(told['second_says'], 17)})", {"color": "#555555"}))
        for line, (text, how) in enumerate(texts):
            drawn.text(
                (x + tile / 2) / width, (y - 0.13 - 0.2 * line) / height, text,
                fontsize=TEXT_POINTS, ha="center", va="center", **how,
            )  # fmt: skip

    put(0, 0, image, "image", clean)
    for row, kind in enumerate(("fgsm", "noise")):
        pictures = np.asarray(results.array(f"{kind}_pictures")[i])
        told = [f"{one['epsilon']} grey level{'s' * (one['epsilon'] > 1)}" for one in rows[kind]]
        change = pictures[0].astype(np.float64) - image
        seen = np.clip(128 + AMPLIFIED * change, 0, 255).astype(np.uint8)
        put(row, 1, seen, f"change × {AMPLIFIED}")
        for place, one in enumerate(rows[kind]):
            put(row, 2 + place, pictures[place], told[place], one)
        y = height - top - 0.18 - row * (head + tile + below)
        drawn.text(
            (left + tile + gap) / width, y / height, NAMES[kind][:1].upper() + NAMES[kind][1:],
            fontsize=TITLE_POINTS, fontweight="bold", ha="left", va="center",
        )  # fmt: skip
    return drawn


# ------------------------------------------------------------------------------ pictures of nothing
def _grown(results: Results) -> Figure:
    rows = results.tables["classes"].records()[: len(results.array("grown_pictures"))]
    net, second = title_of(results.net), results.facts["second"]
    reached = sum(row["p"] >= results.facts["sure"] for row in rows)
    also = f", and what {title_of(second)} says to it" if second else ""
    return Figure(
        "grown",
        f"Pictures grown from noise by gradient ascent, one a class: the class and {net}'s "
        f"probability of it{also}. Red: at least {results.facts['sure']}.",
        f"Pictures that look like noise; of {reached} of {len(rows)} the net is sure.",
        functools.partial(_draw_grown, results, rows),
    )


def _draw_grown(results: Results, rows: Sequence[dict[str, Any]]) -> Any:
    second = results.facts["second"]
    tile, gap, below = 2.0, 0.2, 0.5 + 0.22 * bool(second)
    columns = min(COLUMNS, len(rows))
    down = -(-len(rows) // columns)
    width, height = gap + columns * (tile + gap), 0.1 + down * (tile + below)
    drawn = figure(width, height)
    for number, row in enumerate(rows):
        line, column = divmod(number, columns)
        x, y = gap + column * (tile + gap), height - 0.1 - line * (tile + below) - tile
        axis = drawn.add_axes((x / width, y / height, tile / width, tile / height))
        axis.imshow(
            np.asarray(results.array("grown_pictures")[number]), interpolation="antialiased"
        )
        axis.set(xticks=[], yticks=[])
        sure = row["p"] >= results.facts["sure"]
        texts = [(f"{shorten(row['class'], 16)}, p = {row['p']:.3f}", MARK if sure else INKED)]
        if "second_says" in row:
            said = f"{title_of(second)}: {shorten(row['second_says'], 14)}, {row['second_p']:.2f}"
            texts.append((said, "#555555"))
        for place, (text, colour) in enumerate(texts):
            drawn.text(
                (x + tile / 2) / width, (y - 0.15 - 0.2 * place) / height, text, color=colour,
                fontsize=TEXT_POINTS, ha="center", va="center",
                fontweight="normal" if place else "bold",
            )  # fmt: skip
    return drawn
