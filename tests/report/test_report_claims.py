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


def said(document):
    return claims.parts(document, {})[0].lead


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
    return next(
        one for part in claims.parts(changed, links) for one in part.rows if one["id"] == name
    )


def fact(row, name):
    return next((one["value"] for one in row["facts"] if one["name"] == name), None)


def test_every_verdict_has_a_mark():
    assert set(claims.MARKS) == set(WORDS)
    assert claims.MARKS["contradicted"] == claims.MARKS["fails in this net"] == "against"
    assert claims.MARKS["two trainings"] == "open"
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


EACH = {
    "purity_slope": [(5, 0.07, ""), (6, 0.11, ""), (7, 0.132, "still learning")],
    "inside_minus_outside": [(5, 0.4, ""), (7, 0.41, "")],
}


def spreads(entry, **each):
    """The dots of a number of features, where each training gave what `EACH` or `each` says."""
    by_key = {
        key: [dict(zip(("seed", "value", "invalid"), row, strict=True)) for row in rows]
        for key, rows in (EACH | each).items()
    }
    links = {"features": StudyLinks(Link("studies/features.html", "features"), trainings=by_key)}
    return claims._spread({"study": "features", "unit": "", **entry}, links)


def test_each_training_is_a_dot_on_the_scale_of_the_interval():
    whole = spreads({"key": "purity_slope", "value": 0.104, "low": -0.096, "high": 0.304})
    assert [dot["left"] for dot in whole["dots"]] == [42.01, 51.41, 56.58]  # of 3 to 97 %
    assert [dot["invalid"] for dot in whole["dots"]] == [False, False, True]
    assert (whole["bar"], whole["mean"], whole["zero"]) == ([3, 94], 50, 25.56)
    assert "seed 7: 0.13" in whole["alt"]
    differing = spreads(
        {"key": "purity_slope − inside_minus_outside", "value": -0.304, "low": -1, "high": 0.4}
    )
    assert [dot["text"] for dot in differing["dots"]] == ["seed 5: −0.33", "seed 7: −0.28"]
    nested = "purity_slope − inside_minus_outside − purity_slope"  # that less than these two differ
    whole = spreads({"key": nested, "value": -0.203, "low": -1, "high": 0.4})
    assert [dot["text"] for dot in whole["dots"]] == ["seed 5: −0.26", "seed 7: −0.15"]


@pytest.mark.parametrize(
    ("changed", "each"),
    [
        ({}, {"purity_slope": [(5, 0.104, "")]}),
        ({}, {"purity_slope": []}),
        ({"low": None, "high": None}, {}),
        ({"value": 84.404, "low": 84.3, "high": 84.5}, {}),  # a constant was taken off
        ({"key": "purity_slope − elsewhere: inside_minus_outside"}, {}),
    ],
)
def test_trainings_that_are_not_known_one_by_one_show_no_dots(changed, each):
    entry = {"key": "purity_slope", "value": 0.104, "low": 0.05, "high": 0.15}
    assert spreads(entry | changed, **each) is None


def test_over_how_many_trainings_was_judged(document):
    assert said(document).endswith("They are judged over 5 trainings of each net.")
    changed = copy.deepcopy(document)
    changed["claims"]["hierarchy"]["trainings"] = 3
    assert "over 3 to 5 trainings" in said(changed)
    for claim in changed["claims"].values():
        claim["trainings"] = min(1, claim["trainings"])
    assert "One training of each net" in said(changed)


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
