"""What answers are judged by: exact or very accurate solutions, and how we know."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from continua.core.errors import InputError, suggest
from continua.equations import Scope, parse_expression
from continua.problems.conditions import as_formula, as_number
from continua.problems.exact import burgers, hamilton_jacobi
from continua.problems.exact_mechanics import bouncing_ball, delayed_feedback, kepler, pendulum
from continua.problems.formulas import compiled, evaluate
from continua.problems.values import AbstractValue

_INITIAL_GAP = 1e-6  # relative, by which a reference may miss the initial value
EXACT: dict[str, Callable[..., np.ndarray]] = {
    "bouncing_ball": bouncing_ball,
    "delayed_feedback": delayed_feedback,
    "kepler": kepler,
    "pendulum": pendulum,
    "burgers": burgers,
    "hamilton_jacobi": hamilton_jacobi,
}


class AbstractReference(AbstractValue, abc.ABC):
    """A solution that is known from elsewhere; callable as a `Solution` is."""

    @property
    @abc.abstractmethod
    def error(self) -> float:
        """Estimated relative L2 error."""

    @property
    @abc.abstractmethod
    def evidence(self) -> str:
        """How the error is known."""

    @abc.abstractmethod
    def values(self, *coordinates: Any) -> np.ndarray:
        """The unknowns at points given by one array a coordinate: `(c, *shape)`.

        **Arguments:**

        - `coordinates`: scalars or arrays, which broadcast.
        """

    @abc.abstractmethod
    def adapted(self, problem: Any) -> "AbstractReference | None":
        """This reference for a problem that may have been changed since.

        **Arguments:**

        - `problem`: an `EquationProblem`.

        **Raises:** `InputError` where the reference cannot be one of this problem.
        """

    def __call__(self, *coordinates: Any) -> np.ndarray:
        """As `values`, without the leading axis where there is one unknown."""
        values = self.values(*coordinates)
        return values[0, ...] if len(values) == 1 else values


class _AbstractExact(AbstractReference):
    """An exact solution with parameters, whose accuracy is stated."""

    parameters: Mapping[str, float]
    accuracy: float
    source: str

    def adapted(self, problem: Any) -> AbstractReference:
        return _with_parameters(self, problem)

    @property
    def error(self) -> float:
        return self.accuracy

    @property
    def evidence(self) -> str:
        return self.source


@dataclasses.dataclass(frozen=True, eq=False)
class FormulaReference(_AbstractExact):
    """An exact solution in closed form.

    **Arguments:**

    - `formulas`: text in coordinates and parameters for each unknown, in their order.
    - `coordinates`: names, in the order of the equation.
    - `parameters`: values of the parameters.
    - `accuracy`: relative L2 error, by which the formula misses the problem; 1e-15.
    - `source`: how the accuracy is known.

    **Raises:** `InputError` for text outside the grammar.
    """

    formulas: Mapping[str, str]
    coordinates: tuple[str, ...]
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)
    accuracy: float = 1e-15
    source: str = "closed form, evaluated in double precision"

    def __post_init__(self):
        scope = Scope(tuple(self.coordinates), (), tuple(self.parameters))
        formulas = {}
        for name, text in self.formulas.items():
            formulas[name] = as_formula(text, f"reference.{name}")
            parse_expression(formulas[name], scope, where=f"reference.{name}")
        object.__setattr__(self, "formulas", formulas)
        accuracy = as_number(self.accuracy, "reference.accuracy")
        object.__setattr__(self, "accuracy", accuracy)

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = points_of(self.coordinates, coordinates)
        names, numbers = tuple(self.parameters), tuple(self.parameters.values())
        rows = []
        for text in self.formulas.values():
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                value = compiled(text, tuple(self.coordinates), names)(*arrays, *numbers)
            rows.append(np.broadcast_to(np.asarray(value, float), arrays[0].shape))
        return np.stack(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class AnalyticReference(_AbstractExact):
    """An exact solution that takes a program, such as a quadrature.

    **Arguments:**

    - `name`: of a function in `EXACT`, which takes one array a coordinate and the
      parameters by name, and returns `(c, *shape)`.
    - `coordinates`: names, in the order of the equation.
    - `parameters`: values of the parameters.
    - `accuracy`: its relative L2 error.
    - `source`: how the accuracy is known.

    **Raises:** `InputError` for an unknown name.
    """

    name: str
    coordinates: tuple[str, ...]
    parameters: Mapping[str, float]
    accuracy: float
    source: str

    def __post_init__(self):
        if self.name not in EXACT:
            raise InputError(
                f"unknown exact solution '{self.name}'",
                where="reference.exact",
                fix=suggest(str(self.name), EXACT),
            )

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = points_of(self.coordinates, coordinates)
        return EXACT[self.name](*arrays, **self.parameters)


@dataclasses.dataclass(frozen=True, eq=False)
class InsideReference(AbstractReference):
    """A reference without values outside of a region.

    **Arguments:**

    - `inner`: the reference, of all points.
    - `region`: an `AbstractRegion`.
    - `axes`: which coordinates are the place in it.
    """

    inner: AbstractReference
    region: Any
    axes: tuple[int, int]

    @property
    def error(self) -> float:
        return self.inner.error

    @property
    def evidence(self) -> str:
        return self.inner.evidence

    def adapted(self, problem: Any) -> AbstractReference | None:
        return self.inner.adapted(problem)

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = np.broadcast_arrays(*(np.asarray(c, float) for c in coordinates))
        points = np.stack([arrays[axis].reshape(-1) for axis in self.axes], axis=-1)
        inside = self.region.contains(points).reshape(arrays[0].shape)
        # Where nothing is asked, the first point inside stands in: formulas may fail there.
        asked = [np.where(inside, a, a[inside][0] if inside.any() else a) for a in arrays]
        found = np.array(self.inner.values(*asked), float)
        found[:, ~inside] = np.nan
        return found


def points_of(names: tuple[str, ...], coordinates: tuple[Any, ...]) -> list[np.ndarray]:
    """Coordinates as arrays of one shape.

    **Arguments:**

    - `names`: of the coordinates that are expected.
    - `coordinates`: what was given.

    **Raises:** `InputError` for a wrong number of them.
    """
    if len(coordinates) != len(names):
        raise InputError(
            f"got {len(coordinates)} coordinates, expected {len(names)} ({', '.join(names)})",
            where="reference(...)",
            fix="give one scalar or array for each",
        )
    return list(np.broadcast_arrays(*(np.asarray(c, float) for c in coordinates)))


def _with_parameters(reference: Any, problem: Any) -> AbstractReference:
    """An exact solution with the numbers of a problem, and a look at its initial values."""
    values = {n: problem.parameters.get(n, v) for n, v in reference.parameters.items()}
    if values != dict(reference.parameters):
        reference = dataclasses.replace(reference, parameters=values)
    time = problem.equation.time
    if time is None:
        return reference
    grid = problem.evaluation_grid()
    grid[time] = grid[time][:1]
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    at = dict(zip(grid, mesh, strict=True))
    numbers = {**problem.all_parameters(), **values}
    for row, name in zip(reference.values(*mesh), problem.equation.unknowns, strict=True):
        if name not in problem.initial:
            continue
        given = evaluate(problem.initial[name], problem.equation, at, numbers)
        gap, size = np.max(np.abs(row - given)), np.max(np.abs(given))
        if not gap <= _INITIAL_GAP * max(size, 1e-12) + reference.error:
            raise InputError(
                f"the reference of '{name}' misses its initial value by {gap:.3g}",
                where="reference",
                fix="correct one of them, or leave the reference out",
            )
    return reference


def check_times(times: np.ndarray, first: float, last: float) -> None:
    """Whether times lie where a numerical reference is known.

    **Arguments:**

    - `times`: any shape.
    - `first`, `last`: the ends.

    **Raises:** `InputError` where they do not.
    """
    slack = 1e-9 * (last - first)
    if np.min(times) < first - slack or np.max(times) > last + slack:
        raise InputError(
            f"the reference is known from {first:g} to {last:g}",
            where="reference(...)",
            fix="ask for times in between",
        )
