"""The house: imports go down only, and each stage depends on the hash of its import closure."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from zfnet.pipeline import closure, stages
from zfnet.pipeline.compose import CHOICES, CODE_FILE

FLOOR = {
    "errors": 0,
    "progress": 0,
    "closure": 0,
    "allocator": 0,
    "machine": 0,
    "intervals": 0,
    "chance": 0,
    "reading": 0,
    "paper": 0,
    "folds": 0,
    "files": 0,
    "work": 0,
    "linear": 0,
    "duplicates": 0,
    "data": 1,
    "models": 1,
    "methods": 1,
    "drawing": 1,
    "training": 2,
    "studies": 2,
    "verdicts": 3,
    "report": 4,
    "config": 5,
    "stages": 6,
    "show": 6,
    "doctor": 7,
    "cli": 8,
    "__main__": 9,
}
FORBIDDEN = {
    "data": {"torchvision", "wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "models": {"wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "methods": {"wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "drawing": {"wandb", "hydra", "omegaconf", "pytorch_lightning", "torch"},
    "studies": {"wandb", "hydra", "omegaconf", "pytorch_lightning"},
    "training": {"wandb", "hydra", "omegaconf", "matplotlib"},
    "verdicts": {"torch", "wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "report": {"torch", "hydra", "omegaconf", "pytorch_lightning", "torchvision"},
}


def _modules(root: Path) -> list[tuple[str, Path]]:
    package = root / "src" / "zfnet"
    return [
        (path.relative_to(package).parts[0].removesuffix(".py"), path)
        for path in sorted(package.rglob("*.py"))
        if path.parent != package or path.name != "__init__.py"
    ]


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_go_down_only(root: Path) -> None:
    wrong = []
    for room, path in _modules(root):
        assert room in FLOOR, f"{path} stands on no floor: give it one here"
        for name in _imported(path):
            if not name.startswith("zfnet."):
                continue
            other = name.split(".")[1]
            if other == room or other not in FLOOR:
                continue
            if FLOOR[other] >= FLOOR[room] and FLOOR[other] > 0:
                wrong.append(f"{path.relative_to(root)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_floors_do_not_import_what_is_not_theirs(root: Path) -> None:
    wrong = []
    for room, path in _modules(root):
        top_level = {name.split(".")[0] for name in _imported(path) if not name.startswith("zfnet")}
        for name in sorted(top_level & FORBIDDEN.get(room, set())):
            if not _only_inside_functions(path, name):
                wrong.append(f"{path.relative_to(root)} imports {name}")
    assert not wrong, "\n".join(wrong)


LAZY_ALLOWED = {("data", "torchvision"), ("report", "wandb")}


def _only_inside_functions(path: Path, name: str) -> bool:
    """torchvision's downloader may be imported where it is called, and only there."""
    room = path.relative_to(path.parents[len(path.parts) - path.parts.index("zfnet") - 2]).parts[0]
    if (room, name) not in LAZY_ALLOWED:
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and name in ast.unparse(node):
            return False
    return True


@pytest.fixture(scope="module")
def pipeline(root: Path) -> dict[str, dict[str, list[object]]]:
    return stages.pipeline(root)


def test_every_stage_depends_on_the_hash_of_its_code(
    root: Path, pipeline: dict[str, dict[str, list[object]]]
) -> None:
    for stage, body in pipeline.items():
        if stage == "compose":  # it writes the hashes
            assert "src/zfnet" in body["deps"]
            continue
        keys = [entry[CODE_FILE] for entry in body["params"] if CODE_FILE in dict(entry)]  # type: ignore[call-overload]
        assert keys == [[stage]], f"dvc.yaml: {stage} needs `- {CODE_FILE}: [{stage}]` in params"
        assert not [dep for dep in body.get("deps") or [] if str(dep).endswith(".py")], stage


def test_the_hashes_in_git_are_those_of_the_code(
    root: Path, pipeline: dict[str, dict[str, list[object]]]
) -> None:
    modules = {stage: stages.module_of(stage) for stage in pipeline if stage != "compose"}
    written = json.loads((root / CODE_FILE).read_text(encoding="utf-8"))
    assert written == closure.closure_hashes(modules), "run `uv run zfnet compose`"


def test_the_closure_follows_functions_and_packages_but_not_type_checking(tmp_path: Path) -> None:
    package = tmp_path / "zfnet"
    (package / "a").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "a/__init__.py": "from zfnet.base import thing",
        "a/one.py": "def f():\n    from zfnet.late import x\n    from . import two\n",
        "a/two.py": "import os",
        "base.py": "thing = 1",
        "late.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import zfnet.never\n",
        "never.py": "",
        "other.py": "",
    }.items():
        (package / name).write_text(text, encoding="utf-8")
    found = {p.as_posix() for p in closure.import_closure("zfnet.a.one", tmp_path)}
    names = ("__init__", "a/__init__", "a/one", "a/two", "base", "late")
    assert found == {f"zfnet/{name}.py" for name in names}
    before = closure.closure_hash("zfnet.a.one", tmp_path)
    (package / "never.py").write_text("changed = 1", encoding="utf-8")
    assert closure.closure_hash("zfnet.a.one", tmp_path) == before
    (package / "late.py").write_text("changed = 1", encoding="utf-8")
    assert closure.closure_hash("zfnet.a.one", tmp_path) != before


STUDIES = sorted(p.stem for p in Path(__file__).parents[2].glob("conf/study/*.yaml"))


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_its_file_config_and_stage(
    root: Path, pipeline: dict[str, dict[str, list[object]]], study: str
) -> None:
    assert (root / "src" / f"{stages.module_of(study).replace('.', '/')}.py").is_file()
    assert study in pipeline
    assert f"study.{study}" in stages.declared_keys(root, study)
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in pipeline[study]["outs"]]
    if f"metrics/{study}.json" in outs:  # others make what several studies read
        assert not _missing_edges(pipeline, study)
    else:
        assert f"timing/{study}.json" in pipeline["report"]["deps"]
        assert any(f"results/{study}" in stage.get("deps", []) for stage in pipeline.values())


def _missing_edges(pipeline: dict[str, dict[str, list[object]]], study: str) -> list[str]:
    """What dvc.yaml lacks for track and report to run after `study`, and again when it changed."""
    numbers, time = f"metrics/{study}.json", f"timing/{study}.json"
    needed = {"track": [f"results/{study}"], "report": [f"results/{study}", numbers, time]}
    return [
        f"dvc.yaml: {stage} needs {file} among its deps"
        for stage, files in needed.items()
        for file in files
        if file not in pipeline[stage]["deps"]
    ]


def test_a_study_that_nothing_depends_on_is_noticed() -> None:
    half: dict[str, dict[str, list[object]]] = {
        "track": {"deps": ["results/old"]},
        "report": {"deps": ["results/new", "metrics/new.json"]},
    }
    missing = _missing_edges(half, "new")
    assert len(missing) == 2
    assert "track needs results/new" in missing[0]
    assert "report needs timing/new.json" in missing[1]


def test_choices_of_a_study_are_those_that_the_configuration_allows() -> None:
    """A wrong choice is told when the configuration is composed, not hours later."""
    from zfnet.methods import correspondence as signs
    from zfnet.methods import duplicates
    from zfnet.studies import (
        correspondence,
        evolution,
        features,
        invariance,
        likeness,
        occlusion,
        paired,
    )

    own = {
        "features.choose": features.CHOICES,
        "features.spread": likeness.MEASURES,
        "evolution.choose": evolution.CHOICES,
        "evolution.measure": evolution.MEASURES,
        "invariance.fill": invariance.FILLS,
        "invariance.normalise": invariance.NORMALISATIONS,
        "occlusion.fill": occlusion.FILLS,
        "occlusion.projected": occlusion.PROJECTED,
        "correspondence.fill": correspondence.FILLS,
        "correspondence.random": correspondence.RANDOM,
        "correspondence.within": correspondence.WITHIN,
        "correspondence.zeros": signs.ZEROS,
        "classification.view": paired.VIEWS,
        "ablation.view": paired.VIEWS,
        "overlap.mean": duplicates.MEANS,
    }
    for key, allowed in own.items():
        assert set(CHOICES[f"study.{key}"]) == set(allowed), key
