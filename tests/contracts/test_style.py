"""House style that can be read off the source: classes, docstrings, sizes, references."""

import ast
import pathlib
import re

import pytest

import continua
from continua.core.citations import citation, references
from continua.core.errors import InputError

ROOT = pathlib.Path(continua.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {file: ast.parse(file.read_text("utf-8")) for file in FILES}
BY_NAME = pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_KEY = re.compile(r"\*\*Reference:\*\* ([\w, ]+?)\.?$", re.MULTILINE)
# Methods that Python or JAX calls, whose arguments are told by the class.
_SILENT = {"self", "cls", "key", "args"}


def classes() -> dict[str, ast.ClassDef]:
    """Every class of the package by name."""
    return {
        node.name: node
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


def bases_of(node: ast.ClassDef) -> list[str]:
    """The last part of the name of every base."""
    names = [ast.unparse(base).split("[")[0] for base in node.bases]
    return [name.split(".")[-1] for name in names]


def test_abstract_or_final():
    known = classes()
    for node in known.values():
        for base in bases_of(node):
            if base in known:
                assert base.lstrip("_").startswith("Abstract"), f"{node.name} extends {base}"


def test_nothing_concrete_is_overridden():
    known = classes()

    def concrete(node: ast.ClassDef) -> set[str]:
        return {
            m.name
            for m in node.body
            if isinstance(m, _FUNCTIONS)
            and not any("abstract" in ast.unparse(d) for d in m.decorator_list)
            and not m.name.startswith("__")
        }

    def above(node: ast.ClassDef):
        for base in bases_of(node):
            if base in known:
                yield known[base]
                yield from above(known[base])

    for node in known.values():
        own = {m.name for m in node.body if isinstance(m, _FUNCTIONS)}
        for parent in above(node):
            clash = own & concrete(parent)
            assert not clash, f"{node.name} overrides {parent.name}.{clash}"


def public(tree: ast.Module):
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield node, None
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, _FUNCTIONS) and not method.name.startswith("_"):
                        yield method, node


def arguments_of(node) -> list[str]:
    """The names that a caller gives."""
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [a.arg for a in every if a.arg not in _SILENT]


@BY_NAME
def test_public_things_are_documented(file):
    assert ast.get_docstring(TREES[file]), "the module has no docstring"
    for node, owner in public(TREES[file]):
        text = ast.get_docstring(node)
        inherits = owner is not None and bases_of(owner)
        if inherits and text is None:
            continue  # told by the abstract method
        assert text, f"{node.name} has no docstring"
        assert text[0] == text[0].upper() or text[0] in "`", f"{node.name}: no sentence"


def offered() -> set[str]:
    """What the rooms offer: every name in an `__all__`."""
    return {
        name
        for file, tree in TREES.items()
        if file.name == "__init__.py"
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    }


@BY_NAME
def test_what_a_room_offers_tells_its_arguments(file):
    known = offered()
    for node, owner in public(TREES[file]):
        if isinstance(node, ast.ClassDef) or owner is not None or node.name not in known:
            continue
        names = arguments_of(node)
        text = ast.get_docstring(node) or ""
        if len(names) >= 2:
            told = "**Arguments" in text or all(f"`{name}" in text for name in names)
            assert told, f"{node.name} does not tell its arguments {names}"


@BY_NAME
def test_sizes(file):
    lines = file.read_text("utf-8").splitlines()
    assert len(lines) <= 500, f"{len(lines)} lines"
    for node in ast.walk(TREES[file]):
        if isinstance(node, _FUNCTIONS):
            body = node.body
            if ast.get_docstring(node) and len(body) > 1:
                body = body[1:]
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@BY_NAME
def test_nothing_is_executed_pickled_or_printed(file):
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), node.func.id
            if file.relative_to(ROOT).parts[0] != "cli":
                assert node.func.id != "print", f"print in line {node.lineno}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] + [str(getattr(node, "module", ""))]
            for name in names:
                top = name.split(".")[0]
                assert top not in ("pickle", "dill", "marshal", "shelve", "joblib"), name


def test_references_are_known():
    used = set()
    for file in FILES:
        for match in _KEY.finditer(file.read_text("utf-8")):
            used.update(key.strip() for key in match.group(1).split(","))
        for node in ast.walk(TREES[file]):
            if (
                isinstance(node, ast.AnnAssign)
                and ast.unparse(node.target) == "reference"
                and "ClassVar" in ast.unparse(node.annotation)
                and isinstance(node.value, ast.Constant)
                and node.value.value
            ):
                used.add(node.value.value)
    assert len(used) > 20
    from continua.problems import PROBLEMS

    used.update(make().citation for make in PROBLEMS.values())
    missing = used - set(references())
    assert not missing, f"not in refs.bib: {sorted(missing)}"


def test_every_method_and_optimiser_cites():
    from continua.methods import METHODS

    for name, cls in METHODS.items():
        if cls.kind != "trivial":
            assert cls.reference in references(), f"{name} cites nothing"


def test_every_entry_is_read():
    text = (ROOT / "core" / "refs.bib").read_text("utf-8")
    assert len(references()) == text.count("\n@") + 1
    for key in references():
        assert f"{{{key}," in citation(key)
        assert "author" in citation(key)
        assert "title" in citation(key)
        assert "year" in citation(key)


def test_unknown_reference():
    with pytest.raises(InputError, match="did you mean 'raissi2019pinn'"):
        citation("raissi2019pin")
