"""Which code a task depends on, and a digest of it: found from imports, blind to comments, docstrings and layout.

Only this package's own modules are followed. An import inside of a function counts; one for type checkers does not.
`from package import name` leads to the module that defines the name, not to everything that the package offers. A
module that says `PART_OF_NO_RESULT = True` is left out, with what it imports: it says what tasks are, not what they do.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_PACKAGE = __name__.partition(".")[0]

#: Folder that the package is in.
_ROOT = Path(__file__).parents[2]


@cache
def code_digest(modules: tuple[str, ...], root: Path = _ROOT) -> str:
    """Return 16 hexadecimal digits that change with the code of modules, or of any that they import.

    Comments, docstrings and the layout of the text are not code. A file is read once by a process, which goes on with
    the code that it has begun with.

    :param modules: Their full names.
    :param root: Folder that the package is in.
    """
    digest = hashlib.sha256()
    for name in sorted(module_closure(modules, root)):
        digest.update(f"{name}\0{_code(_file(name, root))}\0".encode())
    return digest.hexdigest()[:16]


def module_closure(modules: Iterable[str], root: Path = _ROOT) -> frozenset[str]:
    """Return modules and all that they import, directly or not, of this package.

    :param modules: Their full names.
    :param root: Folder that the package is in.
    :raises ModuleNotFoundError: If one of them is not there.
    """
    found: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in found and not _part_of_no_result(_file(name, root)):
            found.add(name)
            todo += _imported(name, root)
    return frozenset(found)


def _file(name: str, root: Path) -> Path:
    place = root.joinpath(*name.split("."))
    for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if file.is_file():
            return file
    raise ModuleNotFoundError(f"there is no module {name} in {root}", name=name)


def _is_module(name: str, root: Path) -> bool:
    try:
        _file(name, root)
    except ModuleNotFoundError:
        return False
    return True


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _part_of_no_result(file: Path) -> bool:
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node) == "PART_OF_NO_RESULT = True" for node in _tree(file).body
    )


@cache
def _code(file: Path) -> str:
    """Describe the code of a file, the same in every version of Python."""
    return repr(_plain(_tree(file)))


def _plain(node: object) -> object:
    if isinstance(node, ast.AST):
        parts: dict[str, object] = dict(ast.iter_fields(node))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            parts["body"] = node.body[1:]
        # What is empty was not there at all in other versions of Python.
        kept = [(name, _plain(part)) for name, part in sorted(parts.items()) if part is not None and part != []]
        return (type(node).__name__, *kept)
    return [_plain(part) for part in node] if isinstance(node, list) else node


@cache
def _imported(name: str, root: Path) -> tuple[str, ...]:
    """Return the modules of this package that a module imports."""
    return tuple(_imports(name, root))


def _imports(name: str, root: Path) -> Iterator[str]:
    file = _file(name, root)
    for node in _running(_tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _own(alias.name))
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, name, file)
            if _own(origin):
                yield from (_home(origin, alias.name, root) for alias in node.names)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: all but what is under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


def _own(name: str) -> bool:
    return name == _PACKAGE or name.startswith(f"{_PACKAGE}.")


def _origin(node: ast.ImportFrom, name: str, file: Path) -> str:
    """Return the full name of the module that an import is from."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    above = node.level - 1 if file.name == "__init__.py" else node.level
    return ".".join([*parts[: len(parts) - above], *([node.module] if node.module else [])])


def _home(module: str, name: str, root: Path) -> str:
    """Return the module that defines what is imported from a module by a name."""
    if _is_module(f"{module}.{name}", root):
        return f"{module}.{name}"
    file = _file(module, root)
    if file.name == "__init__.py":
        # Names that are imported when they are used are listed in a stub.
        stub = file.with_suffix(".pyi")
        for source in (file, *([stub] if stub.is_file() else [])):
            for node in ast.walk(_tree(source)):
                if isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        if (alias.asname or alias.name) == name:
                            origin = _origin(node, module, file)
                            return _home(origin, alias.name, root) if _own(origin) else module
    return module
