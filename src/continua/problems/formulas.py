"""Formulas of a problem as NumPy functions in double precision."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy

from continua.equations import Equation, Scope, parse_expression
from continua.equations.parse import coordinate_symbol, parameter_symbol


def evaluate(
    text: str, equation: Equation, coordinates: Mapping[str, Any], parameters: Mapping[str, Any]
) -> np.ndarray:
    """Values of a formula at points; NaN or infinity where it has none.

    **Arguments:**

    - `text`: in the grammar of `equations.parse`.
    - `equation`: whose coordinates and parameters it uses.
    - `coordinates`: an array for each; they broadcast.
    - `parameters`: a number for each.
    """
    function = compiled(text, equation.coordinates, equation.parameters)
    arrays = [np.asarray(coordinates[c], float) for c in equation.coordinates]
    with np.errstate(all="ignore"):
        value = function(*arrays, *(float(parameters[p]) for p in equation.parameters))
    return np.broadcast_to(
        np.asarray(value, float), np.broadcast_shapes(*(a.shape for a in arrays))
    )


def check_formula(text: Any, equation: Equation, where: str) -> sympy.Expr:
    """A formula in coordinates and parameters of an equation, parsed.

    **Arguments:**

    - `text`: in the grammar of `equations.parse`.
    - `equation`: whose names it may use.
    - `where`: the place that an error names.

    **Raises:** `InputError` for anything else in it.
    """
    scope = Scope(equation.coordinates, (), equation.parameters)
    return parse_expression(text, scope, where=where)


@functools.lru_cache(maxsize=256)
def compiled(text: str, coordinates: tuple[str, ...], parameters: tuple[str, ...] = ()) -> Callable:
    """A formula as a NumPy function of coordinates and parameters.

    **Arguments:**

    - `text`: in the grammar of `equations.parse`.
    - `coordinates`, `parameters`: names, in the order of the arguments.
    """
    formula = parse_expression(text, Scope(coordinates, (), parameters), where="formula")
    arguments = [*map(coordinate_symbol, coordinates), *map(parameter_symbol, parameters)]
    return numpy_function(formula, arguments)


def numpy_function(expression: Any, arguments: list) -> Callable:
    """SymPy to NumPy.

    **Arguments:**

    - `expression`: from the checked grammar of `equations.parse`; a list gives a list.
    - `arguments`: SymPy symbols.
    """
    return sympy.lambdify(arguments, expression, modules=[_FUNCTIONS, "numpy"], cse=True)


def _erf(x):
    from scipy.special import erf

    return erf(x)


_FUNCTIONS = {"erf": _erf, "sech": lambda x: 1 / np.cosh(x)}
