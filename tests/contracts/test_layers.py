"""A file imports only from rooms below its own; `import continua` costs nothing."""

import ast
import pathlib
import subprocess
import sys

import pytest

import continua

ROOT = pathlib.Path(continua.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# From the top down; rooms of one row do not import each other.
ROWS = (
    ("cli",),
    ("compare",),
    ("plot",),
    ("solve",),
    ("methods",),
    ("train", "insight"),
    ("nets", "problems", "metrics"),
    ("integrate",),
    ("equations", "spaces"),
    ("core",),
)
HEIGHT = {room: -row for row, rooms in enumerate(ROWS) for room in rooms}
HEAVY = ("scipy", "xarray", "matplotlib", "diffrax", "optax", "sympy", "equinox", "pandas")


def room_of(file: pathlib.Path) -> str:
    """The room that a file lies in; a module beside the rooms is one of its own."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: pathlib.Path) -> set[str]:
    """The modules of this package that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(str(node.module))
            if node.module == "continua":
                names.update(f"continua.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] == "continua"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_down(file):
    room = room_of(file)
    if room == "__init__":
        return  # the front door names every room
    assert room in HEIGHT, f"{room} is not a room of the design"
    for name in imported(file):
        parts = name.split(".")
        other = parts[1] if len(parts) > 1 else ""
        if other in (room, ""):
            continue
        assert other in HEIGHT, f"{name} is not in a room of the design"
        assert HEIGHT[other] < HEIGHT[room], f"{room} imports {name} from beside or above"


def test_the_check_sees_an_import_that_points_up(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from continua.solve import solve\n    return solve\n")
    assert imported(file) == {"continua.solve"}
    assert HEIGHT["solve"] > HEIGHT["core"]


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


def test_import_is_light():
    code = f"import sys, continua; print([m for m in {HEAVY + ('jax',)} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_import_changes_no_setting():
    code = (
        "import jax; before = dict(jax.config.values); import continua; "
        "from continua import solve, compare, methods, problems, spaces, nets, train; "
        "after = dict(jax.config.values); "
        "print([k for k in after if after[k] != before.get(k)])"
    )
    assert run_python(code) == "[]"


def test_command_line_imports_what_help_needs():
    code = (
        "import sys, continua.cli; "
        f"print([m for m in {('scipy', 'xarray', 'matplotlib', 'diffrax')} if m in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_solve_stays_a_function_whatever_is_imported():
    code = (
        "import continua.solve, continua.compare.record, continua; "
        "print(callable(continua.solve) and callable(continua.compare), "
        "all(getattr(continua, n) is not None for n in continua.__all__))"
    )
    assert run_python(code) == "True True"


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = continua.nothing
