r"""Sampling of stochastic differential equations: paths, means and variances with their errors.

    mean_N = 1/N sum_p x_p,   its standard error  sqrt(variance / N),
    variance_N = 1/(N-1) sum_p (x_p - mean_N)^2,   its standard error  sqrt((m_4 - m_2^2) / N).

The bias of the time steps is seen on the same Brownian paths with half the steps, where
the sampling error all but cancels; steps are halved until it hides in the sampling error.
What halving leaves is taken to be no more than what it changed.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.equations.compile import compile_expressions
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.integrate.stochastic import (
    SDE,
    SRA1,
    SRIW1,
    EulerMaruyama,
    StochasticHeun,
    solve_sde,
)
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.problems.stochastic import StochasticProblem

_KEPT = 32  # paths that a solution keeps
_SHARE = 0.5  # of a standard error that the bias of the steps may be
_DEVIATIONS = 4.0  # of a change that may be sampling error
_MOST_HALVINGS = 6
_PILOT = 1024  # paths on which steps are chosen, at the most


@dataclasses.dataclass(frozen=True)
class StochasticIntegrator(AbstractDirectMethod):
    """Many paths by a stochastic Runge-Kutta method: of Rößler for additive, diagonal and
    scalar noise, of Euler and Maruyama for any other, of Heun in Stratonovich's reading.

    Evaluations count drifts over all paths.

    **Arguments:**

    - `paths`: 4096.
    - `steps`: in each interval of the evaluation grid; `None` halves them until their bias
      is less than half a standard error.

    **Raises:** `InputError` for less than two paths, or no step.

    **Reference:** roessler2010runge
    """

    paths: int = 4096
    steps: int | None = None

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "roessler2010runge"

    def __post_init__(self):
        for name, least in (("paths", 2), ("steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(
                    f"got {value}",
                    where=f"StochasticIntegrator.{name}",
                    fix=f"give {least} or more",
                )

    def supports(self, problem) -> Support:
        if not isinstance(problem, StochasticProblem):
            return Support(False, f"{self.name} needs a stochastic equation")
        return YES

    def ladder(self, problem) -> tuple["StochasticIntegrator", ...]:
        """From 256 paths on, four times as many four times."""
        return tuple(dataclasses.replace(self, paths=256 * 4**k) for k in range(5))

    def prepare(self, problem, *, key) -> Prepared:
        with stopwatch() as clock:
            steps = self._chosen(problem, key) if self.steps is None else self.steps

        def program(inputs) -> _Sample:
            return _sample(problem, self.paths, steps, inputs)

        def finish(found: _Sample) -> Solution:
            return _solution(self, problem, found, steps)

        return Prepared(program, _inputs(problem, key), finish, tuning_seconds=clock.seconds)

    def _chosen(self, problem: StochasticProblem, key: jax.Array) -> int:
        """Steps in an interval, whose bias hides behind the sampling error of all paths."""
        pilot = min(self.paths, _PILOT)
        allowed = _SHARE * (pilot / self.paths) ** 0.5
        for halvings in range(_MOST_HALVINGS):
            if float(_seen_bias(problem, pilot, key, halvings)) <= allowed:
                return 2**halvings
        return 2**_MOST_HALVINGS


def _seen_bias(problem: StochasticProblem, paths: int, key: jax.Array, halvings: int) -> Any:
    """By how many standard errors means and variances change with half the steps; of the
    change, only what is more than sampling error of its own counts."""

    def parts(ys):
        return jnp.concatenate([ys, jnp.square(ys - jnp.mean(ys, axis=0))], axis=-1)

    def program(inputs):
        coarse, fine = (parts(_paths(problem, paths, 1, inputs, halvings + k).ys) for k in (0, 1))
        change, own, error = (
            jnp.abs(jnp.mean(fine - coarse, axis=0)),
            jnp.std(fine - coarse, axis=0) / paths**0.5,
            jnp.std(fine, axis=0) / paths**0.5,
        )
        seen = jnp.maximum(change - _DEVIATIONS * own, 0.0)
        return jnp.max(jnp.where(error > 0, seen / jnp.where(error > 0, error, 1.0), 0.0))

    return jax.jit(program)(_inputs(problem, key))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Sample:
    """What a run of many paths leaves.

    **Arguments:**

    - `values`, `errors`: means then variances, and their standard errors, `(T, 2 n)`.
    - `paths`: the first of them `(k, T, n)`.
    - `evaluations`: of the drift.
    - `code`, `t_end`: the worst of the paths, and where the first of them ended.
    """

    values: Any
    errors: Any
    paths: Any
    evaluations: Any
    code: Any
    t_end: Any


@dataclasses.dataclass(frozen=True, eq=False)
class SampledMoments:
    """Means and variances at times, linear in between, and some of the paths.

    **Arguments:**

    - `times`: `(T,)`.
    - `values`: `(T, c)`.
    - `paths`: `(k, T, n)`; none for standard errors.
    """

    times: np.ndarray
    values: np.ndarray
    paths: np.ndarray | None = None

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, 1)`, NaN outside of the times."""
        t = np.asarray(points, float)[:, 0]
        columns = [np.interp(t, self.times, c, np.nan, np.nan) for c in self.values.T]
        return np.stack(columns, axis=-1)


def sde_of(problem: StochasticProblem) -> SDE:
    """The equation for `integrate.stochastic.solve_sde`, whose `args` are the parameters.

    **Arguments:**

    - `problem`: a stochastic problem.
    """
    equation = problem.equation
    g, noise = problem.diffusion(), problem.noise_class()
    alone = g.is_square and g.is_diagonal()
    symbols = [
        coordinate_symbol(str(equation.time)),
        *problem.symbols().values(),
        *map(parameter_symbol, equation.parameters),
    ]
    entries = list(g.diagonal()) if alone else list(g)
    function = compile_expressions(entries, symbols)

    def diffusion(t, y, args):
        found = function(t, *y, *(args[p] for p in equation.parameters))
        flat = jnp.stack([jnp.asarray(e, y.dtype) for e in found])
        return flat if alone else flat.reshape(g.shape)

    return SDE(equation.semidiscrete(None), diffusion, noise, problem.interpretation)


def _inputs(problem: StochasticProblem, key: jax.Array) -> dict[str, Any]:
    dtype = jnp.zeros(()).dtype
    parameters = {name: jnp.asarray(v, dtype) for name, v in problem.parameters.items()}
    return {"start": jnp.asarray(problem.start(), dtype), "parameters": parameters, "key": key}


def _paths(problem: StochasticProblem, paths: int, steps: int, inputs, halvings: int = 0):
    """The paths at the times of the evaluation grid."""
    sde = sde_of(problem)
    (times,) = problem.evaluation_grid().values()
    return solve_sde(
        sde,
        _method(sde),
        t0=times[0],
        t1=times[-1],
        y0=jnp.broadcast_to(inputs["start"], (paths, *inputs["start"].shape)),
        key=inputs["key"],
        args=inputs["parameters"],
        saveat=times,
        dt0=float(times[1] - times[0]) / steps,
        halvings=halvings,
        ensemble=True,
    )


def _method(sde: SDE) -> Any:
    """Of weak order 1 at least; without derivatives of the noise, which need not have any,
    but for the conversion of Stratonovich's reading."""
    if sde.noise == "additive":
        return SRA1()
    if sde.interpretation == "stratonovich":
        return StochasticHeun()
    return SRIW1() if sde.noise in ("diagonal", "scalar") else EulerMaruyama()


def _sample(problem: StochasticProblem, paths: int, steps: int, inputs) -> _Sample:
    """Draw the paths and reduce them."""
    found = _paths(problem, paths, steps, inputs)
    mean = jnp.mean(found.ys, axis=0)
    away = jnp.square(found.ys - mean)
    second, fourth = jnp.mean(away, axis=0), jnp.mean(jnp.square(away), axis=0)
    variance = second * paths / (paths - 1)
    spread = jnp.sqrt(jnp.maximum(fourth - jnp.square(second), 0.0))
    return _Sample(
        values=jnp.concatenate([mean, variance], axis=-1),
        errors=jnp.concatenate([jnp.sqrt(variance), spread], axis=-1) / paths**0.5,
        paths=found.ys[:_KEPT],
        evaluations=jnp.sum(found.evaluations),
        code=jnp.max(found.code),
        t_end=jnp.min(found.t_end),
    )


def _solution(method, problem: StochasticProblem, found: _Sample, steps: int) -> Solution:
    (times,) = problem.evaluation_grid().values()
    values, errors, paths = (
        np.asarray(a, float) for a in (found.values, found.errors, found.paths)
    )
    total = steps * (len(times) - 1)
    share = (float(found.t_end) - times[0]) / (times[-1] - times[0])
    result = setup.ending(
        int(found.code),
        round(share * total),
        str(problem.equation.time),
        float(found.t_end),
        f"a path of {', '.join(problem.equation.unknowns)}",
        "more steps, or a drift that pulls back where x is large",
    )
    stats = {"evaluations": float(found.evaluations), "steps": float(total), "paths": method.paths}
    return Solution(
        method=method.name,
        unknowns=problem.quantities,
        coordinates=tuple(problem.equation.coordinates),
        grid=problem.evaluation_grid(),
        evaluator=SampledMoments(times, values, paths),
        result=result,
        stats={name: float(value) for name, value in stats.items()},
        spread=SampledMoments(times, errors),
    )
