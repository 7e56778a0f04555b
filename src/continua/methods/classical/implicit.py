r"""A linearly implicit Runge-Kutta method for stiff initial value problems.

    k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j) + h J sum_{j<=i} gamma_ij k_j + h d_i f_t,

`J = df/dy` at `(t, y)`: each stage a linear system, so that modes which die out fast do
not limit the step.
"""

import dataclasses
from typing import ClassVar

from continua.integrate import Rodas5P
from continua.methods.base import AbstractDirectMethod, Prepared, Support
from continua.methods.classical.runge_kutta import initial_value_problem, prepare_ode


@dataclasses.dataclass(frozen=True)
class ImplicitRungeKutta(AbstractDirectMethod):
    """The Rosenbrock method of Steinebach of order 5 with error control, for stiff
    ordinary equations.

    Evaluations count its eight stages a step, not the derivative.

    **Arguments:**

    - `rtol`, `atol`: tolerances of a step, 1e-8 and 1e-10.

    **Reference:** steinebach2023construction
    """

    rtol: float = 1e-8
    atol: float = 1e-10

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "steinebach2023construction"

    def supports(self, problem) -> Support:
        return initial_value_problem(problem, self.name)

    def ladder(self, problem) -> tuple["ImplicitRungeKutta", ...]:
        """`rtol` from 1e-2 to 1e-10."""
        return tuple(
            dataclasses.replace(self, rtol=10.0**-k, atol=10.0 ** -(k + 2))
            for k in (2, 4, 6, 8, 10)
        )

    def prepare(self, problem, *, key) -> Prepared:
        options = {"rtol": self.rtol, "atol": self.atol}
        return prepare_ode(self, problem, Rodas5P(), options, 10 * self.rtol, "other tolerances")
