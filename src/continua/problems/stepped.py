"""What is stepped in time by series of waves, and the unknowns that follow from it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua.equations.projection import Projection, projection_form
from continua.equations.vorticity import Vorticity, vorticity_form
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate
from continua.problems.mirrored import mirrored, states_space
from continua.spaces import FourierSpace
from continua.spaces.sine_cosine import SineCosineStates


@dataclasses.dataclass(frozen=True)
class Stepped:
    """A problem in time, periodic or between walls that mirror it: every state of its
    equation, or the vorticity or the velocity of a flow alone.

    **Arguments:**

    - `problem`: of an equation.
    """

    problem: EquationProblem

    @functools.cached_property
    def flow(self) -> Vorticity | Projection | None:
        """The form of vorticity and stream function, or of velocity and pressure, where the
        equation has one."""
        equation = self.problem.equation
        return vorticity_form(equation) or projection_form(equation)

    @property
    def has_walls(self) -> bool:
        """Whether an axis is not periodic."""
        problem = self.problem
        return any(problem.boundary.get(c) != "periodic" for c in problem.equation.space)

    @property
    def unmirrored(self) -> str:
        """Why walls do not mirror the solution, empty where they do or there are none."""
        return mirrored(self.problem)[1] if self.has_walls else ""

    def space(self, nodes: int) -> FourierSpace | SineCosineStates:
        """A grid with as many nodes along each axis.

        **Arguments:**

        - `nodes`: of an axis.
        """
        problem, names = self.problem, self.problem.equation.space
        shape = (nodes,) * len(names)
        if self.has_walls:
            parities = mirrored(problem)[0]
            assert parities is not None, self.unmirrored
            return states_space(problem, parities, shape)
        lower, upper = zip(*(map(float, problem.domain[c]) for c in names), strict=True)
        return FourierSpace(names, lower, upper, shape)

    def unknowns_space(self, space: Any) -> Any:
        """The space that fields of the unknowns are interpolated on.

        **Arguments:**

        - `space`: of the states.
        """
        if isinstance(space, FourierSpace):
            return space
        names = self.problem.equation.unknowns
        return space.selected([self.states.index(name) for name in names])

    @property
    def missing(self) -> str | None:
        """An unknown that has no time derivative and does not follow from the others."""
        orders = self.problem.equation.time_orders
        return None if self.flow else next((u for u, order in orders.items() if not order), None)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what is stepped."""
        return self.problem.states()

    def split(self, space: Any):
        """Linear symbol and nonlinearity, as `Equation.split`.

        **Arguments:**

        - `space`: of the states.
        """
        return (self.flow or self.problem.equation).split(space)

    def start(self, axes: Mapping[str, np.ndarray]) -> np.ndarray:
        """The initial states, `(s, *N)`.

        **Arguments:**

        - `axes`: nodes of each space coordinate, 1-d.
        """
        problem, time = self.problem, str(self.problem.equation.time)
        mesh = np.meshgrid(*axes.values(), indexing="ij")
        start = np.full(mesh[0].shape, problem.domain[time][0])
        where = {time: start, **dict(zip(axes, mesh, strict=True))}
        values = problem.all_parameters()
        rows = [evaluate(problem.initial[s], problem.equation, where, values) for s in self.states]
        return np.stack(rows)

    def unknowns(self, space: Any, states: Any, times: Any, parameters: Any) -> Any:
        """Coefficients of the unknowns `(T, c, *Nf)` from those of states `(T, s, *Nf)`.

        **Arguments:**

        - `space`: of the states.
        - `states`: their coefficients.
        - `times`: `(T,)`.
        - `parameters`: a scalar for each.
        """
        if self.flow is None:
            order = [self.states.index(name) for name in self.problem.equation.unknowns]
            return states[:, jnp.array(order)]

        def whole(pair):
            t, y = pair
            return self._whole(space, t, y, parameters)

        # One after another: a pressure takes products at the nodes of every frame.
        return jax.lax.map(whole, (times, states))

    def unknown_slopes(
        self, space: Any, states: Any, slopes: Any, times: Any, parameters: Any
    ) -> Any:
        """Time derivatives of the unknowns from those of the states, as `unknowns`.

        **Arguments:**

        - `space`, `states`, `times`, `parameters`: as `unknowns`.
        - `slopes`: time derivatives of the states.
        """
        if self.flow is None:
            return self.unknowns(space, slopes, times, parameters)

        def moving(triple):
            t, y, slope = triple
            whole = lambda t, y: self._whole(space, t, y, parameters)  # noqa: E731
            return jax.jvp(whole, (t, y), (jnp.ones_like(t), slope))[1]

        return jax.lax.map(moving, (times, states, slopes))

    def _whole(self, space: Any, t: Any, states: Any, parameters: Any) -> Any:
        """All unknowns at one time, `(c, *Nf)`; the one that is not stepped follows."""
        assert self.flow is not None
        derived = self.flow.derived(space, t, states, parameters)
        rows = [
            states[self.states.index(u)] if u in self.states else derived
            for u in self.problem.equation.unknowns
        ]
        return jnp.stack(rows)
