"""The whole pipeline, really run on a tiny setting, in a copy of the checkout."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from zfnet.figures.plots import COLUMNS
from zfnet.pipeline.registry import NETS

from .conftest import Run, copy_checkout, environment, site_problems

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
from no_network import Watched, run_watched

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).with_name("golden.json")
TINY = [  # every row of Table 3, two trainings of the main nets; golden.json is of these values
    "data.size=80",
    "data.train_images=96",
    "data.val_images=48",
    "scale.zfnet_px=72",
    "scale.alexnet_px=72",
    "scale.width=0.1",
    "scale.seeds=2",
    "scale.row_seeds=1",
    "training.epochs=3",
    "training.batch_size=16",
    "targets.unseen.images=96",
    "targets.unseen.train_per_class=[2,4]",
    "targets.unseen.curve_per_class=[1,2,4]",
    "targets.unseen.probe_per_class=4",
    "targets.unseen.folds=2",
    "study.scratch.steps=3",
    "study.occlusion.images=4",
    "study.occlusion.measured=6",
    "study.activations.max_images=24",
    "study.class_models.steps=5",
    "study.class_models.max_images=8",
    "study.inversion.images=2",
    "study.inversion.steps=5",
    "study.alignment.max_pairs=4",
    "study.attributes.scenes=3",
    "study.fooling.max_images=6",
    "study.fooling.smallest=1",
    "study.fooling.steps=5",
]


@pytest.fixture(scope="module")
def repro(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, Watched]:
    """A copy in which `dvc repro` has run from nothing, watched for calls to other machines."""
    folder = tmp_path_factory.mktemp("pipeline")
    run = copy_checkout(root, folder)
    params = yaml.safe_dump({"experiment": "small", "set": TINY})
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    watched = run_watched(["dvc", "repro"], folder, environment())
    assert watched.returncode == 0, watched.output
    return folder, run, watched


@pytest.fixture
def done(repro: tuple[Path, Run, Watched]) -> tuple[Path, Run]:
    """The folder and a runner of commands in it."""
    return repro[:2]


def test_the_offline_default_calls_no_other_machine(repro: tuple[Path, Run, Watched]) -> None:
    assert repro[2].calls == []


def test_every_stage_ran_and_a_second_repro_runs_nothing(done: tuple[Path, Run]) -> None:
    folder, run = done
    assert json.loads(run("dvc", "status", "--json").stdout or "{}") == {}
    again = run("dvc", "repro")
    assert "Running stage" not in again.stdout
    for name in ("train_zfnet", "train_alexnet", "features", "occlusion", "transfer", "ablation"):
        assert json.loads((folder / "metrics" / f"{name}.json").read_text(encoding="utf-8"))
    kept = json.loads((folder / "models/zfnet/epochs/epochs.json").read_text(encoding="utf-8"))
    assert kept["kept"] == [1, 2, 3]
    assert not list((folder / "work").glob("*/"))


def test_every_number_is_as_recorded(done: tuple[Path, Run]) -> None:
    """A change of the code that is to change no number changes none. Another processor rounds
    otherwise, which a tie of two activations or two probabilities may turn into another number: few
    may differ. `python tests/e2e/record.py FOLDER` records those of a tiny run anew.
    """
    folder, _ = done
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    differ, count = [], 0
    for study, numbers in recorded.items():
        here = json.loads((folder / "metrics" / f"{study}.json").read_text(encoding="utf-8"))
        for key, wanted in numbers.items():
            entry = here[key] if isinstance(here[key], dict) else {"value": here[key]}
            given = [entry.get(name) for name in ("value", "low", "high")]
            for before, now in zip(wanted, given, strict=True):
                count += 1
                if (before is None) != (now is None) or (
                    before is not None and now != pytest.approx(before, rel=0.01, abs=1e-4)
                ):
                    differ.append(f"{study} {key}: {wanted} was recorded, {given} is here")
                    break
    assert len(differ) <= 0.02 * count, "\n".join(differ)


def test_what_git_would_hold_names_no_path_of_this_machine(done: tuple[Path, Run]) -> None:
    folder, run = done
    listed = run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    assert "dvc.lock" in listed
    assert "metrics/features.json" in listed
    for name in listed:
        data = (folder / name).read_bytes()
        assert str(folder).encode() not in data, name
    heavy = ("models/", "results/", "reports/", "timing/", "data/prepared", "wandb/", "work/")
    assert not [name for name in listed if name.startswith(heavy)]


def test_dvc_draws_its_plots_and_compares_few_numbers(done: tuple[Path, Run]) -> None:
    folder, run = done
    shown = run("dvc", "plots", "show", "--json")
    assert "failed to load" not in shown.stderr
    document = json.loads(shown.stdout)
    assert not document.get("errors")
    drawn = {name: plot[0]["content"] for name, plot in document["data"].items()}
    assert set(drawn) == set(COLUMNS)
    for name, content in drawn.items():
        spec = json.loads(content) if isinstance(content, str) else content
        assert spec["data"]["values"], name
        assert "<DVC_METRIC" not in json.dumps(spec), name
    rows = csv.DictReader((folder / "results/plots/training.csv").open(encoding="utf-8"))
    trained = {row["series"] for row in rows}
    assert trained == set(NETS)
    metrics = run("dvc", "metrics", "show", "--json")
    assert "failed to load" not in metrics.stderr
    (found,) = json.loads(metrics.stdout).values()
    assert set(found["data"]) == {"metrics/headline.json", "metrics/verdicts.json"}


def test_the_site_is_whole_in_a_browser(done: tuple[Path, Run]) -> None:
    folder, _ = done
    assert site_problems(folder / "reports") == []


def test_offline_runs_were_written_for_every_net_and_study(done: tuple[Path, Run]) -> None:
    folder, _ = done
    track = json.loads((folder / "results" / "track.json").read_text(encoding="utf-8"))
    assert track["mode"] == "offline"
    for entry in track["runs"]:
        assert list((folder / "wandb").glob(f"offline-run-*-{entry['id']}")), entry["name"]
    assert len(track["runs"]) >= 4


def test_a_hydra_multirun_leaves_the_pipeline_clean(done: tuple[Path, Run]) -> None:
    folder, run = done
    overrides = ["experiment=small", *TINY, "training.epochs=1", "scale.seeds=1"]
    run("zfnet", "train", "-m", "model=zfnet,zfnet_wide", "seed=0,1", *overrides)
    finals = sorted(folder.glob("runs/train/*/*/final/weights.pt"))
    assert len(finals) == 4
    assert len({file.read_bytes() for file in finals}) == 4
    assert json.loads(run("dvc", "status", "--json").stdout or "{}") == {}
    assert run("git", "status", "--short", "runs").stdout == ""


def test_a_stage_by_hand_with_a_torchvision_net_standing_in(done: tuple[Path, Run]) -> None:
    folder, run = done
    run(
        "zfnet", "features", "experiment=small", *TINY, "model=torchvision/squeezenet1_1",
        "weights=random", "study.features.layers=[2,4]", "study.features.figure_maps={2:4,4:4}",
        "study.features.max_images=12", "study.features.top_k=4",
    )  # fmt: skip
    (out,) = folder.glob("runs/features/*")
    assert json.loads((out / "results" / "measured.json").read_text(encoding="utf-8"))["tables"]
    assert json.loads((out / "figures" / "figures.json").read_text(encoding="utf-8"))["figures"]
    assert json.loads(run("dvc", "status", "--json").stdout or "{}") == {}


def test_disabled_tracking_imports_no_wandb(done: tuple[Path, Run]) -> None:
    folder, _ = done
    program = (
        "import sys; from zfnet.cli import _dispatch;"
        "code = _dispatch(['track', 'tracking=disabled']);"
        "sys.exit(code or ('wandb' in sys.modules) or ('dvc' in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)


# ------------------------------------------------------------------------- what an addition takes
STUDY = {
    "src/zfnet/studies/brightness.py": """\
\"\"\"How bright are the validation images?\"\"\"

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zfnet.data.store import Prepared
from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import bootstrap_mean

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Brightness


def run(cfg: Brightness, paths: Paths) -> Measurement:
    \"\"\"Mean grey level of each image, 0..255.\"\"\"
    split = Prepared.open(paths.prepared).split("val")
    rows = np.arange(min(cfg.images, len(split)))
    levels = split.images(rows).mean((1, 2, 3))
    return Measurement(
        net="none",
        tap="images",
        seed=cfg.seed,
        estimates={"brightness": bootstrap_mean(levels, cfg.seed, "grey levels")},
        tables={"images": Table(["row", "level"], list(zip(rows, levels, strict=True)))},
    )
""",
    "src/zfnet/figures/brightness.py": """\
\"\"\"A histogram of brightness.\"\"\"

from __future__ import annotations

from typing import Any

from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.results import Results

CARD = "brightness"


def figures(results: Results) -> list[Figure]:
    \"\"\"The one figure.\"\"\"

    def draw() -> Any:
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas()
        canvas.subplots().hist(results.tables["images"].column("level"))
        return canvas

    return [Figure("brightness", "How bright the images are.", "A histogram.", draw)]


def tables(results: Results) -> dict[str, Shown]:
    \"\"\"Every image.\"\"\"
    return {"images": Shown([Column("row", "image"), Column("level", "grey level")])}
""",
    "src/zfnet/report/pages/brightness.md.j2": """\
The mean grey level is {{ e.brightness | est }}.

---

Over the first {{ tables.images.rows | length }} validation images.
""",
}
ROW = {
    "src/zfnet/pipeline/studies.py": [
        (
            "\n\n_TARGET = ",
            """


class Brightness(StudyOptions):
    \"\"\"How bright the images are.\"\"\"

    seed: Seed = 0
    images: Count = 20  # the first so many


_TARGET = """,
        ),
        (
            "PAPER: Mapping[str, Study] = {\n",
            """PAPER: Mapping[str, Study] = {
    "brightness": Study(
        title="Brightness",
        place="",
        desc="how bright the images are",
        options=Brightness,
        reads=(PREPARED,),
        quantities=(Q(r"brightness", "grey levels"),),
    ),
""",
        ),
    ]
}
NET = {
    "src/zfnet/pipeline/registry.py": [
        (
            "NETS: Mapping[str, NetRow] = {\n",
            """NETS: Mapping[str, NetRow] = {
    "zfnet_narrow": NetRow("ZFNet, 256 units", "zfnet", "not in the paper", {"fc_units": 256}),
""",
        )
    ]
}
CLAIM = {
    "paper/claims.yaml": [
        (
            "\nclaims:\n",
            """
claims:
  bright:
    place: nowhere
    claim: The images are brighter than 10 grey levels.
    measured:
      - {study: brightness, key: brightness}
    rule: {kind: direction, sign: positive, margin: 10, why: a test}
    paper: {text: none}
    test: bootstrap_images
    units: images
    scale: photos
    committed: 2026-11-30
    edits: []

""",
        )
    ]
}
METHOD = {
    "src/zfnet/methods/brightest.py": """\
\"\"\"The brightest pixel.\"\"\"

from __future__ import annotations

from torch import Tensor


def brightest(images: Tensor) -> Tensor:
    \"\"\"Largest value of each image (N, 3, H, W): (N,).\"\"\"
    return images.amax((1, 2, 3))
"""
}


def _edit(folder: Path, changes: dict[str, list[tuple[str, str]]]) -> None:
    for name, pairs in changes.items():
        text = (folder / name).read_text(encoding="utf-8")
        for before, after in pairs:
            assert text.count(before) == 1, (name, before)
            text = text.replace(before, after)
        (folder / name).write_text(text, encoding="utf-8")


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def test_a_study_a_net_a_claim_and_a_method_take_few_files(done: tuple[Path, Run]) -> None:
    """The last test here: it changes the copy. dvc.yaml is written, not edited."""
    folder, run = done
    _write(folder, STUDY)
    _edit(folder, ROW)
    assert len(STUDY | ROW) == 4
    _edit(folder, NET)
    assert len(NET) == 1
    _edit(folder, CLAIM)
    assert len(CLAIM) == 1
    run("zfnet", "dvc")
    run("dvc", "repro")
    ran = json.loads((folder / "metrics" / "brightness.json").read_text(encoding="utf-8"))
    assert 10 < ran["brightness"]["low"] < ran["brightness"]["high"] < 255
    page = (folder / "reports" / "studies" / "brightness.html").read_text(encoding="utf-8")
    assert f"{ran['brightness']['value']:.0f}" in page
    assert (folder / "reports" / "studies" / "brightness").is_dir()  # its picture and table
    claims = json.loads((folder / "results" / "claims.json").read_text(encoding="utf-8"))["claims"]
    assert claims["bright"]["studies"] == ["brightness"]
    assert claims["bright"]["verdict"] == "not measured"  # so small a net is at chance
    final = folder / "models" / "zfnet_narrow" / "final"
    assert json.loads((final / "net.json").read_text(encoding="utf-8"))["arch"] == "zfnet"
    assert site_problems(folder / "reports") == []
    _write(folder, METHOD)
    _edit(
        folder,
        {
            "src/zfnet/methods/__init__.py": [
                (
                    "\nfrom zfnet.methods.gradients",
                    "\nfrom zfnet.methods.brightest import brightest\nfrom zfnet.methods.gradients",
                ),
            ]
        },
    )
    program = (
        "import torch; from zfnet.methods import brightest as b; print(b(torch.ones(1,3,2,2)))"
    )
    assert "1." in run("python", "-c", program, PYTHONPATH=str(folder / "src")).stdout
