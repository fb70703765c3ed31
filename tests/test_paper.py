"""The paper's figures: their form, and what must agree among them and with the nets' specs."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zfnet import paper
from zfnet.errors import UserError
from zfnet.models.spec import build_spec, inputs_of, output_shapes
from zfnet.models.trained import count_parameters


@pytest.fixture(scope="module")
def told(root: Path) -> dict[str, paper.PaperTable]:
    return paper.tables(root)


@pytest.fixture(scope="module")
def beside(root: Path) -> dict[str, dict[str, Any]]:
    return paper.facts(root)


@pytest.fixture(scope="module")
def document(root: Path) -> dict[str, Any]:
    """The file as plain values, with two of its tables."""
    whole = yaml.safe_load((root / paper.FILE).read_text(encoding="utf-8"))
    tables = {name: whole["tables"][name] for name in ("table4", "table6")}
    return dict(whole) | {"tables": tables}


def test_all_seven_tables_are_there_whole(told: dict[str, paper.PaperTable]) -> None:
    sizes = {name: (len(table.rows), len(table.columns)) for name, table in told.items()}
    assert sizes == {
        "table1": (4, 2), "table2": (10, 3), "table3": (12, 3), "table4": (4, 2),
        "table5": (4, 4), "table6": (20, 3), "table7": (8, 2),
    }  # fmt: skip
    for name, table in told.items():
        assert table.place == f"Table {name[-1]}"
        assert list(table.rows) == list(dict.fromkeys(table.rows))


def test_percentages_lie_within_0_and_100(told: dict[str, paper.PaperTable]) -> None:
    for table in told.values():
        for row in table.rows.values():
            for cell in row.cells.values():
                assert cell is None or 0 < cell.value < 100
                assert cell is None or cell.spread is None or 0 < cell.spread < 2


def test_tables_2_and_3_share_their_nets(told: dict[str, paper.PaperTable]) -> None:
    for net in ("alexnet", "zfnet", "zfnet_wide"):
        for column in ("val_top1", "val_top5"):
            shared = told["table2"].value(net, column)
            assert shared is not None
            assert shared == told["table3"].value(net, column)


def test_top5_errors_are_below_top1_errors(told: dict[str, paper.PaperTable]) -> None:
    for name in ("table2", "table3"):
        for key in told[name].rows:
            one, five = told[name].value(key, "val_top1"), told[name].value(key, "val_top5")
            assert one is None or five is None or five < one


def test_means_of_table_6_recomputed(told: dict[str, paper.PaperTable]) -> None:
    table = told["table6"]
    for column in table.columns:
        values = [table.value(row, column) or 0.0 for row in table.rows]
        mean = sum(values) / len(values)
        assert mean == pytest.approx(table.computed["mean"][column], abs=0.006)
        if column == "pretrained":  # the other two are among the slips
            assert mean == pytest.approx(table.printed["mean"][column], abs=0.05)
    winners = [max(row.cells, key=lambda c: row.cells[c].value) for row in table.rows.values()]
    assert {c: winners.count(c) for c in table.columns} == table.printed["classes_won"]


def test_slips_stay_as_printed(told: dict[str, paper.PaperTable]) -> None:
    third, sixth = told["table3"], told["table6"]
    assert third.value("alexnet_no7", "train_top1") == third.value("alexnet_no67", "train_top1")
    assert sixth.rows["cow"].cells["sande"] == sixth.rows["dining_table"].cells["sande"]
    assert third.slips
    assert sixth.slips


def test_parameters_are_those_of_our_nets_at_paper_size(beside: dict[str, Any]) -> None:
    count = beside["architecture"]["computed"]["parameters"]
    assert count_parameters(build_spec("zfnet")) == count["total"]
    wide = build_spec("zfnet", middle_maps=[512, 1024, 512])
    assert count_parameters(wide) == count["total_512_1024_512"]
    assert count_parameters(build_spec("alexnet", grouped=False)) == count["total_replica"]
    assert count_parameters(build_spec("alexnet")) == count["total_replica_grouped"]
    layers = [value for key, value in count.items() if key.startswith("layer")]
    assert sum(layers) == count["total"]


def test_the_architecture_is_our_spec(beside: dict[str, Any]) -> None:
    spec = build_spec("zfnet")
    shapes, received = output_shapes(spec), inputs_of(spec)
    for entry in beside["architecture"]["layers"]:
        number, layer = entry["layer"], spec.layer(entry["layer"])
        if "maps" in entry:
            ours = {key: getattr(layer, key) for key in ("maps", "kernel", "stride", "pad")}
            assert ours == {key: entry[key] for key in ours}
            assert shapes[f"{number}.conv"][1] == entry["conv_side"]
            assert shapes[f"{number}.out"][1] == entry["out_side"]
        else:
            assert shapes[f"{number}.out"] == (entry["units"],)
    assert received[6] == 9216


def test_other_facts(beside: dict[str, Any]) -> None:
    assert beside["overlap"]["caltech101"] == {
        "shared": 44, "images": 9144, "most_in_a_class": 10,
    }  # fmt: skip
    assert beside["fig4"]["epochs"] == [1, 2, 5, 10, 20, 30, 40, 64]
    assert beside["training"]["batch_size"] == 128


def test_a_cell_knows_its_spread_and_blanks_are_blank(told: dict[str, paper.PaperTable]) -> None:
    cell = told["table5"].get("pretrained", "train60")
    assert str(cell) == "74.2 ± 0.3"
    assert str(told["table2"].get("zfnet", "val_top1")) == "38.4"
    assert told["table4"].get("bo", "train15") is None
    assert told["table4"].get("nobody", "train15") is None
    assert told["table4"].value("bo", "train60") is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.update(format=2), "format=2"),
        (lambda d: d.pop("tables"), "tables is missing"),
        (lambda d: d["tables"]["table4"].pop("place"), "tables.table4.place is missing"),
        (lambda d: d["tables"]["table4"].update(better="more"), "tables.table4.better=more"),
        (lambda d: d["tables"]["table4"].update(colums={}), "tables.table4.colums"),
        (lambda d: d["tables"]["table4"]["rows"]["bo"].pop("train15"), "rows.bo: train15"),
        (
            lambda d: d["tables"]["table4"]["rows"]["bo"].update(train30="81"),
            "tables.table4.rows.bo.cells.train30.value=81: must be a number",
        ),
        (lambda d: d["tables"]["table4"]["rows"]["bo"].update(train30=float("nan")), "finite"),
        (lambda d: d["tables"]["table4"]["rows"]["bo"].update(train30=[1, 2, 3]), "train30"),
        (lambda d: d["tables"]["table4"]["rows"]["bo"].update(train30=True), "train30.value=true"),
        (lambda d: d["tables"]["table4"]["rows"]["bo"].update(confirmed_by=0), "confirmed_by=0"),
        (lambda d: d["tables"]["table4"]["rows"]["bo"].update(train45=1.0), "rows.bo: train45"),
        (lambda d: d["tables"]["table4"]["rows"].update(bo=81.4), "tables.table4.rows.bo"),
        (lambda d: d["tables"]["table6"]["printed"]["mean"].update(us=1), "mean: no column us"),
        (lambda d: d["tables"]["table6"].update(slips="none"), "tables.table6.slips"),
        (lambda d: d["facts"]["fig9"].pop("place"), "facts.fig9.place is missing"),
    ],
)
def test_a_fault_in_the_file_is_named(
    document: dict[str, Any], tmp_path: Path, change: Any, word: str
) -> None:
    document = copy.deepcopy(document)
    change(document)
    (tmp_path / "paper").mkdir()
    (tmp_path / paper.FILE).write_text(yaml.safe_dump(document), encoding="utf-8")
    for read in (paper.tables, paper.facts):
        with pytest.raises(UserError, match=r"tables\.yaml") as raised:
            read(tmp_path)
        assert word in str(raised.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tables\.yaml cannot be read"):
        paper.tables(tmp_path)
    (tmp_path / "paper").mkdir()
    (tmp_path / paper.FILE).write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match="is no YAML"):
        paper.facts(tmp_path)


def test_reading_the_paper_needs_no_torch() -> None:
    code = (
        "import sys, zfnet.paper\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'yaml', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
