"""The code that a user's file runs: its own, and that of the files beside it that it imports.

This is the only place where code is run that is no part of the installation, and only if it is asked for by name, as
`file.py:function`. No other file, whatever it holds, is run: `tests/test_untrusted.py` looks.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType


def user_code(file: Path) -> dict[Path, bytes]:
    """Return the sources of a Python file and of those beside it that it imports, directly or not.

    Modules and whole packages are followed, by the names in import statements. Other modules are of the installation,
    whose versions are told elsewhere; what a file reads by other means is not known.

    :param file: Its path.
    :raises OSError: If it cannot be read.
    """
    folder, found = file.resolve().parent, {}
    todo = [file.resolve()]
    while todo:
        path = todo.pop()
        if path not in found:
            found[path] = path.read_bytes()
            todo += _files_of(_imported(found[path]), folder)
    return {path: found[path] for path in sorted(found)}


def run_user_code(file: Path, source: bytes, kind: str) -> ModuleType:
    """Run a user's file as Python runs a script: modules beside it can be imported.

    It becomes a module with a name of its own, by which dataclasses and pickle find what it defines.

    :param file: Its path.
    :param source: Its source.
    :param kind: What it is for; one that serves for two things is two modules.
    """
    file = file.resolve()
    module = ModuleType(f"art_denoise_{kind}_{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:8]}")
    module.__file__ = str(file)
    # Not with what this file imports from __future__.
    code = compile(source, str(file), "exec", dont_inherit=True)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def digest_of(sources: Mapping[Path, bytes], file: Path) -> str:
    """Return 16 hexadecimal digits that change with any of the sources of a user's file.

    :param sources: As :func:`user_code` returns them.
    :param file: Path of the file: it does not matter where its folder is.
    """
    digest, folder = hashlib.sha256(), file.resolve().parent
    for path, source in sources.items():
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + source + b"\0")
    return digest.hexdigest()[:16]


def _imported(source: bytes) -> Iterator[str]:
    """Yield the first parts of the names of modules that a source imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        # Whoever runs it tells of it.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def _files_of(names: Iterable[str], folder: Path) -> Iterator[Path]:
    """Yield the files of modules in a folder; of a package all that it holds."""
    for name in names:
        if (folder / name).is_dir():
            yield from (folder / name).rglob("*.py")
        elif (folder / f"{name}.py").is_file():
            yield folder / f"{name}.py"
