"""A file imports only from rooms below its own."""

import ast
import pathlib

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
