"""The verdict table: every word marked, every number led to its place, nothing dropped."""

import copy

import fabricate
import fabricate_claims as made
import pytest

from zfnet.report import claims
from zfnet.report.claims import Link, StudyLinks
from zfnet.report.gather import gather
from zfnet.report.site import build
from zfnet.verdicts.verdict import WORDS


@pytest.fixture(scope="module")
def document():
    return made.made()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = fabricate.tree(tmp_path_factory.mktemp("claims") / "run")
    made.write(root)
    return build(gather(root), root / "reports").parent


def row(document, name, **changes):
    """The row of one claim as changed, where features and occlusion have pages."""
    changed = copy.deepcopy(document)
    changed["claims"][name] |= changes
    links = {
        study: StudyLinks(
            Link(f"studies/{study}.html", study), {key: f"studies/{study}.html#n-{key}"}
        )
        for study, key in (("features", "purity_slope"), ("occlusion", "inside_minus_outside"))
    }
    return next(one for one in claims.rows(changed, links) if one["id"] == name)


def fact(row, name):
    return next((one["value"] for one in row["facts"] if one["name"] == name), None)


def test_every_verdict_has_a_mark():
    assert set(claims.MARKS) == set(WORDS)
    assert claims.MARKS["contradicted"] == claims.MARKS["fails here"] == "against"
    assert {word for word, _ in claims.LEGEND} <= set(WORDS)


def test_a_row_leads_to_its_numbers_and_marks_the_one_that_decides(document):
    both = row(document, "evidence_drops")
    assert [one["study"] for one in both["numbers"]] == ["occlusion", "features"]
    assert both["numbers"][0]["links"] == [
        Link("studies/occlusion.html#n-inside_minus_outside", "inside_minus_outside")
    ]
    assert [one["decides"] for one in both["numbers"]] == [False, True]
    assert both["deciding"] == "deciding, of 2"
    assert [one.page.text for one in both["links"]] == ["occlusion", "features"]
    alone = row(document, "hierarchy")
    assert alone["deciding"] == ""
    assert [one["decides"] for one in alone["numbers"]] == [False]
    assert row(document, "wider")["links"] == []


def test_a_pair_that_decides_marks_both_its_numbers(document):
    both = row(document, "evidence_drops", deciding="purity_slope − inside_minus_outside")
    assert [one["decides"] for one in both["numbers"]] == [True, True]


def test_a_difference_leads_to_both_its_numbers(document):
    numbers = copy.deepcopy(document["claims"]["hierarchy"]["numbers"])
    numbers[0]["key"] = "purity_slope − occlusion: inside_minus_outside"
    (found,) = row(document, "hierarchy", numbers=numbers)["numbers"]
    assert [link.href for link in found["links"]] == [
        "studies/features.html#n-purity_slope",
        "studies/occlusion.html#n-inside_minus_outside",
    ]
    numbers[0]["key"] = "elsewhere"
    (found,) = row(document, "hierarchy", numbers=numbers)["numbers"]
    assert found["links"] == [Link("", "elsewhere")]


def test_missing_numbers_are_told_once(document):
    both = row(document, "evidence_drops")
    assert fact(both, "Not there") == ["occlusion has no drop_outside_box in this run"]
    assert "drop_outside_box" not in fact(both, "Why")
    assert fact(both, "Why").endswith("< 0.0001.")
    none = row(document, "wider")
    assert none["measured"] == "–"
    assert fact(none, "Why") == "train_zfnet_wide has not run here."
    assert fact(none, "Not there") is None
    assert fact(row(document, "hierarchy"), "Not there") is None


def test_the_correction_is_seen_beside_the_verdict(document):
    changed = row(document, "hierarchy", verdict="undecided")
    assert changed["later"] == "without correction: holds here"
    assert changed["mark"] == "open"
    assert row(document, "hierarchy")["later"] == ""


# ---------------------------------------------------------------------------------- on the page
def test_the_evidence_is_one_click_away(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    parts = html.split('<details class="claim-row" id="')[1:]
    rows = {part.partition('"')[0]: part.partition("</details>")[0] for part in parts}
    assert list(rows) == list(made.CLAIMS)
    assert "Hiding &lt;the object&gt; &amp; its parts hurts." in rows["evidence_drops"]
    for href in (
        "studies/features.html#number-purity_slope", "studies/features.html#figure-layer_3",
        "studies/features.html", "run.html#config", "../results/features/",
    ):  # fmt: skip
        assert f'href="{href}"' in rows["hierarchy"], href
    assert 'src="studies/features/card.webp"' in rows["hierarchy"]
    assert "figure-maps" in rows["evidence_drops"]
    assert "figure-layer_3" in rows["evidence_drops"]
    assert 'href="training.html#number-zfnet-val_top1_error"' in rows["nets_learn"]
    assert 'href="../models/zfnet/final/"' in rows["nets_learn"]
    assert 'href="training.html"' in rows["wider"]
    assert '<tr id="number-purity_slope">' in (site / "studies/features.html").read_text()


def test_a_site_elsewhere_names_the_files_without_a_link(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    made.write(root)
    html = (build(gather(root), tmp_path / "site").parent / "index.html").read_text()
    assert "<code>results/features/</code>" in html
    assert "../results" not in html
