r"""Problems between walls that mirror their solution: odd about each wall, or even.

    u = u_xx = 0 on both walls: odd,     u_x = u_xxx = 0 on both walls: even,

and the equation keeps it so: every term of the right-hand side of a state has the parity of
that state. Then sines and cosines are what Fourier series are on a ring.
"""

import functools
import itertools
from typing import Any

import jax
import numpy as np

from continua.core.errors import InputError
from continua.equations.equation import expression_text
from continua.equations.parity import Walled
from continua.problems.equation import EquationProblem
from continua.problems.formulas import check_formula, evaluate
from continua.spaces.sine_cosine import EVEN, ODD, PERIODIC, SineCosineSpace, SineCosineStates

# Nodes of the grid on which initial values are looked at, and how small the last third of
# their coefficients has to be beside the largest.
_NODES = {1: 1024, 2: 128, 3: 48}
_SMALL = {1: 1e-9, 2: 1e-8, 3: 1e-6}


@functools.lru_cache(maxsize=128)
def mirrored(problem: EquationProblem) -> tuple[dict[str, tuple[str, ...]] | None, str]:
    """The parity of each state along each axis, or why there is none.

    **Arguments:**

    - `problem`: in time, in one to three space coordinates, with walls on an axis or more.

    **Returns:** parities by state, `None` and the reason in one line where the walls or the
    equation do not mirror the solution.
    """
    equation = problem.equation
    if equation.fields:
        return None, f"what '{next(iter(equation.fields))}' is beyond the walls is not known"
    try:
        system = equation.system
    except InputError as error:
        return None, error.cause
    known: dict[str, list[set[str]]] = {}
    for unknown in equation.unknowns:
        known[unknown] = []
        for coordinate in equation.space:
            found, reason = _on_axis(problem, unknown, coordinate)
            if reason:
                return None, reason
            known[unknown].append(found)
    first = ""
    for parities in _candidates(equation, known):
        lower, upper = zip(*(problem.domain[c] for c in equation.space), strict=True)
        walled = Walled(system, parities, lower, upper)
        breach = walled.breach()
        if breach is None:
            reason = _rough_start(problem, parities)
            return (None, reason) if reason else (parities, "")
        state, term, axis = breach
        wanted = parities[state][equation.space.index(axis)]
        first = first or (
            f"the term {expression_text(term)} of the equation of '{state}' is not {wanted} "
            f"about the walls of {axis}, as '{state}' is there"
        )
    return None, first


def _on_axis(problem: EquationProblem, unknown: str, coordinate: str) -> tuple[set[str], str]:
    """Parities that the conditions of an axis allow, or why they allow none."""
    walls = problem.boundary.get(coordinate)
    if walls == "periodic":
        return {PERIODIC}, ""
    found = {ODD, EVEN}
    for side in () if walls is None else (walls.lower, walls.upper):
        for condition in side:
            if condition.unknown == unknown:
                parity = _of_condition(problem, condition)
                if parity is None:
                    return set(), (
                        f"the conditions of '{unknown}' on the walls of {coordinate} are not all "
                        "zero values (and zero even derivatives) or all zero slopes"
                    )
                found = found & {parity}
    if not found:
        return set(), f"'{unknown}' is odd about one wall of {coordinate} and even about another"
    return found, ""


def _of_condition(problem: EquationProblem, condition: Any) -> str | None:
    """The parity that one condition asks for, `None` for another kind of condition."""
    orders = [k for k, a in condition.coefficients.items() if isinstance(a, str) or a != 0]
    if len(orders) != 1 or isinstance(condition.coefficients[orders[0]], str):
        return None
    if not check_formula(condition.value, problem.equation, "condition").is_zero:
        return None
    return EVEN if orders[0] % 2 else ODD


def _candidates(equation: Any, known: dict[str, list[set[str]]]):
    """Parities of the states, those of unknowns without conditions in every way."""
    choices = [sorted(found) for axes in known.values() for found in axes]
    count = len(equation.space)
    orders = equation.time_orders
    for choice in itertools.product(*choices):
        names: list[tuple[str, ...]] = []
        for i, unknown in enumerate(equation.unknowns):
            names += [choice[i * count : (i + 1) * count]] * orders[unknown]
        yield dict(zip(equation.system.states, names, strict=True))


def states_space(
    problem: EquationProblem, parities: dict[str, tuple[str, ...]], shape: tuple[int, ...]
) -> SineCosineStates:
    """The states of a problem on a grid.

    **Arguments:**

    - `problem`: with walls.
    - `parities`: as `mirrored` returns them.
    - `shape`: nodes of each axis.
    """
    names = problem.equation.space
    lower, upper = zip(*(map(float, problem.domain[c]) for c in names), strict=True)
    return SineCosineStates(
        tuple(SineCosineSpace(names, lower, upper, shape, p) for p in parities.values())
    )


def _rough_start(problem: EquationProblem, parities: dict[str, tuple[str, ...]]) -> str:
    """A state whose initial value has a series that falls slowly, in words."""
    equation = problem.equation
    count = len(equation.space)
    with jax.enable_x64(True):
        space = states_space(problem, parities, (_NODES[count],) * count)
        where = {str(equation.time): np.asarray(problem.domain[str(equation.time)][0])}
        mesh = np.meshgrid(*space.axes().values(), indexing="ij")
        where |= dict(zip(space.axes(), mesh, strict=True))
        for part, (state, parity) in zip(space.parts, parities.items(), strict=True):
            start = evaluate(problem.initial[state], equation, where, problem.all_parameters())
            size = np.abs(np.asarray(part.coefficients(jax.numpy.asarray(start))))
            for axis, name in enumerate(equation.space):
                tail = np.take(size, np.arange(2 * size.shape[axis] // 3, size.shape[axis]), axis)
                if parity[axis] != PERIODIC and tail.max() > _SMALL[count] * size.max():
                    kind = "sines" if parity[axis] == ODD else "cosines"
                    return (
                        f"the {kind} of the initial value of '{state}' along {name} fall slowly, "
                        "as where it does not mirror itself at the walls"
                    )
    return ""
