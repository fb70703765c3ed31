"""Opens every page of a built site in headless Chromium and lists what is wrong with it.

Reads the pages from disk as a person would: file:// and no server.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK, PHONE = 1280, 390

# Everything that can be asked of a page at once; problems come back as sentences.
INSPECT = """
async () => {
  const problems = [];
  const images = [...document.images];
  images.forEach((image) => (image.loading = "eager"));
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  for (const image of images) {
    const name = image.getAttribute("src");
    if (!image.naturalWidth) problems.push(`picture ${name} does not show`);
    if (!image.hasAttribute("alt")) problems.push(`picture ${name} has no alt text`);
    if (!image.width || !image.hasAttribute("width")) problems.push(`picture ${name} has no size`);
  }
  const levels = [...document.querySelectorAll("h1,h2,h3,h4")].map((h) => +h.tagName[1]);
  if (levels.filter((level) => level === 1).length !== 1) problems.push("not exactly one h1");
  levels.reduce((before, level) => {
    if (level > before + 1) problems.push(`h${level} follows h${before}`);
    return level;
  }, 1);
  const ids = [...document.querySelectorAll("[id]")].map((item) => item.id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  if (twice.length) problems.push(`ids used twice: ${twice}`);
  for (const chart of document.querySelectorAll(".plotly")) {
    if (!chart.querySelector("svg .trace")) problems.push(`chart ${chart.id} is empty`);
  }
  const wide = document.documentElement.scrollWidth;
  if (wide > window.innerWidth) {
    const who = [...document.querySelectorAll("main *")]
      .filter((item) => item.getBoundingClientRect().right > window.innerWidth + 1)
      .filter((item) => !item.closest(".scroll"))
      .map((item) => item.tagName + "." + item.className);
    problems.push(`scrolls sideways: ${wide} px in ${window.innerWidth}: ${who.slice(0, 3)}`);
  }
  return problems;
}
"""
LINKS = "() => [...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'))"


def find_chromium() -> str | None:
    """The browser's program, or None."""
    given = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return given or next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running headless browser (playwright's), with a profile of its own."""
    from playwright.sync_api import sync_playwright

    program = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Any, file: Path, width: int = DESK, scheme: str = "light"
) -> Iterator[tuple[Any, list[str]]]:
    """Open `file`; yields the page and the list that its problems are added to as they come."""
    problems: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()

    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console {message.type}: {message.text}")

    def on_request(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(f"outside request: {request.url}")

    page.on("console", on_console)
    page.on("request", on_request)
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: problems.append(f"not loaded: {request.url}"))
    try:
        page.goto(file.resolve().as_uri(), wait_until="load")
        yield page, problems
    finally:
        context.close()


def check_site(browser: Any, site: Path, widths: tuple[int, ...] = (DESK, PHONE)) -> list[str]:
    """Every problem of every page under `site`, as "page at width: what"."""
    problems = []
    pages = sorted(site.rglob("*.html"))
    if not pages:
        return [f"{site} holds no page"]
    for file in pages:
        name = file.relative_to(site)
        for width in widths:
            with opened(browser, file, width) as (page, found):
                found += page.evaluate(INSPECT)
                if width == widths[0]:
                    found += _broken_links(page.evaluate(LINKS), file)
                problems += [f"{name} at {width} px: {problem}" for problem in found]
    return problems


def _broken_links(hrefs: list[str], file: Path) -> list[str]:
    broken = []
    for href in hrefs:
        path, _, anchor = href.partition("#")
        target = (file.parent / path).resolve() if path else file
        if ":" in path or not target.exists():
            broken.append(f"link {href} leads nowhere on this disk")
        elif anchor and f'id="{anchor}"' not in target.read_text(encoding="utf-8"):
            broken.append(f"link {href}: no such anchor")
    return broken
