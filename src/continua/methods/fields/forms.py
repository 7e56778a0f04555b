"""From a problem's conditions to the form of the solution: what is built in exactly,
and what remains a penalty."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua.equations.expression import Expression
from continua.methods.fields.ansatz import Ansatz, WallValues
from continua.methods.fields.field import Penalty
from continua.nets import Chain, PeriodicEmbedding, Rescale

_CORNER = 1e-6  # given values that meet in a corner may differ by this share


@dataclasses.dataclass(frozen=True)
class Form:
    """How a network becomes a solution.

    **Arguments:**

    - `embedding`: coordinates to features; periodic and mirrored axes are exact.
    - `ansatz`: one for each unknown.
    - `penalties`: the conditions that are left.
    """

    embedding: Chain
    features: int
    ansatz: tuple[Ansatz, ...]
    penalties: tuple[Penalty, ...]


def form_of(problem: Any, harmonics: int) -> Form:
    """Find the form for an `EquationProblem`.

    Periodic axes get a periodic embedding. Initial values are built in. Values on
    walls are built in where they agree in the corners. An axis on which every unknown
    has zero slope on both walls is mirrored. Everything else becomes a penalty.

    **Arguments:**

    - `problem`: the problem.
    - `harmonics`: of periodic and mirrored axes.
    """
    equation = problem.equation
    values = parameter_values(problem)
    scales = [_scale(problem, u, values) for u in equation.unknowns]
    mirrored = [c for c in equation.space if _is_mirrored(problem, c, scales, values)]
    forms, penalties = [], []
    for i, unknown in enumerate(equation.unknowns):
        form, left = _unknown_form(problem, i, unknown, scales[i], values, mirrored)
        forms.append(form)
        penalties += left
    embedding = _embedding(problem, mirrored, harmonics)
    return Form(embedding, embedding.parts[-1].size, tuple(forms), tuple(penalties))


def parameter_values(problem: Any) -> dict[str, float]:
    """Known parameters and the starts of unknown ones."""
    starts = {name: u.start for name, u in problem.unknown_parameters.items()}
    return {**problem.parameters, **starts}


def expression(problem: Any, text: Any) -> Expression:
    """A text (or number) of the problem as an `Expression`."""
    equation = problem.equation
    return Expression(str(text), equation.coordinates, tuple(equation.parameters))


def sample_box(problem: Any, count: int = 400) -> np.ndarray:
    """Points that fill the box, always the same: `(count, d)`."""
    low, high = _box(problem)
    return low + (high - low) * np.random.default_rng(0).random((count, low.size))


def _box(problem):
    ends = np.array([problem.domain[c] for c in problem.equation.coordinates], float)
    return ends[:, 0], ends[:, 1]


def _evaluate(function: Expression, points: np.ndarray, values) -> np.ndarray:
    batch = jnp.asarray(points, jnp.zeros(()).dtype)
    return np.asarray(jax.vmap(lambda p: function(p, values))(batch))


def _initial(problem, unknown: str) -> tuple[Expression, ...]:
    equation = problem.equation
    order = equation.time_orders[unknown]
    names = [f"{unknown}_{equation.time * k}" if k else unknown for k in range(order)]
    return tuple(expression(problem, problem.initial[n]) for n in names)


def _conditions(problem, unknown: str):
    """Every wall condition of an unknown: axis, side (0 or 1), place, condition."""
    equation = problem.equation
    for axis, name in enumerate(equation.coordinates):
        walls = problem.boundary.get(name)
        if walls is None or walls == "periodic":
            continue
        for side, conditions in enumerate((walls.lower, walls.upper)):
            for condition in conditions:
                if condition.unknown == unknown:
                    yield axis, side, float(problem.domain[name][side]), condition


def _is_value(condition) -> bool:
    return list(condition.coefficients) == [0]


def _scale(problem, unknown: str, values) -> float:
    """The size of an unknown, from what is given of it."""
    points = sample_box(problem)
    sizes = []
    for function in _initial(problem, unknown)[:1]:
        sizes.append(np.max(np.abs(_evaluate(function, points, values))))
    for axis, _, place, condition in _conditions(problem, unknown):
        if _is_value(condition):
            there = points.copy()
            there[:, axis] = place
            wall = _wall_value(problem, condition)
            sizes.append(np.max(np.abs(_evaluate(wall, there, values))))
    if problem.data is not None:
        column = problem.equation.unknowns.index(unknown)
        sizes.append(np.nanmax(np.abs(measured_values(problem)[:, column]), initial=0.0))
    size = float(max(sizes, default=1.0))
    return size if math.isfinite(size) and size > 1e-8 else 1.0


def measured_values(problem: Any) -> np.ndarray:
    """Measured values `(n, c)` of all unknowns, NaN where there are none."""
    return np.asarray(problem.data.values, float)


def _wall_value(problem, condition) -> Expression:
    return expression(problem, f"({condition.value}) / ({condition.coefficients[0]})")


def _is_mirrored(problem, coordinate: str, scales, values) -> bool:
    """Whether all unknowns have zero slope on both walls of an axis."""
    if problem.boundary.get(coordinate) in (None, "periodic"):
        return False
    axis = problem.equation.coordinates.index(coordinate)
    points = sample_box(problem, 50)
    length = float(np.diff(problem.domain[coordinate])[0])
    for unknown, scale in zip(problem.equation.unknowns, scales, strict=True):
        mine = [c for c in _conditions(problem, unknown) if c[0] == axis]
        if len(mine) != 2 or {side for _, side, _, _ in mine} != {0, 1}:
            return False
        for _, _, place, condition in mine:
            if list(condition.coefficients) != [1]:
                return False
            points[:, axis] = place
            slope = expression(problem, condition.value)
            if np.any(_evaluate(slope, points, values) != 0):
                return False
            for function in _initial(problem, unknown):
                gradient = jax.vmap(jax.grad(lambda p, f=function: f(p, values)))
                slopes = gradient(jnp.asarray(points, jnp.zeros(()).dtype))[:, axis]
                if float(jnp.max(jnp.abs(slopes))) * length > 1e-4 * scale:
                    return False
    return True


def _unknown_form(problem, number, unknown, scale, values, mirrored):
    equation = problem.equation
    time = None
    if equation.time is not None:
        axis = equation.coordinates.index(equation.time)
        start, end = problem.domain[equation.time]
        time = (axis, float(start), float(end))
    form = Ansatz(scale, _initial(problem, unknown), time)
    walls: dict[int, list[Expression | None]] = {}
    penalties = []
    for axis, side, place, condition in _conditions(problem, unknown):
        if equation.coordinates[axis] in mirrored:
            continue
        if _is_value(condition):
            pair = walls.setdefault(axis, [None, None])
            if pair[side] is None:
                pair[side] = _wall_value(problem, condition)
                continue
        penalties.append(_penalty(problem, number, axis, place, condition, scale))
    built_in = []
    for axis, (at_lower, at_upper) in walls.items():
        low, high = problem.domain[equation.coordinates[axis]]
        built_in.append(WallValues(axis, float(low), float(high), at_lower, at_upper))
    full = dataclasses.replace(form, walls=tuple(built_in))
    if _fits(problem, full, scale, values):
        return full, penalties
    for axis, _, place, condition in _conditions(problem, unknown):
        if _is_value(condition) and equation.coordinates[axis] not in mirrored:
            penalties.append(_penalty(problem, number, axis, place, condition, scale))
    return form, penalties


def _penalty(problem, number, axis, place, condition, scale) -> Penalty:
    coefficients = tuple(
        (order, expression(problem, a)) for order, a in condition.coefficients.items()
    )
    length = float(np.diff(problem.domain[problem.equation.coordinates[axis]])[0])
    order = max(condition.coefficients)
    return Penalty(
        number,
        axis,
        place,
        coefficients,
        expression(problem, condition.value),
        scale / (length / 2) ** order,
    )


def _fits(problem, form: Ansatz, scale: float, values) -> bool:
    """Whether values on walls agree with each other and with the initial values."""
    points = sample_box(problem, 50)

    def miss(points, wanted):
        batch = jnp.asarray(points, jnp.zeros(()).dtype)
        zero = jnp.zeros((), batch.dtype)
        got = jax.vmap(lambda p: form(zero, p, values))(batch)
        return float(np.max(np.abs(np.asarray(got) - wanted)))

    checks = []
    for wall in form.walls:
        for place, value in wall.sides():
            there = points.copy()
            there[:, wall.axis] = place
            checks.append((there, _evaluate(value, there, values)))
    if form.time is not None and form.initial:
        there = points.copy()
        there[:, form.time[0]] = form.time[1]
        checks.append((there, _evaluate(form.initial[0], there, values)))
    return all(miss(*check) <= _CORNER * scale for check in checks)


def _embedding(problem, mirrored, harmonics: int) -> Chain:
    names = problem.equation.coordinates
    low, high = _box(problem)
    even = [c in mirrored for c in names]
    periods = [
        2.0 if problem.boundary.get(c) == "periodic" or e else None
        for c, e in zip(names, even, strict=True)
    ]
    # A mirrored axis with its image is one period; its lower wall comes to lie at 0.
    start = np.where(even, 2 * low - high, low)
    return Chain(
        (
            Rescale(start.tolist(), high.tolist()),
            PeriodicEmbedding(periods, harmonics, even=even),
        )
    )
