"""What Python files define, found without running them: a misspelt name is told of before anything is imported.

What only running a file would tell is not known, and left to whoever runs it.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

#: What may define names that stand nowhere in a source.
_ANYTHING = frozenset({"__getattr__", "exec", "eval", "globals", "locals", "setattr", "vars"})


def names_in(source: bytes) -> frozenset[str] | None:
    """Return every name that a source may define, and perhaps more; None if only running it would tell.

    :raises SyntaxError: If it is no Python.
    """
    tree = _tree(source)
    if tree is None:
        return None
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            found.add(node.id)
    return None if found & _ANYTHING or "*" in found else frozenset(found)


def functions_in(source: bytes) -> list[str]:
    """Return the names of the functions that a source defines for others, as far as they stand in it.

    :raises SyntaxError: If it is no Python.
    """
    tree = _tree(source)
    body = [] if tree is None else tree.body
    return [node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def _tree(source: bytes) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError):
        # What Python itself makes of it, it says when it runs it.
        return None


def installed(package: str, *path: str) -> list[Path]:
    """Return the files of an installed package by a pattern below it; nothing is imported, and none may be there.

    :param package: Its name, without a dot.
    :param path: Parts of the pattern.
    """
    spec = find_spec(package)
    places = [] if spec is None else spec.submodule_search_locations or []
    return sorted(file for place in places for file in Path(place).glob("/".join(path)))


def names_of_installed(package: str, *path: str) -> frozenset[str] | None:
    """Return every name that a module of an installed package may define; None if only importing it would tell.

    :param package: Name of the package, without a dot.
    :param path: Parts of the path of the module's file in it.
    """
    files = installed(package, *path)
    return names_in(files[0].read_bytes()) if files else None


def told(error: SyntaxError, path: str) -> str:
    """Return what is wrong with a file that is no Python, and where."""
    line = "" if error.lineno is None else f", line {error.lineno}"
    return f"SyntaxError in {path}{line}: {error.msg}"
