"""The problem of a known equation: domain, conditions, and data where there are any."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from continua.equations import Equation
from continua.problems.checks import check_equation_problem
from continua.problems.conditions import Measurements, Unknown
from continua.problems.events import EventCondition, check_events
from continua.problems.problem import AbstractProblem
from continua.problems.reference import AbstractReference, InsideReference

TIMES = {True: 51, False: 201}  # evaluation times with space, and without
NODES = {0: 128, 1: 128, 2: 64, 3: 32}  # evaluation nodes an axis, by the number of space axes


@dataclasses.dataclass(frozen=True, eq=False)
class EquationProblem(AbstractProblem):
    """An equation on a box with everything that makes its solution one.

    **Arguments:**

    - `name`, `title`: a short name and a line for people.
    - `equation`: an `Equation`.
    - `domain`: `(low, high)` for each coordinate.
    - `parameters`: values of known parameters.
    - `unknown_parameters`: an `Unknown` for each that is to be found from `data`.
    - `initial`: text for each state (`u`, and `u_t` where the order in time is 2, ...).
    - `boundary`: `"periodic"` or `Walls` for each space coordinate; with a `geometry` a tuple
      of `Condition` (its first derivative along the outward normal) and `FluxCondition` for
      each label of its boundary.
    - `geometry`: an `AbstractRegion` of the plane, `None` for the whole box.
    - `means`: the mean over the domain of an unknown that equation and conditions leave free
      up to a constant, as between insulated walls.
    - `events`: an `EventCondition` for each jump of the states of an ordinary equation.
    - `data`: `Measurements`, or `None`.
    - `num_points`: of the evaluation grid, a coordinate; 201 times for an ordinary and
      51 for a partial equation, 128 nodes in one space dimension, 64 an axis in two and 32 in
      three.
    - `reference`: an `AbstractReference`, or `None`. One that came with other parameters
      is made anew; one that misses the initial values is refused.
    - `citation`: a key of `core/refs.bib`; `notes`: what is hard about it.
    - `units`: text by the name of an unknown, a coordinate or a parameter, for people; methods
      see numbers.

    **Raises:** `InputError`, in one line with place and fix, where anything of it is
    missing, contradicts itself or names what does not exist.
    """

    name: str
    title: str
    equation: Equation
    domain: Mapping[str, Any]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unknown_parameters: Mapping[str, Unknown] = dataclasses.field(default_factory=dict)
    initial: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    boundary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    geometry: Any = None
    means: Mapping[str, float] = dataclasses.field(default_factory=dict)
    events: tuple[EventCondition, ...] = ()
    data: Measurements | None = None
    num_points: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: Any = None
    citation: str = ""
    notes: str = ""
    units: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    kind: ClassVar[str] = "equation"

    def __post_init__(self):
        for name, value in check_equation_problem(self).items():
            object.__setattr__(self, name, value)
        events = check_events(self.equation, self.states(), self.events)
        object.__setattr__(self, "events", events)
        if isinstance(self.reference, AbstractReference):
            # `dataclasses.replace` hands on the reference of the problem before.
            reference = self.reference.adapted(self)
            if reference is not None and self.geometry is not None:
                axes = tuple(self.equation.coordinates.index(c) for c in self.equation.space)
                reference = InsideReference(reference, self.geometry, axes)
            object.__setattr__(self, "reference", reference)

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """Uniform nodes of each coordinate, ends included but for the upper end of a
        periodic axis."""
        space = self.equation.space
        grid = {}
        for name in self.equation.coordinates:
            default = NODES[len(space)] if name in space else TIMES[bool(space)]
            count = self.num_points.get(name, default)
            low, high = self.domain[name]
            periodic = self.boundary.get(name) == "periodic"
            grid[name] = np.linspace(low, high, count, endpoint=not periodic)
        return grid

    def inside(self, *coordinates: Any) -> np.ndarray:
        """Which points of space lie in the geometry; all of them where it is the box.

        **Arguments:**

        - `coordinates`: an array for each coordinate of the equation; they broadcast.
        """
        arrays = np.broadcast_arrays(*(np.asarray(c, float) for c in coordinates))
        if self.geometry is None:
            return np.ones(arrays[0].shape, bool)
        named = dict(zip(self.equation.coordinates, arrays, strict=True))
        points = np.stack([named[c].reshape(-1) for c in self.equation.space], axis=-1)
        return self.geometry.contains(points).reshape(arrays[0].shape)

    def all_parameters(self) -> dict[str, float]:
        """Known parameters, and the starts of unknown ones."""
        starts = {name: u.start for name, u in self.unknown_parameters.items()}
        return {**self.parameters, **starts}

    def states(self) -> tuple[str, ...]:
        """Names of the initial values: each unknown, then its time derivatives."""
        return initial_names(self.equation)


def initial_names(equation: Equation) -> tuple[str, ...]:
    """`u`, `u_t`, ... for each unknown, as often as its order in time.

    **Arguments:**

    - `equation`: in time or steady.
    """
    return tuple(
        f"{u}_{str(equation.time) * k}" if k else u
        for u, order in equation.time_orders.items()
        for k in range(order)
    )
