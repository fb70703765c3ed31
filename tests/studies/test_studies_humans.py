"""The net against people whose answers a test chooses, by hand; and labels judged anew."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from answered import read_back
from labelled import EACH, PX, answers_of, make_net, make_set, row, write_csv

from zfnet.errors import UserError
from zfnet.figures.stage import draw
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import Humans
from zfnet.stats.paired import mcnemar
from zfnet.studies.humans import run

N = 3 * EACH
ROWS = range(40)  # of the 60 validation images


@pytest.fixture
def prepared(tmp_path, root):
    (tmp_path / "paper").mkdir()
    for name in ("tables.yaml", "claims.yaml"):
        (tmp_path / "paper" / name).write_bytes((root / "paper" / name).read_bytes())
    return make_set(tmp_path)


@pytest.fixture
def humans(tmp_path):
    return tmp_path / "data" / "humans"


def measure(paths):
    result = run(Humans(), paths)
    assert all(quantity_of("humans", key) for key in result.estimates)
    for key, one in result.estimates.items():
        assert quantity_of("humans", key)[0].unit in ("", one.unit), key
    return result


def told(result, root):
    """Drawn, shown and worded."""
    results, module, page = read_back("humans", result, root)
    draw("humans", root / "results" / "humans", root / "figures", root)
    for key, shown in module.tables(results).items():
        assert shown.rows(results.tables[key])
    names = [figure.name for figure in module.figures(results)]
    assert names[0] == module.CARD
    assert "\n---\n" in page
    return names, page


def test_without_answers_nothing_is_measured(prepared, tmp_path):
    paths = make_net(tmp_path, prepared, [1, 2])
    result = measure(paths)
    assert {k: e.value for k, e in result.estimates.items()} == {"answers": 0}
    assert len(set(result.facts["shown"])) == 12
    names, page = told(result, tmp_path)
    assert names == ["humans"]
    assert "zfnet label" in page.partition("---")[0]


def test_without_answers_torch_is_not_needed():
    code = (
        "import sys, zfnet.studies.humans, zfnet.data.reassessed, zfnet.label;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_person_and_one_training_by_hand(prepared, tmp_path, humans):
    paths = make_net(tmp_path, prepared, [0, 1, 2, 3, 4, 5, 6, 7, 50])
    write_csv(humans / "ann.csv", answers_of(prepared, ROWS, [0, 1, 20]))
    result = measure(paths)
    e = result.estimates
    assert e["net_error"].value == pytest.approx(20)  # 8 of 40: 50 was not asked about
    assert e["human_error"].value == pytest.approx(7.5)
    assert e["net_minus_human"].value == pytest.approx(12.5)
    assert (e["answers"].value, e["people"].value) == (40, 1)
    assert e["net_minus_human"].covers == ("images",)
    o, x = 33 / 40, 8 / 40 * 3 / 40 + 32 / 40 * 37 / 40
    assert e["kappa"].value == pytest.approx((o - x) / (1 - x))
    (person,) = result.tables["people"].records()
    assert (person["only_net"], person["only_human"]) == (6, 1)
    assert person["p"] == pytest.approx(mcnemar(6, 1)) == pytest.approx(2 * 8 / 2**7)
    kinds = {(each["who"], each["row"]) for each in result.tables["pictures"].records()}
    assert kinds == {*(("net", i) for i in range(2, 8)), ("people", 20), ("both", 0), ("both", 1)}
    assert "kappa_humans" not in e
    names, page = told(result, tmp_path)
    assert names == ["humans", "pictures"]
    assert "one person" in page


def test_a_person_who_answers_as_the_net_does_is_not_told_from_it(prepared, tmp_path, humans):
    wrong = [3, 9, 14, 30]
    paths = make_net(tmp_path, prepared, wrong)
    write_csv(humans / "twin.csv", answers_of(prepared, ROWS, wrong))
    e = measure(paths).estimates
    assert (e["net_minus_human"].value, e["net_minus_human"].low) == (0, None)
    assert e["kappa"].value == 1
    told(measure(paths), tmp_path)


def test_people_count_alike_and_trainings_join(prepared, tmp_path, humans):
    wrong = [range(10), range(2, 16), range(1, 13)]
    paths = make_net(tmp_path, prepared, *wrong)
    write_csv(humans / "ann.csv", answers_of(prepared, ROWS, [0, 20]))
    write_csv(humans / "bob.csv", answers_of(prepared, ROWS, [0, 1, 5, 30], labeller="Bob"))
    result = measure(paths)
    gap = result.estimates["net_minus_human"]
    net = 100 * np.mean([10, 14, 12]) / 40
    assert gap.value == pytest.approx(net - 100 * 3 / 40)
    assert gap.trainings == 3
    assert set(gap.covers) == {"images", "people", "trainings"}
    assert result.estimates["human_error"].value == pytest.approx(7.5)
    assert result.estimates["kappa_humans"].value > 0
    rows = result.tables["people"].records()
    assert [each["only_net"] for each in rows] == [9, 7]  # of the first training
    seeds = [r["seed"] for r in result.tables["trainings"].records() if r["key"] == "kappa"]
    assert seeds == result.facts["trainings"] == [0, 1, 2]
    _, page = told(result, tmp_path)
    assert "The 2 people who labelled erred less" in page
    again = measure(paths)
    assert again.estimates == result.estimates
    # other pictures for Bob: the answer stays one of each person's own difference
    write_csv(humans / "bob.csv", answers_of(prepared, range(20, N), [25], labeller="Bob"))
    apart = measure(paths)
    own = [each["net_minus_human"] for each in apart.tables["people"].records()]
    assert apart.estimates["net_minus_human"].value == pytest.approx(np.mean(own))
    assert not apart.facts["same"]
    told(apart, tmp_path)


def test_who_cannot_tell_errs_and_reasons_are_counted(prepared, tmp_path, humans):
    paths = make_net(tmp_path, prepared, [4, 5])
    rows = answers_of(prepared, ROWS, [5])
    rows[4] |= {"answer": "", "reason": "small"}
    rows[5] |= {"reason": "alike"}
    rows[6] |= {"reason": "alike"}
    rows += [row(prepared, 7, "n02979186")]  # a second answer does not count
    write_csv(humans / "ann.csv", rows)
    result = measure(paths)
    assert result.estimates["human_error"].value == pytest.approx(5)
    (person,) = result.tables["people"].records()
    assert (person["cannot_tell"], person["repeated"]) == (1, 1)
    assert result.tables["reasons"].rows == [("small", 1, 1, 1), ("alike", 2, 1, 1)]
    assert told(result, tmp_path)


def test_answers_to_other_pictures_are_left_out_and_named(prepared, tmp_path, humans):
    paths = make_net(tmp_path, prepared, [4])
    write_csv(humans / "old.csv", answers_of(prepared, ROWS, set_fingerprint="0" * 64))
    write_csv(humans / "small.csv", answers_of(prepared, ROWS, shown_px=PX - 1))
    result = measure(paths)
    assert list(result.estimates) == ["answers"]
    assert result.facts["other_set"] == ["old.csv", "small.csv"]
    assert "old.csv and small.csv" in told(result, tmp_path)[1]


def test_what_cannot_be_compared_is_named(prepared, tmp_path, humans):
    paths = make_net(tmp_path, prepared, [4])
    write_csv(humans / "ann.csv", answers_of(prepared, ROWS))
    write_csv(humans / "ann2.csv", answers_of(prepared, ROWS))
    with pytest.raises(UserError, match="Ann"):
        run(Humans(), paths)
    (humans / "ann2.csv").write_text("image_id\n")
    with pytest.raises(UserError, match=r"ann2\.csv"):
        run(Humans(), paths)
    (humans / "ann2.csv").unlink()
    other = replace(prepared, meta=replace(prepared.meta, fingerprint="0" * 64))
    (tmp_path / "models").rename(tmp_path / "old")
    paths = make_net(tmp_path, other, [4])
    with pytest.raises(UserError, match="other images"):
        run(Humans(), paths)


# ------------------------------------------------------------------------------- labels judged anew
def judged(folder, apart, empty=()):
    """real.json in which the photographs of rows `apart` have no label of theirs."""
    places = (0, 217, 482)
    labels = [[] if i in empty else [9 if i in apart else places[i // EACH], 3] for i in range(N)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "real.json").write_text(json.dumps(labels + [[7]] * (50_000 - N)))


def test_errors_whose_label_others_do_not_share(prepared, tmp_path, humans):
    paths = make_net(tmp_path, prepared, range(10))
    judged(paths.data_root / "raw", [*range(6), 20, 30, 40], empty=[9, 59])
    result = measure(paths)
    e = {key: one.value for key, one in result.estimates.items()}
    assert e["reassessed"] == N - 2
    assert e["outside_labels_errors"] == pytest.approx(6 / 9)
    assert e["outside_labels_hits"] == pytest.approx(3 / 49)
    assert e["outside_labels_difference"] == pytest.approx(6 / 9 - 3 / 49)
    assert result.estimates["outside_labels_difference"].low > 0
    names, page = told(result, tmp_path)
    assert names == ["humans"]
    assert "lie more often" in page
    write_csv(humans / "ann.csv", answers_of(prepared, ROWS, [5]))
    assert told(measure(paths), tmp_path)[0] == ["humans", "pictures", "labels"]


def test_labels_that_have_nothing_to_do_with_the_errors_tell_nothing(prepared, tmp_path):
    rng = np.random.default_rng(0)
    wrong = [rng.permutation(N)[:15] for _ in range(3)]
    paths = make_net(tmp_path, prepared, *wrong)
    judged(paths.data_root / "raw", rng.permutation(N)[:12].tolist())
    gap = measure(paths).estimates["outside_labels_difference"]
    assert gap.low < 0 < gap.high
    assert gap.trainings == 3


def test_a_net_without_errors_has_no_difference(prepared, tmp_path, humans):
    paths = make_net(tmp_path, prepared, [])
    judged(humans, [1])
    write_csv(humans / "ann.csv", answers_of(prepared, ROWS, [5]))
    result = measure(paths)
    assert "outside_labels_difference" not in result.estimates
    assert "kappa" not in result.estimates
    assert result.estimates["outside_labels_hits"].value == pytest.approx(1 / N)
    told(result, tmp_path)
