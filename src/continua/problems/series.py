"""The problem of observed series: what follows, and which dynamics lie behind."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from continua.core.errors import InputError, suggest
from continua.equations import Equation
from continua.problems.checks import check_parameters
from continua.problems.conditions import Unknown, as_number
from continua.problems.problem import AbstractProblem
from continua.problems.values import AbstractValue


@dataclasses.dataclass(frozen=True, eq=False)
class Series(AbstractValue):
    """Measurements in time, uneven and with gaps.

    **Arguments:**

    - `name`: of the series.
    - `t`: times `(T,)`, increasing.
    - `y`: `(T, C)`, a column for each variable, NaN in gaps.

    **Raises:** `InputError` for times that are repeated, not finite or out of order,
    and for other shapes.
    """

    name: str
    t: np.ndarray
    y: np.ndarray

    def __post_init__(self):
        where = f"series '{self.name}'"
        t, y = np.array(self.t, float), np.array(self.y, float)
        if t.ndim != 1 or y.ndim != 2 or len(t) != len(y):
            raise InputError(
                f"times of shape {t.shape} and values of shape {y.shape}, expected (T,) and (T, C)",
                where=where,
            )
        if not np.all(np.isfinite(t)) or np.any(np.isinf(y)):
            raise InputError("times and values must be finite", where=where, fix="gaps are NaN")
        if np.any(np.diff(t) <= 0):
            place = t[1:][np.diff(t) <= 0][0]
            raise InputError(
                f"the time {place:g} is repeated or out of order",
                where=where,
                fix="sort by time, one row for each time",
            )
        object.__setattr__(self, "t", t)
        object.__setattr__(self, "y", y)

    def rows(self, keep: np.ndarray) -> "Series":
        """The series at some of its times.

        **Arguments:**

        - `keep`: `(T,)`, true for the rows that stay.
        """
        return Series(self.name, self.t[keep], self.y[keep])


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesProblem(AbstractProblem):
    """Observed series, and perhaps a part of the equation behind them.

    **Arguments:**

    - `name`, `title`: a short name and a line for people.
    - `variables`: names of the measured columns.
    - `time`: the name of the time column.
    - `series`: one or several `Series`.
    - `split`: the last time that a method may see; what follows is held out. `None`
      holds nothing out.
    - `equation`: the known part, an ordinary differential equation, or `None`.
    - `parameters`, `unknown_parameters`: of it.
    - `citation`: a key of `core/refs.bib`; `notes`: what is hard about it.

    **Raises:** `InputError`, in one line with place and fix, where the parts disagree.
    """

    name: str
    title: str
    variables: tuple[str, ...]
    time: str
    series: tuple[Series, ...]
    split: float | None = None
    equation: Equation | None = None
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)
    unknown_parameters: Mapping[str, Unknown] = dataclasses.field(default_factory=dict)
    citation: str = ""
    notes: str = ""

    kind: ClassVar[str] = "series"

    def __post_init__(self):
        for name in ("variables", "series"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_series(self)
        if self.split is not None:
            split = as_number(self.split, "series.split", finite=False)
            object.__setattr__(self, "split", split)
            if not any(len(s.t) for s in self.training()):
                first = min(float(s.t[0]) for s in self.series if len(s.t))
                raise InputError(
                    f"no measurement lies at or before the split {split:g}",
                    where="series.split",
                    fix=f"the first time is {first:g}",
                )
        known, unknown = _check_equation(self)
        object.__setattr__(self, "parameters", known)
        object.__setattr__(self, "unknown_parameters", unknown)

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """All times of all series as `t`, with `series` before it where there are
        several."""
        times = np.unique(np.concatenate([s.t for s in self.series]))
        if len(self.series) == 1:
            return {"t": times}
        return {"series": np.arange(float(len(self.series))), "t": times}

    def training(self) -> tuple[Series, ...]:
        """Each series up to the split."""
        if self.split is None:
            return self.series
        return tuple(s.rows(s.t <= self.split) for s in self.series)

    def held_out(self) -> tuple[Series, ...]:
        """Each series after the split; empty ones where there is none."""
        end = np.inf if self.split is None else self.split
        return tuple(s.rows(s.t > end) for s in self.series)


def _check_series(problem: SeriesProblem) -> None:
    if not problem.series or not all(len(s.t) for s in problem.series):
        raise InputError("a series without rows", where="series", fix="give at least one row")
    if not problem.variables:
        raise InputError("no variables", where="series.variables", fix="name the columns")
    if len(set(problem.variables)) < len(problem.variables):
        raise InputError("a variable is named twice", where="series.variables")
    for series in problem.series:
        if series.y.shape[1] != len(problem.variables):
            raise InputError(
                f"{series.y.shape[1]} columns for {len(problem.variables)} variables "
                f"({', '.join(problem.variables)})",
                where=f"series '{series.name}'",
            )
    values = np.concatenate([s.y for s in problem.series])
    for i, name in enumerate(problem.variables):
        if not np.any(np.isfinite(values[:, i])):
            raise InputError(
                f"the variable '{name}' holds no number",
                where="series",
                fix="leave it out of variables",
            )


def _check_equation(problem: SeriesProblem) -> tuple[dict, dict]:
    equation = problem.equation
    if equation is None:
        if problem.parameters or problem.unknown_parameters:
            raise InputError(
                "parameters without an equation", where="parameters", fix="write the [equation]"
            )
        return {}, {}
    if equation.time is None or equation.space:
        raise InputError(
            "the known part of a series must be an ordinary differential equation in time",
            where="equation.coordinates",
            fix='write coordinates = ["t"]',
        )
    states = equation.first_order().states
    for name in problem.variables:
        if name not in states:
            raise InputError(
                f"the variable '{name}' is no unknown of the equation",
                where="series.variables",
                fix=suggest(name, states),
            )
    return check_parameters(equation, problem.parameters, problem.unknown_parameters)
