"""The problem of observed series: what follows, what is missing, what they are, and which
dynamics lie behind."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from continua.core.errors import InputError, suggest
from continua.equations import Equation
from continua.problems.checks import check_parameters, check_units
from continua.problems.conditions import Unknown, as_number
from continua.problems.problem import AbstractProblem
from continua.problems.values import AbstractValue

TASKS = ("forecast", "interpolate", "classify", "regress", "generate")
_WHOLE = ("classify", "regress", "generate")  # tasks that hold out whole series


@dataclasses.dataclass(frozen=True, eq=False)
class Series(AbstractValue):
    """Measurements in time, uneven and with gaps.

    **Arguments:**

    - `name`: of the series.
    - `t`: times `(T,)`, increasing.
    - `y`: `(T, C)`, a column for each variable, NaN in gaps.
    - `inputs`: `(T, D)`, what is known to act from outside; no column by default.
    - `hidden`: `(T, C)`, true for measurements that methods may not see; `None` hides none.

    **Raises:** `InputError` for times that are repeated, not finite or out of order,
    and for other shapes.
    """

    name: str
    t: np.ndarray
    y: np.ndarray
    inputs: np.ndarray | None = None
    hidden: np.ndarray | None = None

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
        _check_beside(self, where)

    def rows(self, keep: np.ndarray) -> "Series":
        """The series at some of its times.

        **Arguments:**

        - `keep`: `(T,)`, true for the rows that stay.
        """
        beside = (None if a is None else a[keep] for a in (self.inputs, self.hidden))
        return Series(self.name, self.t[keep], self.y[keep], *beside)

    def seen(self) -> "Series":
        """The series as methods see it: gaps where it is hidden."""
        if self.hidden is None:
            return self
        return Series(self.name, self.t, np.where(self.hidden, np.nan, self.y), self.inputs)

    def answers(self) -> "Series":
        """What is hidden alone, at the times where there is any."""
        hidden = np.zeros(self.y.shape, bool) if self.hidden is None else self.hidden
        rows = hidden.any(axis=1)
        inputs = None if self.inputs is None else self.inputs[rows]
        return Series(self.name, self.t[rows], np.where(hidden, self.y, np.nan)[rows], inputs)


def _check_beside(series: Series, where: str) -> None:
    """Inputs and hidden marks have the rows of the values."""
    if series.inputs is not None:
        inputs = np.array(series.inputs, float)
        if inputs.ndim != 2 or len(inputs) != len(series.t):
            raise InputError(
                f"inputs of shape {inputs.shape} for {len(series.t)} times, expected (T, D)",
                where=where,
            )
        if not np.all(np.isfinite(inputs)):
            row = int(np.argwhere(~np.isfinite(inputs))[0, 0])
            ahead = not np.any(np.isfinite(series.y[row:]))
            cause = "future covariates missing: " if ahead else ""
            raise InputError(
                f"{cause}a known input has no value at time {series.t[row]:g}",
                where=where,
                fix="inputs must be known at all times: fill the gap, or make it a variable",
            )
        object.__setattr__(series, "inputs", inputs if inputs.shape[1] else None)
    if series.hidden is not None:
        hidden = np.array(series.hidden, bool)
        if hidden.shape != series.y.shape:
            raise InputError(
                f"hidden of shape {hidden.shape} for values of shape {series.y.shape}",
                where=where,
            )
        object.__setattr__(series, "hidden", hidden if hidden.any() else None)


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesProblem(AbstractProblem):
    """Observed series, and perhaps a part of the equation behind them.

    What is asked for is the `task`:

    - `"forecast"`: what follows after `split`;
    - `"interpolate"`: the values that are `hidden` in the series;
    - `"classify"`, `"regress"`: the target of the series that are `tested`, from whole series;
    - `"generate"`: new series of the same law, measured by those that are `tested`.

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
    - `task`: as above.
    - `targets`: of each series, its class (text) or a number.
    - `tested`: numbers of the series that are held out whole.
    - `inputs`: names of the columns of `Series.inputs`.
    - `statics`: what does not change in time, a number for each series, by name.
    - `units`: text by the name of a variable, an input, a static, the time or a parameter, for
      people.

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
    task: str = "forecast"
    targets: tuple[str | float, ...] = ()
    tested: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    statics: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    units: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    kind: ClassVar[str] = "series"

    def __post_init__(self):
        for name in ("variables", "series", "targets", "tested", "inputs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        statics = {k: tuple(float(x) for x in v) for k, v in self.statics.items()}
        object.__setattr__(self, "statics", statics)
        _check_series(self)
        _check_task(self)
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
        parameters = () if self.equation is None else self.equation.parameters
        named = (*self.variables, self.time, *self.inputs, *self.statics, *parameters)
        object.__setattr__(self, "units", check_units(self.units, named))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes among the targets, sorted; empty where they are no classes."""
        if self.task != "classify":
            return ()
        return tuple(sorted({str(t) for t in self.targets}))

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a solution has values of: the variables, the classes (their probabilities),
        or the target."""
        if self.task == "regress":
            return ("target",)
        return self.classes if self.task == "classify" else self.variables

    @property
    def learned(self) -> tuple[int, ...]:
        """Numbers of the series that a method may see."""
        return tuple(i for i in range(len(self.series)) if i not in set(self.tested))

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """All times of all series as `t`, with `series` before it where there are
        several; the numbers of the series alone where each has one target."""
        numbers = np.arange(float(len(self.series)))
        if self.task in ("classify", "regress"):
            return {"series": numbers}
        times = np.unique(np.concatenate([s.t for s in self.series]))
        if len(self.series) == 1 and self.task != "generate":
            return {"t": times}
        return {"series": numbers, "t": times}

    def training(self) -> tuple[Series, ...]:
        """What a method may see: the series that are not tested, up to the split, without
        what is hidden."""
        shown = tuple(self.series[i].seen() for i in self.learned)
        if self.split is None:
            return shown
        return tuple(s.rows(s.t <= self.split) for s in shown)

    def held_out(self) -> tuple[Series, ...]:
        """What answers are measured by: what is hidden, the series that are tested, or each
        series after the split; empty ones where nothing is held out."""
        if self.task == "interpolate":
            return tuple(s.answers() for s in self.series)
        if self.task in _WHOLE:
            return tuple(self.series[i] for i in self.tested)
        end = np.inf if self.split is None else self.split
        return tuple(s.rows(s.t > end) for s in self.series)


def _check_series(problem: SeriesProblem) -> None:
    if not problem.series or not all(len(s.t) for s in problem.series):
        raise InputError("a series without rows", where="series", fix="give at least one row")
    if not problem.variables:
        raise InputError("no variables", where="series.variables", fix="name the columns")
    columns = (*problem.variables, *problem.inputs)
    if len(set(columns)) < len(columns):
        raise InputError("a variable is named twice", where="series.variables")
    names = [s.name for s in problem.series]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(
            f"two series are named '{twice}'", where="series", fix="give each its own id"
        )
    for series in problem.series:
        found = 0 if series.inputs is None else series.inputs.shape[1]
        for what, have, want in (
            ("variables", series.y.shape[1], problem.variables),
            ("inputs", found, problem.inputs),
        ):
            if have != len(want):
                raise InputError(
                    f"{have} columns for {len(want)} {what} ({', '.join(want)})",
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


def _check_task(problem: SeriesProblem) -> None:
    """The parts that a task needs are there, and those that it cannot use are not."""
    task, count = problem.task, len(problem.series)
    if task not in TASKS:
        raise InputError(f"unknown task '{task}'", where="series.task", fix=suggest(task, TASKS))
    if problem.tested and task not in _WHOLE:
        raise InputError(
            f"to {task} takes no series that are tested whole",
            where="series.tested",
            fix="give a split, or hide values",
        )
    strange = [i for i in problem.tested if not 0 <= i < count]
    if strange or len(set(problem.tested)) == count:
        cause = f"there is no series {strange[0]}" if strange else "every series is tested"
        raise InputError(cause, where="series.tested", fix=f"number them from 0 to {count - 1}")
    for name, values in problem.statics.items():
        if len(values) != count or not np.all(np.isfinite(values)):
            raise InputError(
                f"'{name}' has {len(values)} numbers for {count} series, all must be finite",
                where="series.statics",
            )
    if task in ("classify", "regress"):
        _check_targets(problem)
    elif problem.targets:
        raise InputError(
            f"to {task} needs no targets", where="series.targets", fix='write task = "classify"'
        )
    if task == "interpolate" and all(s.hidden is None for s in problem.series):
        raise InputError(
            "nothing is hidden, so that no answer could be measured",
            where="series.hidden",
            fix="hide some values: problems.hide(problem, 0.2)",
        )


def _check_targets(problem: SeriesProblem) -> None:
    if len(problem.targets) != len(problem.series):
        raise InputError(
            f"{len(problem.targets)} targets for {len(problem.series)} series",
            where="series.targets",
            fix="give each series one",
        )
    if problem.task == "regress":
        try:
            numbers = tuple(float(x) for x in problem.targets)
        except ValueError as error:
            raise InputError(
                str(error), where="series.targets", fix='write task = "classify" for classes'
            ) from error
        if not np.all(np.isfinite(numbers)):
            raise InputError("a target is not finite", where="series.targets")
        object.__setattr__(problem, "targets", numbers)
        return
    object.__setattr__(problem, "targets", tuple(str(x) for x in problem.targets))
    seen = {problem.targets[i] for i in problem.learned}
    if len(seen) < 2:
        raise InputError(
            f"all series that may be seen are of the class '{next(iter(seen))}'",
            where="series.targets",
            fix="at least two classes are needed",
        )
    unknown = [problem.targets[i] for i in problem.tested if problem.targets[i] not in seen]
    if unknown:
        raise InputError(
            f"the class '{unknown[0]}' is tested, but no series to learn from has it",
            where="series.tested",
            fix=f"known classes: {', '.join(sorted(map(str, seen)))}",
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
