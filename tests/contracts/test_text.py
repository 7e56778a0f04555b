"""The words of the repository: British, complete, and of this project alone."""

import ast
import io
import pathlib
import re
import subprocess
import tokenize

import pytest

import continua

REPOSITORY = pathlib.Path(continua.__file__).parents[2]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def tracked_text() -> dict[pathlib.Path, str]:
    """The text of every file that is or will be in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.splitlines()]
    suffixes = {".py", ".md", ".toml", ".yml", ".yaml", ".cff", ".lock", ".bib", ".csv", ".html"}
    return {
        file: file.read_text("utf-8")
        for file in files
        if file.is_file() and (file.suffix in suffixes or file.name in ("Makefile", "run"))
    }


_HERE = pathlib.Path(__file__)
_PLACES = re.compile(
    r"/work/|/root/|/home/\w|/opt/pypi|\bpypi\.org|pythonhosted|npmjs|deb\.debian\.org|index-url=",
)
_AMERICAN = re.compile(
    r"\b(neighbor|behavior|color(?!ama|bar|map|s?=|_)|favor|center(?!_)|fiber|meter\b|analyze|"
    r"normaliz|regulariz|discretiz|parametriz|initializ(?!e_inplace)|optimiz(?!ers?[.\"])|"
    r"vectoriz|linearis?z|organiz|recogniz|summariz|generaliz|minimiz|maximiz|utiliz|"
    r"factoriz|penaliz|modeling|labeled|traveling|canceled)\w*",
    re.IGNORECASE,
)


def test_text_names_no_machine_and_no_registry():
    for file, text in tracked_text().items():
        if file != _HERE:
            found = _PLACES.search(text)
            assert not found, f"{file.name}: {found.group() if found else ''}"


@pytest.mark.parametrize("word", ["normalize", "Behavior", "optimizer", "centered", "colored"])
def test_american_words_are_seen(word):
    assert _AMERICAN.search(word)


def prose(text: str) -> str:
    """Docstrings and comments of Python source; what others named is not ours to spell."""
    told = (ast.Module, ast.ClassDef, *_FUNCTIONS)
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, told)]
    comments = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and "noqa" not in token.string
    ]
    return "\n".join([*(ast.get_docstring(node) or "" for node in nodes), *comments])


def test_british_spelling():
    for file, text in tracked_text().items():
        if file == _HERE or file.suffix in (".bib", ".lock", ".html", ".csv"):
            continue
        body = prose(text) if file.suffix == ".py" else text
        body = re.sub(r"`[^`]*`|```.*?```", "", body, flags=re.DOTALL)
        found = _AMERICAN.search(body)
        assert not found, f"{file.name}: {found.group() if found else ''}"


def test_nothing_is_left_undone():
    for file, text in tracked_text().items():
        if file != _HERE and file.suffix == ".py":
            found = re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)
            assert not found, f"{file.name}: {found.group() if found else ''}"
