"""What a method must beat: the mean, and that nothing changes."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from continua.core.solution import Solution
from continua.equations.expression import Expression
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support, asked
from continua.methods.classical import setup
from continua.problems import EquationProblem, FamilyProblem, SeriesProblem
from continua.problems.formulas import compiled, evaluate
from continua.problems.video import VideoProblem, look_up
from continua.spaces import AbstractSpace, FiniteDifferenceSpace, FourierSpace


@dataclasses.dataclass(frozen=True)
class Mean(AbstractDirectMethod):
    """One number for everything: the mean over space of the initial values, over walls
    of a steady problem's values, over time of a training series; for a family the mean
    output function, for videos the mean frame.

    **Reference:** hyndman2021forecasting
    """

    kind: ClassVar[str] = "trivial"
    reference: ClassVar[str] = "hyndman2021forecasting"

    def supports(self, problem) -> Support:
        if isinstance(problem, SeriesProblem):
            tasks = ("forecast", "interpolate", "classify", "regress")
            return asked(problem, self.name, tasks, takes=("inputs", "statics"))
        if not isinstance(problem, (EquationProblem, FamilyProblem, VideoProblem)):
            return Support(False, "Mean knows no problems of this kind")
        return _all_begin(problem)

    def ladder(self, problem) -> tuple["Mean", ...]:
        """Itself: there is nothing to refine."""
        return (self,)

    def prepare(self, problem, *, key) -> Prepared:
        if isinstance(problem, EquationProblem):
            steady = problem.equation.time is None
            found = _wall_means(problem) if steady else _initial_means(problem)
            return _prepared(self, problem, Constant(found))
        if isinstance(problem, SeriesProblem):
            if problem.task in ("classify", "regress"):
                return _prepared(self, problem, Constant(_mean_target(problem)))
            rows = [np.nanmean(s.y, axis=0) for s in _seen(problem)]
            return _prepared(self, problem, Rows(np.stack(rows)))
        if isinstance(problem, VideoProblem):
            mean = problem.training().mean(axis=(0, 1))
            return _prepared(self, problem, _still(problem, mean))
        outputs = problem.data().train[1]
        mean = outputs.mean(axis=0, keepdims=True).astype(float)
        many = np.broadcast_to(mean, (problem.num_test, *mean.shape[1:]))
        return _prepared(self, problem, Samples(many, _grid_space(problem)))


@dataclasses.dataclass(frozen=True)
class Persistence(AbstractDirectMethod):
    """Nothing changes: the initial values at all times, the last training value of a
    series, the last frame that was seen of a video; for a family the input function as the
    output.

    **Reference:** hyndman2021forecasting
    """

    kind: ClassVar[str] = "trivial"
    reference: ClassVar[str] = "hyndman2021forecasting"

    def supports(self, problem) -> Support:
        if isinstance(problem, EquationProblem):
            if problem.equation.time is None:
                return Support(False, "Persistence needs time, and the equation is steady")
            return _all_begin(problem)
        if isinstance(problem, FamilyProblem):
            if len(problem.outputs) % min(len(problem.inputs), len(problem.outputs)):
                return Support(False, "Persistence needs inputs and outputs of the same kind")
            return YES
        if isinstance(problem, SeriesProblem):
            return asked(problem, self.name, takes=("inputs", "statics"))
        if isinstance(problem, VideoProblem):
            return YES
        return Support(False, "Persistence knows no problems of this kind")

    def ladder(self, problem) -> tuple["Persistence", ...]:
        """Itself: there is nothing to refine."""
        return (self,)

    def prepare(self, problem, *, key) -> Prepared:
        if isinstance(problem, EquationProblem):
            return _prepared(self, problem, _initial_forever(problem))
        if isinstance(problem, SeriesProblem):
            rows = [_last(s.y) for s in _seen(problem)]
            return _prepared(self, problem, Rows(np.stack(rows)))
        if isinstance(problem, VideoProblem):
            return _prepared(self, problem, _still(problem, problem.seen()[:, -1]))
        inputs, outputs = problem.data().test
        count = outputs.shape[1]
        kept = min(inputs.shape[1], len(_unknowns(problem)), count)
        repeated = np.concatenate([inputs[:, :kept]] * (count // kept), axis=1).astype(float)
        return _prepared(self, problem, Samples(repeated, _grid_space(problem)))


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """The same values everywhere.

    **Arguments:**

    - `values`: `(c,)`.
    """

    values: np.ndarray

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`."""
        return np.broadcast_to(self.values, (len(points), len(self.values)))


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Constant values for each series.

    **Arguments:**

    - `values`: `(r, c)`; with several rows, the first column of a point is the row.
    """

    values: np.ndarray

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`."""
        points = np.asarray(points, float)
        if len(self.values) == 1:
            return np.broadcast_to(self.values, (len(points), self.values.shape[1]))
        return self.values[np.rint(points[:, 0]).astype(int)]


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Functions of space, one a sample.

    **Arguments:**

    - `values`: `(n, k, *N)`; the first column of a point is the sample.
    - `space`: where the nodes lie.
    """

    values: np.ndarray
    space: AbstractSpace

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, k)` at points `(m, 1 + d)`."""
        points = np.asarray(points, float)
        found = np.empty((len(points), self.values.shape[1]))
        samples = np.rint(points[:, 0]).astype(int)
        for i in np.unique(samples):
            rows = samples == i
            found[rows] = self.space.interpolate(self.values[i], points[rows, 1:])
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Stills:
    """One frame for each video.

    **Arguments:**

    - `frames`: `(k, H, W)`.
    - `numbers`: of the videos.
    """

    frames: np.ndarray
    numbers: tuple[int, ...]

    def __call__(self, points: Any) -> np.ndarray:
        """Brightness `(m, 1)` at points `(m, 4)`."""
        return look_up(self.frames[:, None], self.numbers, 1.0, points)


def _still(problem: VideoProblem, frames: np.ndarray) -> Stills:
    every = (len(problem.tested), *problem.frames.shape[2:])
    return Stills(np.broadcast_to(frames, every).astype(float), problem.tested)


@dataclasses.dataclass(frozen=True)
class Held:
    """Initial values at every time.

    **Arguments:**

    - `formulas`: one for each unknown.
    - `parameters`: a number for each.
    - `time_axis`, `start`: the column of time and the initial time.
    """

    formulas: tuple[Expression, ...]
    parameters: dict[str, float]
    time_axis: int
    start: float

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`."""
        columns = [np.asarray(c, float) for c in np.asarray(points).T]
        columns[self.time_axis] = np.full_like(columns[self.time_axis], self.start)
        rows = []
        for formula in self.formulas:
            function = compiled(formula.text, formula.coordinates, formula.parameters)
            values = function(*columns, *(self.parameters[p] for p in formula.parameters))
            rows.append(np.broadcast_to(np.asarray(values, float), columns[0].shape))
        return np.stack(rows, axis=-1)


def _all_begin(problem) -> Support:
    """Whether every unknown of an equation in time has an initial value."""
    if isinstance(problem, EquationProblem) and problem.equation.time is not None:
        for unknown in problem.equation.unknowns:
            if unknown not in problem.initial:
                return Support(False, f"there is no initial value of '{unknown}'")
    return YES


def _prepared(method, problem, evaluator) -> Prepared:
    grid = problem.evaluation_grid()

    def finish(_) -> Solution:
        return Solution(
            method=method.name,
            unknowns=tuple(_unknowns(problem)),
            coordinates=tuple(grid),
            grid=grid,
            evaluator=evaluator,
        )

    # What is timed is the evaluation: there is nothing to compute before it.
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    points = np.stack([m.reshape(-1) for m in mesh], axis=-1)
    return Prepared(evaluator, points, finish, traced=False)


def _unknowns(problem) -> tuple[str, ...]:
    if isinstance(problem, EquationProblem):
        return problem.equation.unknowns
    return problem.outputs


def _mean_target(problem: SeriesProblem) -> np.ndarray:
    """The share of each class, or the mean of the targets, among the series to learn from."""
    seen = [problem.targets[i] for i in problem.learned]
    if problem.task == "regress":
        return np.array([np.mean([float(t) for t in seen])])
    return np.array([np.mean([t == c for t in seen]) for c in problem.classes])


def _initial_forever(problem: EquationProblem) -> Held:
    equation = problem.equation
    names = equation.coordinates, tuple(equation.parameters)
    formulas = tuple(Expression(problem.initial[u], *names) for u in equation.unknowns)
    start = float(problem.domain[setup.time_of(problem)][0])
    return Held(
        formulas, problem.all_parameters(), equation.coordinates.index(equation.time), start
    )


def _initial_means(problem: EquationProblem) -> np.ndarray:
    grid = problem.evaluation_grid()
    state = setup.initial_state(problem, {c: grid[c] for c in problem.equation.space})
    rows = state[setup.unknown_rows(problem)]
    return rows.reshape(len(rows), -1).mean(axis=1)


def _wall_means(problem: EquationProblem) -> np.ndarray:
    """The mean of the given wall values of each unknown, 0 where none is given."""
    equation = problem.equation
    grid = problem.evaluation_grid()
    found: dict[str, list[np.ndarray]] = {u: [] for u in equation.unknowns}
    values = problem.all_parameters()
    for name, walls in problem.boundary.items():
        if walls == "periodic":
            continue
        for side, conditions in enumerate((walls.lower, walls.upper)):
            axes = {**grid, name: np.array([problem.domain[name][side]])}
            mesh = np.meshgrid(*(axes[c] for c in equation.coordinates), indexing="ij")
            where = dict(zip(equation.coordinates, mesh, strict=True))
            for condition in conditions:
                if list(condition.coefficients) == [0]:
                    text = f"({condition.value}) / ({condition.coefficients[0]})"
                    found[condition.unknown].append(evaluate(text, equation, where, values).ravel())
    return np.array([np.concatenate(f).mean() if f else 0.0 for f in found.values()])


def _seen(problem: SeriesProblem):
    """Each series up to the split; where one begins later, all series together."""
    training = problem.training()
    rows = [s for s in training if np.isfinite(s.y).any(axis=0).all()]
    return [s if np.isfinite(s.y).any(axis=0).all() else rows[0] for s in training]


def _last(y: np.ndarray) -> np.ndarray:
    """The last value of each column that is not a gap."""
    return np.array([column[np.isfinite(column)][-1] for column in y.T])


def _grid_space(problem: FamilyProblem) -> AbstractSpace:
    names = tuple(problem.space)
    lower, upper = (tuple(float(problem.domain[c][i]) for c in names) for i in (0, 1))
    shape = tuple(len(problem.evaluation_grid()[c]) for c in names)
    periodic = tuple(problem.boundary.get(c) == "periodic" for c in names)
    if all(periodic):
        return FourierSpace(names, lower, upper, shape)
    return FiniteDifferenceSpace(names, lower, upper, shape, periodic)
