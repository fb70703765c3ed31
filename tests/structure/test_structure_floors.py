"""The house: imports go down only and never in a circle; each stage depends on its own code."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from zfnet.pipeline import closure, dvcfile
from zfnet.pipeline.registry import CODE_FILE, MEASURED, NETS, STAGES
from zfnet.pipeline.run import modules_of
from zfnet.pipeline.studies import STUDIES

FLOOR = {
    "errors": 0,
    "progress": 0,
    "machine": 0,
    "allocator": 0,
    "files": 1,
    "work": 1,
    "stats": 2,
    "results": 3,
    "data": 3,
    "models": 3,
    "methods": 3,
    "pipeline": 4,
    "paper": 5,
    "training": 5,
    "studies": 5,
    "figures": 6,
    "verdicts": 6,
    "report": 7,
    "show": 8,
    "label": 9,
    "lens": 9,
    "doctor": 8,
    "cli": 10,
    "__main__": 11,
}
# data stores what methods draw from and models are fed; each may use these of its own floor.
NEIGHBOURS = {("methods", "models"), ("models", "data"), ("methods", "data")}
TELLING = {"figures", "verdicts", "report", "paper", "show", "lens"}
FORBIDDEN = {
    "stats": {"torch", "wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib", "yaml"},
    "data": {"torchvision", "wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "models": {"wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "methods": {"wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "figures": {"torch", "wandb", "hydra", "omegaconf", "pytorch_lightning"},
    "studies": {"wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib", "PIL"},
    "training": {"wandb", "hydra", "omegaconf", "matplotlib"},
    "pipeline": {"torch", "wandb", "pytorch_lightning", "matplotlib"},
    "verdicts": {"torch", "wandb", "hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "report": {"torch", "hydra", "omegaconf", "pytorch_lightning", "torchvision"},
}
# Participles that once named rooms and classes; the field has nouns for what they hold.
NO_NAMES = {
    "told", "found", "kept", "seen", "beside", "fresh", "settling", "likeness", "ahead", "trials",
}  # fmt: skip
NAMED_YET = {"not_found", "settling"}  # an everyday phrase; the panels of one epoch to the next
NAMED = (ast.ClassDef, ast.FunctionDef)
WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]+")
LAZY_ALLOWED = {("data", "torchvision"), ("report", "wandb")}  # inside the function that needs it


def _files(root: Path) -> list[Path]:
    """Every module of the package but its own face."""
    package = root / "src" / "zfnet"
    return [path for path in sorted(package.rglob("*.py")) if path != package / "__init__.py"]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _room(root: Path, path: Path) -> str:
    return path.relative_to(root / "src" / "zfnet").parts[0].removesuffix(".py")


def _name(root: Path, path: Path) -> str:
    parts = path.relative_to(root / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _modules(root: Path) -> dict[str, list[str]]:
    """Each module and the modules of the package that it imports when it runs."""
    source = root / "src"
    return {
        (name := _name(root, path)): closure.direct_imports(path, name, source)
        for path in _files(root)
    }


def test_imports_go_down_only(root: Path) -> None:
    wrong = []
    for name, imported in _modules(root).items():
        room = name.split(".")[1]
        assert room in FLOOR, f"{name} stands on no floor: give it one here"
        for other in imported:
            if other == "zfnet" or (target := other.split(".")[1]) in (room, *_neighbours(room)):
                continue
            if FLOOR[target] >= FLOOR[room] and FLOOR[target]:
                wrong.append(f"{name} imports {other}")
    assert not wrong, "\n".join(wrong)


def _neighbours(room: str) -> list[str]:
    return [second for first, second in NEIGHBOURS if first == room]


def test_no_import_runs_in_a_circle(root: Path) -> None:
    """Within a room nor between rooms; a package's face, which names its modules, is left out."""
    faces = {_name(root, path) for path in _files(root) if path.name == "__init__.py"} | {"zfnet"}
    graph = {
        name: [other for other in imported if other not in faces]
        for name, imported in _modules(root).items()
        if name not in faces
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_measuring_does_not_lean_on_telling(root: Path) -> None:
    for stage in ("train", *STUDIES):
        files = closure.import_closure(STAGES[stage].module)
        rooms = {_room(root, root / "src" / file) for file in files}
        assert not rooms & TELLING, stage


def test_an_edit_of_departures_or_of_foreign_nets_retrains_nothing(root: Path) -> None:
    files = {path.as_posix() for path in closure.import_closure(STAGES["train"].module)}
    assert "zfnet/training/stage.py" in files
    assert not files & {"zfnet/models/foreign.py", "zfnet/figures/departures.py"}


def test_floors_do_not_import_what_is_not_theirs(root: Path) -> None:
    wrong = []
    for path in _files(root):
        room = _room(root, path)
        early, anywhere = _imported(_tree(path).body), _imported(ast.walk(_tree(path)))
        for name in sorted(FORBIDDEN.get(room, set())):
            if name in (early if (room, name) in LAZY_ALLOWED else anywhere):
                wrong.append(f"{path.relative_to(root)} imports {name}")
    assert not wrong, "\n".join(wrong)


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """The packages that these statements import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def test_no_file_outgrows_a_head(root: Path) -> None:
    long = {
        str(path.relative_to(root)): lines
        for path in _files(root)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert not long


def test_a_class_name_stands_once_and_names_are_nouns(root: Path) -> None:
    places: dict[str, list[str]] = {}
    public: set[str] = set()
    for path in _files(root):
        public.add(path.stem)
        for node in ast.walk(tree := _tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(_name(root, path))
            if isinstance(node, ast.ClassDef) or node is tree:
                public |= {each.name for each in node.body if isinstance(each, NAMED)}
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
    public -= {name for name in public if name.startswith("_")}
    wrong = {name for name in public if NO_NAMES & {w.lower() for w in WORDS.findall(name)}}
    assert wrong - NAMED_YET == set()


def test_dvc_yaml_is_as_the_registry_has_it(root: Path) -> None:
    assert (root / "dvc.yaml").read_text(encoding="utf-8") == dvcfile.render(), "run `zfnet dvc`"


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_is_measured_drawn_told_and_waited_for(root: Path, study: str) -> None:
    package = root / "src" / "zfnet"
    assert (root / "src" / f"{STAGES[study].module.replace('.', '/')}.py").is_file()
    needed = {"report": {f"results/{study}"}, "track": {f"results/{study}"}}
    if study in MEASURED:
        assert (package / "figures" / f"{study}.py").is_file()
        assert (package / "report" / "pages" / f"{study}.md.j2").is_file()
        needed |= {"figures": {f"results/{study}"}, "verdicts": {f"metrics/{study}.json"}}
        for stage, files in needed.items():
            assert files <= set(STAGES[stage].deps), stage
    assert f"timing/{study}.json" in STAGES["report"].deps


def test_every_row_of_the_registry_names_paths_that_some_stage_makes() -> None:
    made = {"build/config.json", "data/humans", "paper/claims.yaml", "paper/tables.yaml"}
    for name, stage in STAGES.items():
        nets = list(NETS) if name == "train" else [""]
        for net in nets:
            made |= {out.replace("{net}", net) for out in (*stage.outs, *stage.metrics)}
            made.add(f"timing/{f'train_{net}' if net else name}.json")
    for name, stage in STAGES.items():
        assert set(stage.deps) <= made, name


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


def test_every_stage_depends_on_the_hash_of_its_code(root: Path) -> None:
    written = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name in STAGES:
        key = "train.${item.net}" if name == "train" else name
        assert {CODE_FILE: [key]} in written[name]["params"]
        assert modules_of(name)[0] == STAGES[name].module


def test_readme_lists_every_study_and_experiment(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    for name in MEASURED:
        place = STUDIES[name].place.replace("Section", "section")
        assert f"| {place} | `{name}` |" in readme
    for file in (root / "conf" / "experiment").glob("*.yaml"):
        assert f"| `{file.stem}` |" in readme
