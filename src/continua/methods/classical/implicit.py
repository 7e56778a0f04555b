r"""Implicit Runge-Kutta for stiff initial value problems.

    k_i = f(t + c_i h, y + h sum_{j <= i} a_ij k_j),

each stage a nonlinear system, so that modes which die out fast do not limit the step.
"""

import dataclasses
from typing import ClassVar

import jax
import numpy as np

from continua.core.solution import Solution
from continua.integrate import Diffrax
from continua.methods.base import AbstractDirectMethod, Prepared, Support
from continua.methods.classical.runge_kutta import (
    initial_value_problem,
    ode_program,
    prepare_ode,
)


@dataclasses.dataclass(frozen=True)
class ImplicitRungeKutta(AbstractDirectMethod):
    """The singly diagonally implicit method of Kvaerno of order 5 (by diffrax), for
    stiff ordinary equations.

    **Arguments:**

    - `rtol`, `atol`: tolerances of a step, 1e-8 and 1e-10.

    **Reference:** kvaerno2004singly
    """

    rtol: float = 1e-8
    atol: float = 1e-10

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "kvaerno2004singly"

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
        goal = 10 * self.rtol
        prepared = prepare_ode(self, problem, Diffrax(), options, goal, "other tolerances")

        def finish(found) -> Solution:
            solution = prepared.finish(found)
            if not solution.result.ok:
                return solution
            count = _evaluations(problem, options, np.asarray(found.ts))
            return dataclasses.replace(solution, stats={**solution.stats, "evaluations": count})

        return dataclasses.replace(prepared, finish=finish)


def _evaluations(problem, options, times: np.ndarray) -> float:
    """Right-hand sides in one solve, those of Newton iterations included, by counting
    them in a run of its own."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    program, inputs = ode_program(problem, Diffrax(), options, times, tick)
    jax.block_until_ready(jax.jit(program)(inputs).ys)
    jax.effects_barrier()
    return float(count)
