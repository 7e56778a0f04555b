"""What an import costs and changes: nothing."""

import subprocess
import sys

import pytest

import continua

HEAVY = ("scipy", "xarray", "matplotlib", "diffrax", "optax", "sympy", "equinox", "pandas")


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
