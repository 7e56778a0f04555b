"""Continua: differential equations by classical and learned methods, compared honestly.

    import continua as ct
    solution = ct.solve(ct.problems.burgers(), ct.methods.Spectral())

Everything is imported when it is first asked for: `import continua` costs nothing and
changes no global setting.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from continua import (
        core,
        equations,
        integrate,
        methods,
        metrics,
        nets,
        problems,
        spaces,
        train,
    )
    from continua.compare import Comparison, Record, compare
    from continua.core.citations import citation
    from continua.core.cost import Cost
    from continua.core.errors import InputError
    from continua.core.results import Result, ResultCode
    from continua.core.solution import Estimate, Solution
    from continua.equations import Equation
    from continua.integrate import check_gradient
    from continua.problems.dataset import generate
    from continua.solve import SolveError, solve

__version__ = "0.1.0"

_ROOMS = (
    "core",
    "equations",
    "integrate",
    "methods",
    "metrics",
    "nets",
    "problems",
    "spaces",
    "train",
)
_HOMES = {
    "Comparison": "continua.compare",
    "Cost": "continua.core.cost",
    "Equation": "continua.equations",
    "Estimate": "continua.core.solution",
    "InputError": "continua.core.errors",
    "Record": "continua.compare",
    "Result": "continua.core.results",
    "ResultCode": "continua.core.results",
    "Solution": "continua.core.solution",
    "SolveError": "continua.solve",
    "check_gradient": "continua.integrate",
    "citation": "continua.core.citations",
    "compare": "continua.compare",
    "generate": "continua.problems.dataset",
    "solve": "continua.solve",
}


class _Package(types.ModuleType):
    """`continua.solve` and `continua.compare` are functions, and modules of the same name
    hold them: an import of the module leaves the function in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, types.ModuleType) and _HOMES.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"continua.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'continua' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*_ROOMS, *_HOMES, "__version__"})


__all__ = [
    "Comparison",
    "Cost",
    "Equation",
    "Estimate",
    "InputError",
    "Record",
    "Result",
    "ResultCode",
    "Solution",
    "SolveError",
    "check_gradient",
    "citation",
    "compare",
    "core",
    "equations",
    "generate",
    "integrate",
    "methods",
    "metrics",
    "nets",
    "problems",
    "solve",
    "spaces",
    "train",
]
