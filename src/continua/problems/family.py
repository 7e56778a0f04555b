"""The problem of a family: a distribution of input functions, and what becomes of them."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError, suggest
from continua.problems.conditions import as_number
from continua.problems.equation import NODES, EquationProblem
from continua.problems.kept import kept
from continua.problems.problem import AbstractProblem
from continua.problems.random_fields import GaussianField, LikeInitial
from continua.problems.stepped import Stepped
from continua.problems.stored import StoredArray
from continua.problems.values import AbstractValue

Functions = np.ndarray | StoredArray


@dataclasses.dataclass(frozen=True, eq=False)
class FamilyData(AbstractValue):
    """Pairs of functions on a uniform grid.

    **Arguments:**

    - `train`, `test`: inputs `(n, c, *N)` and outputs `(n, k, *N)`, in memory or read
      from a file when they are asked for.
    - `seconds`: that making them took, 0 for those of a file.
    """

    train: tuple[Functions, Functions]
    test: tuple[Functions, Functions]
    seconds: float = 0.0

    silent: ClassVar[tuple[str, ...]] = ("seconds",)


@dataclasses.dataclass(frozen=True, eq=False)
class FamilyProblem(AbstractProblem):
    """Input functions drawn from a distribution, output functions by a classical solver.

    Function `i` of a part does not depend on how many there are, and values at a node
    do not depend on how many nodes there are.

    **Arguments:**

    - `name`, `title`: a short name and a line for people.
    - `base`: the `EquationProblem` that is solved, periodic and in time; `None` where
      the pairs are `stored`.
    - `domain`, `boundary`, `space`: of the functions; those of `base` by default.
    - `inputs`, `outputs`: names of channels; by default the states of `base` (unknowns
      first) and the parameters that vary, and its unknowns at each of the later times;
      those that have a time derivative.
    - `times`: the initial time and those of the outputs; begin and end by default.
    - `num_points`: nodes an axis.
    - `num_train`, `num_test`: functions of each part, 1000 and 100.
    - `seed`: of the draws, 0.
    - `distribution`: of the initial states.
    - `parameter_ranges`: low and high of the parameters of `base` that are drawn anew
      for each function, evenly between them; none. They are inputs, the same everywhere.
    - `tolerance`: largest relative change when the solver is refined, 1e-6.
    - `stored`: pairs of a data file, in place of those that `base` would give.
    - `citation`: a key of `core/refs.bib`; `notes`: what is hard about it.

    **Raises:** `InputError` where the parts do not fit.
    """

    name: str
    title: str
    base: EquationProblem | None = None
    domain: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    boundary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    space: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    num_points: int = 256
    num_train: int = 1000
    num_test: int = 100
    seed: int = 0
    distribution: GaussianField | LikeInitial = GaussianField()
    parameter_ranges: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-6
    stored: FamilyData | None = None
    citation: str = ""
    notes: str = ""

    kind: ClassVar[str] = "family"

    def __post_init__(self):
        points = 8 if self.stored is None else 2
        for name, least in (("num_points", points), ("num_train", 1), ("num_test", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"got {value}, expected {least} or more", where=f"family.{name}")
        fields = _of_base(self) if self.stored is None else _of_stored(self)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """The number of the test function as `sample`, then the nodes of each axis."""
        grid = {"sample": np.arange(float(self.num_test))}
        for name, count in zip(self.space, self.shape, strict=True):
            low, high = self.domain[name]
            periodic = self.boundary.get(name) == "periodic"
            grid[name] = np.linspace(low, high, count, endpoint=not periodic)
        return grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes of each axis."""
        if self.stored is not None:
            return self.stored.test[0].shape[2:]
        return (self.num_points,) * len(self.space)

    def data(self) -> FamilyData:
        """The pairs, computed once for each value of the problem, with the seconds of that.

        **Raises:** `InputError` where a solve diverges.
        """
        return self.stored if self.stored is not None else _computed(self)

    def initial_of(self, problem: EquationProblem) -> np.ndarray:
        """The initial state of a problem as an input `(s, *N)` of this family.

        **Arguments:**

        - `problem`: of the equation of `base`.
        """
        from continua.problems.generate import initial_state

        states = initial_state(problem, self.evaluation_grid())
        values = problem.all_parameters()
        return np.stack([*states, *(np.full(self.shape, values[n]) for n in self.parameter_ranges)])

    @staticmethod
    def around(
        problem: EquationProblem, *, num_train: int = 200, num_test: int = 20, frames: int = 25
    ) -> "FamilyProblem":
        """The family of initial states like the given one, up to several times.

        **Arguments:**

        - `problem`: periodic and in time.
        - `num_train`, `num_test`: functions of each part, 200 and 20.
        - `frames`: output times, 25.

        **Raises:** `InputError` where the problem is steady, has walls or unknowns.
        """
        space = problem.equation.space
        times = problem.domain.get(problem.equation.time or "", (0.0, 1.0))
        return FamilyProblem(
            name=f"{problem.name}_family",
            title=f"{problem.title}, from initial states like the given one",
            base=dataclasses.replace(problem, reference=None),
            times=tuple(float(t) for t in np.linspace(times[0], times[1], frames + 1)),
            num_points=min([problem.num_points.get(c, NODES[len(space)]) for c in space] or [128]),
            num_train=num_train,
            num_test=num_test,
            distribution=LikeInitial(),
            tolerance=1e-4,  # far below what an operator learns from some hundred functions
        )


@functools.lru_cache(maxsize=4)
def _computed(family: FamilyProblem) -> FamilyData:
    from continua.problems.generate import generate

    def make() -> FamilyData:
        with stopwatch() as clock:
            data = generate(family)
        return dataclasses.replace(data, seconds=clock.seconds)

    return kept(family, make)


def input_names(base: EquationProblem) -> tuple[str, ...]:
    """The states of a problem, those that are unknowns first.

    **Arguments:**

    - `base`: in time.
    """
    unknowns = stepped_unknowns(base)
    return (*unknowns, *(s for s in base.states() if s not in unknowns))


def stepped_unknowns(base: EquationProblem) -> tuple[str, ...]:
    """The unknowns that have a time derivative: of a flow its vorticity, from which the
    stream function follows at every instant.

    **Arguments:**

    - `base`: in time.
    """
    states = base.states()
    return tuple(u for u in base.equation.unknowns if u in states)


def _of_base(family: FamilyProblem) -> dict[str, Any]:
    base = family.base
    where = "family.base"
    if not isinstance(base, EquationProblem):
        raise InputError("needs an equation or stored pairs", where=where)
    equation = base.equation
    if equation.time is None or not 1 <= len(equation.space) <= 2:
        raise InputError("needs an equation in time and 1 or 2 space axes", where=where)
    for axis in equation.space:
        if base.boundary.get(axis) != "periodic":
            raise InputError(f"the axis '{axis}' is not periodic", where=where)
    if base.unknown_parameters:
        raise InputError("has unknown parameters", where=where, fix="give them values")
    if (missing := Stepped(base).missing) is not None:
        raise InputError(f"'{missing}' has no time derivative", where=where)
    unknowns = stepped_unknowns(base)
    start, end = base.domain[equation.time]
    times = tuple(float(t) for t in family.times) or (start, end)
    inside = times[0] == start and times[-1] <= end + 1e-9 * (end - start)
    if len(times) < 2 or not inside or any(np.diff(times) <= 0):
        raise InputError(
            f"times must increase from {start:g} to {end:g} at most", where="family.times"
        )
    if len(times) == 2:
        outputs = unknowns
    else:
        outputs = tuple(f"{u}_{i}" for i in range(1, len(times)) for u in unknowns)
    ranges = _ranges(family.parameter_ranges, base)
    names = (*input_names(base), *ranges)
    fixed = {"inputs": names, "outputs": tuple(outputs), "space": equation.space}
    for name, value in fixed.items():
        if tuple(getattr(family, name)) not in ((), value):
            raise InputError(
                f"must be ({', '.join(value)}), as the equation says", where=f"family.{name}"
            )
    domain = {c: base.domain[c] for c in equation.space}
    found = {"times": times, "domain": domain, "parameter_ranges": ranges}
    return {**fixed, **found, "boundary": dict(base.boundary)}


def _ranges(
    ranges: Mapping[str, tuple[float, ...]], base: EquationProblem
) -> dict[str, tuple[float, float]]:
    found = {}
    for name, ends in ranges.items():
        where = f"family.parameter_ranges.{name}"
        if name not in base.parameters:
            raise InputError(
                "is no parameter of the equation", where=where, fix=suggest(name, base.parameters)
            )
        try:
            low, high = (as_number(end, where) for end in ends)
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"got {ends!r}, expected low and high", where=where) from error
        if not low < high:
            raise InputError(f"[{low:g}, {high:g}] is empty", where=where, fix="low before high")
        found[name] = (low, high)
    return found


def _of_stored(family: FamilyProblem) -> dict[str, Any]:
    data, where = family.stored, "family.stored"
    assert data is not None
    shapes = {a.shape[2:] for pair in (data.train, data.test) for a in pair}
    if len(shapes) != 1 or len(next(iter(shapes))) != len(family.space):
        raise InputError("the functions are not all on one grid", where=where)
    for pair in (data.train, data.test):
        if len(pair[0]) != len(pair[1]) or not len(pair[0]):
            raise InputError("needs an output for each input, and one at least", where=where)
        # What is read from a file later is checked when it is read.
        if not all(np.all(np.isfinite(a)) for a in pair if isinstance(a, np.ndarray)):
            raise InputError("the functions hold values that are not finite", where=where)
    for names, array in zip((family.inputs, family.outputs), data.train, strict=True):
        if len(names) != array.shape[1]:
            raise InputError(f"{array.shape[1]} channels for {len(names)} names", where=where)
    (shape,) = shapes
    if family.num_points not in (256, shape[0]):
        raise InputError("stored functions have the grid of their file", where="family.num_points")
    return {
        "num_train": len(data.train[0]),
        "num_test": len(data.test[0]),
        "num_points": shape[0],
        "space": tuple(family.space),
        "inputs": tuple(family.inputs),
        "outputs": tuple(family.outputs),
        "domain": {c: tuple(map(float, family.domain[c])) for c in family.space},
        "boundary": dict(family.boundary),
    }
