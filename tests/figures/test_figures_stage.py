"""Which figures are drawn again, and what a lost or damaged one leads to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from zfnet.errors import UserError
from zfnet.figures import stage
from zfnet.figures.kit.show import Figure
from zfnet.results import Measurement, Table, save


@pytest.fixture
def drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A study with one figure, its folders, and how often it was drawn."""
    done: list[str] = []

    def picture() -> Image.Image:
        done.append("picture")
        return Image.new("RGB", (4, 4), "red")

    def figures(results: object) -> list[Figure]:
        results.tables["levels"].column("level")  # type: ignore[attr-defined]
        return [Figure("one", "caption", "alt", picture)]

    monkeypatch.setattr(stage, "module_of", lambda study: SimpleNamespace(figures=figures))
    monkeypatch.setattr(stage, "closure_hash", lambda module: "code")
    results, out = tmp_path / "results" / "probe", tmp_path / "figures" / "probe"
    save(Measurement("zfnet", "", tables={"levels": Table(["level"], [[1]])}), results,
         tmp_path / "metrics.json")  # fmt: skip
    return SimpleNamespace(
        draw=lambda: stage.draw("probe", results, out, tmp_path), done=done, out=out,
        results=results, root=tmp_path,
    )  # fmt: skip


def test_a_study_is_drawn_once_and_again_when_it_was_measured_anew(
    drawing: SimpleNamespace,
) -> None:
    assert drawing.draw()
    assert not drawing.draw()
    tables = {"levels": Table(["level"], [[2]])}
    save(Measurement("zfnet", "", tables=tables), drawing.results, drawing.root / "metrics.json")
    assert drawing.draw()
    assert len(drawing.done) == 2


@pytest.mark.parametrize("damage", ["lost", "garbage", "list", "keyless"])
def test_what_was_lost_or_damaged_is_drawn_again(drawing: SimpleNamespace, damage: str) -> None:
    drawing.draw()
    if damage == "lost":
        (drawing.out / "one.png").unlink()
        with pytest.raises(UserError, match=r"one\.png is missing"):
            stage.drawn(drawing.out)
    else:
        text = {"garbage": "{", "list": "[]", "keyless": '{"figures": [{}]}'}[damage]
        (drawing.out / stage.INDEX).write_text(text, encoding="utf-8")
    assert drawing.draw()
    assert [entry["name"] for entry in stage.drawn(drawing.out)] == ["one"]


def test_a_result_of_another_version_is_named(drawing: SimpleNamespace) -> None:
    tables = {"levels": Table(["other"], [[2]])}
    save(Measurement("zfnet", "", tables=tables), drawing.results, drawing.root / "metrics.json")
    with pytest.raises(UserError, match="run the stage probe again"):
        drawing.draw()


def test_what_several_processes_cannot_draw_is_named(tmp_path: Path) -> None:
    """Two studies are drawn at the same time; what one of them lacks ends the stage."""
    for name in ("overlap", "probe"):
        save(Measurement("zfnet", ""), tmp_path / "results" / name, tmp_path / f"{name}.json")
    with pytest.raises(UserError, match=r"overlap lacks .*run the stage overlap again"):
        stage.run(None, SimpleNamespace(results=tmp_path / "results/figures", root=tmp_path))
