"""What a user's file runs: itself, and what lies beside it and is imported."""

from __future__ import annotations

import pytest

from art_denoise._user_code import digest_of, user_code


@pytest.fixture
def file(tmp_path):
    """A user's file, and what lies beside it."""
    sources = {
        "mine.py": "import numpy\nfrom helper import f\nimport package.part\n\ndef g():\n    import late\n",
        "helper.py": "import further\nfrom . import nothing\n",
        "further.py": "import mine\n",
        "late.py": "",
        "package/__init__.py": "",
        "package/part.py": "",
        "package/deeper/other.py": "from beside import x\n",
        "beside.py": "x = (",
        "unused.py": "",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path / "mine.py"


def test_what_is_imported_from_beside_is_found(file):
    found = [path.relative_to(file.parent).as_posix() for path in user_code(file)]
    assert found == [
        "beside.py",
        "further.py",
        "helper.py",
        "late.py",
        "mine.py",
        "package/__init__.py",
        "package/deeper/other.py",
        "package/part.py",
    ]


def test_the_digest_moves_with_all_of_it_and_with_nothing_else(file):
    def digest() -> str:
        return digest_of(user_code(file), file)

    first = digest()
    (file.parent / "unused.py").write_text("X = 1")
    assert digest() == first
    digests = {first}
    for path in user_code(file):
        path.write_text(path.read_text() + "\n# changed\n")
        digests.add(digest())
    assert len(digests) == 9


def test_it_does_not_matter_where_the_folder_is(file, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "moved"
    before = digest_of(user_code(file), file)
    file.parent.rename(elsewhere)
    assert digest_of(user_code(elsewhere / "mine.py"), elsewhere / "mine.py") == before


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        user_code(tmp_path / "gone.py")
