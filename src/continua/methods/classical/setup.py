"""What the classical methods share: start values, wall conditions, how a solve ended."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.equations.expression import Expression
from continua.equations.parse import Scope, parse_expression
from continua.integrate.trajectory import STEP_LIMIT, SUCCESS
from continua.methods.base import Support, beyond
from continua.problems import EquationProblem
from continua.problems.formulas import evaluate
from continua.spaces import AbstractSpace, Boundary, FiniteDifferenceSpace, WallCondition


def forward_problem(problem: Any, name: str, *takes: str) -> Support:
    """Whether a problem is an equation with all its parameters known.

    **Arguments:**

    - `problem`: of any kind.
    - `name`: of the method.
    - `takes`: as `beyond`.
    """
    if not isinstance(problem, EquationProblem):
        return Support(False, f"{name} needs an equation with its conditions")
    if problem.unknown_parameters:
        return Support(False, f"{name} cannot recover unknown parameters")
    return beyond(problem, name, takes)


def time_of(problem: EquationProblem) -> str:
    """The name of the time coordinate of a problem in time."""
    return str(problem.equation.time)


def parameters_of(problem: EquationProblem) -> dict[str, Any]:
    """The parameters as scalars of the current precision."""
    dtype = jnp.zeros(()).dtype
    return {name: jnp.asarray(v, dtype) for name, v in problem.all_parameters().items()}


def initial_state(problem: EquationProblem, axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Every state at the initial time, `(s, *N)`.

    **Arguments:**

    - `problem`: in time.
    - `axes`: nodes of each space coordinate, 1-d.
    """
    equation = problem.equation
    time = time_of(problem)
    start = problem.domain[time][0]
    mesh = np.meshgrid(*axes.values(), indexing="ij") if axes else []
    shape = tuple(len(a) for a in axes.values())
    where = {time: np.full(shape, start), **dict(zip(axes, mesh, strict=True))}
    values = problem.all_parameters()
    states = equation.system.states
    return np.stack([evaluate(problem.initial[s], equation, where, values) for s in states])


def box(problem: EquationProblem) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Names and ends of the space coordinates."""
    names = problem.equation.space
    lower, upper = ([float(problem.domain[c][i]) for c in names] for i in (0, 1))
    return names, tuple(lower), tuple(upper)


@dataclasses.dataclass(frozen=True)
class WallText:
    """A formula of a condition as a function of coordinates on a wall, by name.

    **Arguments:**

    - `formula`: the text.
    - `time`: the coordinate to differentiate it by, `None` for its value.
    """

    formula: Expression
    time: str | None = None

    def __call__(self, where: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        names = self.formula.coordinates
        arrays = jnp.broadcast_arrays(*(jnp.asarray(where[c]) for c in names))
        shape = arrays[0].shape
        points = jnp.stack([a.reshape(-1) for a in arrays], axis=-1)

        def value(point):
            return self.formula(point, parameters)

        if self.time is None:
            return jax.vmap(value)(points).reshape(shape)
        along = np.array([float(c == self.time) for c in names])
        along = jnp.asarray(along, points.dtype)
        return jax.vmap(lambda p: jax.jvp(value, (p,), (along,))[1])(points).reshape(shape)


def boundary_of(problem: EquationProblem, space: FiniteDifferenceSpace) -> Boundary:
    """The wall conditions of a problem, for every state.

    Where an unknown is of higher order in time, its time derivatives obey the time
    derivatives of its conditions.
    """
    equation = problem.equation
    states = equation.system.states if equation.time else equation.unknowns
    found = []
    for axis, name in enumerate(equation.space):
        walls = problem.boundary.get(name)
        if walls is None or walls == "periodic":
            continue
        for side, conditions in enumerate((walls.lower, walls.upper)):
            for condition in conditions:
                found += _wall_conditions(equation, states, axis, side, condition)
    return Boundary(space, tuple(found), equation.time)


def _wall_conditions(equation, states, axis: int, side: int, condition) -> list[WallCondition]:
    def text(value, time=None):
        formula = Expression(str(value), equation.coordinates, tuple(equation.parameters))
        return WallText(formula, time)

    coefficients = tuple((n, text(a)) for n, a in condition.coefficients.items())
    steady = not any(
        isinstance(a, str) and uses(a, equation, equation.time)
        for a in condition.coefficients.values()
    )
    first = states.index(condition.unknown)
    constant = not uses(condition.value, equation, equation.time)
    value = text(condition.value)
    rows = [WallCondition(first, axis, side, coefficients, value, steady, constant)]
    if equation.time_orders[condition.unknown] >= 2 and steady:
        moving = text(condition.value, equation.time)
        rows.append(WallCondition(first + 1, axis, side, coefficients, moving, steady, constant))
    return rows


def uses(text: str, equation: Any, name: str | None) -> bool:
    """Whether a formula contains a coordinate."""
    scope = Scope(equation.coordinates, (), tuple(equation.parameters))
    symbols = parse_expression(text, scope, where="condition").free_symbols
    return any(str(symbol) == name for symbol in symbols)


def relative_change(a: np.ndarray, b: np.ndarray) -> float:
    """`|a - b|_2 / |b|_2`; infinite where either is not finite."""
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return float("inf")
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / (size if size > 0 else 1.0)


def on_grid(space: AbstractSpace, frames: np.ndarray, axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Frames `(T, c, *N)` at the nodes of another product grid: `(T, c, *n)`."""
    mesh = np.meshgrid(*(axes[c] for c in space.names), indexing="ij")
    points = np.stack([m.reshape(-1) for m in mesh], axis=-1)
    flat = frames.reshape(-1, *frames.shape[2:])
    values = np.moveaxis(space.interpolate(flat, points), -1, 0)
    return values.reshape(*frames.shape[:2], *mesh[0].shape)


def ending(code: int, steps: int, time: str, t_end: float, where: str, advice: str) -> Result:
    """How a solve in time ended.

    **Arguments:**

    - `code`: of a `Trajectory`.
    - `steps`: accepted ones.
    - `time`, `t_end`: the name of time and where it stopped.
    - `where`: the component in words.
    - `advice`: what to try.
    """
    if code == SUCCESS:
        return Result()
    if code == STEP_LIMIT:
        message = f"the step limit was reached after {steps} steps, at {time} = {t_end:.6g}"
        return Result(ResultCode.step_limit, message, advice)
    message = f"the solution diverged after step {steps}, at {time} = {t_end:.6g}, in {where}"
    return Result(ResultCode.diverged, message, advice)


def place(index: int, states: tuple[str, ...], axes: Mapping[str, np.ndarray]) -> str:
    """An entry of the state `(s, *N)` in words, by its flat index."""
    shape = (len(states), *(len(a) for a in axes.values()))
    state, *nodes = np.unravel_index(index, shape)
    spots = [f"{c} = {a[i]:.6g}" for (c, a), i in zip(axes.items(), nodes, strict=True)]
    return f"{states[state]} at {', '.join(spots)}" if spots else str(states[state])


def solution_of(
    method: Any, problem: EquationProblem, evaluator: Any, result: Result, stats: Mapping[str, Any]
) -> Solution:
    """A solution of an equation problem on its own grid."""
    return Solution(
        method=method.name,
        unknowns=tuple(problem.equation.unknowns),
        coordinates=tuple(problem.equation.coordinates),
        grid=problem.evaluation_grid(),
        evaluator=evaluator,
        result=result,
        stats={name: float(value) for name, value in stats.items()},
    )


def unknown_rows(problem: EquationProblem) -> list[int]:
    """Which states are the unknowns."""
    states = problem.equation.system.states
    return [states.index(u) for u in problem.equation.unknowns]
