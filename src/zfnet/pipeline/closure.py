"""Which source files a module depends on inside this package, read from its imports.

Each stage depends on the hash of these files (build/code.json), and training keys its work folder
by it: nothing goes stale silently, and nothing is redone without a reason.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = "zfnet"


def source_folder() -> Path:
    """Return the folder that holds the package `zfnet` (src/ in a checkout)."""
    return Path(__file__).resolve().parents[2]


def import_closure(
    module: str, source: Path | None = None, read: dict[str, list[str]] | None = None
) -> list[Path]:
    """Return the files of `module` and of all that it imports from this package, sorted.

    Imports inside functions count, those under `if TYPE_CHECKING:` do not. Paths are relative to
    `source` (default: the folder that holds the package). `read`: imports of the modules that were
    read, kept from call to call. Raises ModuleNotFoundError.
    """
    source = source or source_folder()
    read = {} if read is None else read
    todo = [module]
    seen: set[str] = set()
    files: set[Path] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _find(name, source)
        if path is None:
            raise ModuleNotFoundError(f"no module {name} below {source}")
        files.add(path.relative_to(source))
        # Importing a.b.c also runs a/__init__.py and a/b/__init__.py.
        parts = name.split(".")
        todo += [".".join(parts[:i]) for i in range(1, len(parts))]
        if name not in read:
            read[name] = direct_imports(path, name, source)
        todo += read[name]
    return sorted(files)


def closure_hash(
    modules: str | Sequence[str],
    source: Path | None = None,
    read: dict[str, list[str]] | None = None,
    folders: Sequence[str] = (),
) -> str:
    """Return the SHA-256 over names and contents of what `modules` import, hexadecimal.

    `folders`: files that no import leads to, below `source`.
    """
    source = source or source_folder()
    files: set[Path] = set()
    for module in [modules] if isinstance(modules, str) else modules:
        files |= set(import_closure(module, source, read))
    for folder in folders:
        files |= {p.relative_to(source) for p in (source / folder).rglob("*") if p.is_file()}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.as_posix().encode() + b"\0")
        digest.update((source / path).read_bytes() + b"\0")
    return digest.hexdigest()


def _find(name: str, source: Path) -> Path | None:
    base = source.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def direct_imports(path: Path, name: str, source: Path) -> list[str]:
    """Return the modules of this package that the module `name`, in `path`, imports at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in _runtime_nodes(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _ours(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*anchor, base] if base else anchor)
            if _ours(base):
                found.append(base)
                submodules = [f"{base}.{alias.name}" for alias in node.names]
                found += [sub for sub in submodules if _find(sub, source)]
    return found


def _runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _runtime_nodes(node)


def _ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")
