r"""Whether an equation is elliptic, or parabolic in time, as scattered points need it.

F_i = sum_ab A_ab d^2 u_i / dx_a dx_b + ...,   A definite.
"""

from typing import Any

import numpy as np
import sympy

from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems.formulas import numpy_function
from continua.spaces.scatter import halton

_SAMPLES = 64  # points at which coefficients are looked at
_FLAT = 1e-12  # of the largest eigenvalue, up to which one counts as zero


def needs_diffusion(problem: Any, expressions: Any) -> str | None:
    """Why an equation is neither elliptic nor parabolic, `None` where it is or where its
    coefficients depend on the solution.

    An unknown that has no derivatives in space at all is free of this.

    **Arguments:**

    - `problem`: an `EquationProblem`, with space.
    - `expressions`: of each unknown; what its time derivative equals where there is time.
    """
    equation = problem.equation
    jets = sorted({j for e in expressions for j in jets_in(e, equation.coordinates)})
    symbols = jet_symbols(jets)
    axes = [equation.coordinates.index(c) for c in equation.space]
    for unknown, expression in zip(equation.unknowns, expressions, strict=True):
        moved = any(name == unknown and any(o[i] for i in axes) for name, o in jets)
        second = [
            (o, s)
            for (name, o), s in symbols.items()
            if name == unknown and sum(o[i] for i in axes) == 2
        ]
        flat = replace_jets(sympy.sympify(expression), equation.coordinates, symbols)
        slopes = {o: sympy.diff(flat, s) for o, s in second}
        slopes = {o: s for o, s in slopes.items() if s != 0}
        if not slopes:
            if moved:
                return (
                    f"needs diffusion of '{unknown}' in its own equation: transport and waves are "
                    "for Spectral, FiniteVolumes or FiniteDifferences"
                )
            continue
        wrong = _wrong_sign(problem, unknown, slopes, axes, set(symbols.values()))
        if wrong:
            return wrong
    return None


def _wrong_sign(problem, unknown: str, slopes, axes: list[int], jets: set) -> str | None:
    """What the eigenvalues of the coefficients of second derivatives speak against."""
    if any(s.free_symbols & jets for s in slopes.values()):
        return None
    equation = problem.equation
    numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
    names = [coordinate_symbol(c) for c in equation.coordinates]
    unit = halton(_SAMPLES, len(names))
    low, high = np.array([problem.domain[c] for c in equation.coordinates]).T
    places = (low + (high - low) * unit).T
    matrix = np.zeros((_SAMPLES, len(axes), len(axes)))
    for orders, slope in slopes.items():
        (value,) = numpy_function([slope.subs(numbers)], names)(*places)
        a, *rest = [i for i, axis in enumerate(axes) for _ in range(orders[axis])]
        matrix[:, a, rest[0]] += value / 2
        matrix[:, rest[0], a] += value / 2
    values = np.linalg.eigvalsh(matrix[np.isfinite(matrix).all(axis=(1, 2))])
    slack = _FLAT * np.max(np.abs(values), initial=0.0)
    below, above = bool(np.any(values < -slack)), bool(np.any(values > slack))
    if equation.time is not None and below:
        return f"needs diffusion of '{unknown}' that evens out: it is negative somewhere"
    if below and above:
        return f"needs an elliptic equation: that of '{unknown}' is hyperbolic, as a wave is"
    return None
