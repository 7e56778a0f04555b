"""What is stepped in time of a periodic problem, and the unknowns that follow from it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from continua.equations.vorticity import Vorticity, vorticity_form
from continua.problems.equation import EquationProblem
from continua.problems.formulas import evaluate
from continua.spaces import FourierSpace


@dataclasses.dataclass(frozen=True)
class Stepped:
    """A periodic problem in time: every state of its equation, or the vorticity alone.

    **Arguments:**

    - `problem`: of an equation.
    """

    problem: EquationProblem

    @functools.cached_property
    def flow(self) -> Vorticity | None:
        """The form of vorticity and stream function, where the equation has it."""
        return vorticity_form(self.problem.equation)

    @property
    def missing(self) -> str | None:
        """An unknown that has no time derivative and does not follow from the others."""
        orders = self.problem.equation.time_orders
        return None if self.flow else next((u for u, order in orders.items() if not order), None)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what is stepped."""
        return self.problem.states()

    def split(self, space: FourierSpace):
        """Linear symbol and nonlinearity, as `Equation.split`."""
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

    def unknowns(self, space: FourierSpace, states: Any) -> Any:
        """Coefficients of the unknowns `(T, c, *Nf)` from those of states `(T, s, *Nf)`."""
        rows = []
        for name in self.problem.equation.unknowns:
            if name in self.states:
                rows.append(states[:, self.states.index(name)])
            elif self.flow is not None:
                rows.append(self.flow.stream_function(space, states[:, 0]))
        return jnp.stack(rows, axis=1)
