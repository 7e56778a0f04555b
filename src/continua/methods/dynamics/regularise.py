r"""Fields that are trained to be cheap to integrate, by what the solver knows of its steps.

A step of length `h_j` from `y_j` to `y_{j+1}` with the error estimate `e_j` has the size of
its error in units of the tolerances, at most 1 where it was accepted, and a stiffness,

    E_j = sqrt(mean_i (e_ji / (atol + rtol max(|y_ji|, |y_{j+1,i}|)))^2),
    S_j = |f(y_{j+1}) - f(g)| / |y_{j+1} - g|,

`g` another stage at the end of the step, so that `S_j` estimates the largest `|lambda|`. To
the loss of a task is added `lambda(s) R`, `lambda(s) = lambda_0 (lambda_1 / lambda_0)^s` at
the share `s` of the training,

    global:  R = mean_j E_j h_j,   max_j S_j / r,   or   mean_j (E_j h_j + 0.1 S_j / r),
    local:   R = E* h,             S* / r,          or   E* h + 0.1 S* / r,

`r` the length of the real axis on which the method is stable, 3.5068 for `Tsit5`. The global
ones differentiate through all steps of the solve, lengths held fixed. The local ones take one
more step from a state `y*` of the solve, with `t*`, `y*` and `h` held fixed, so that the
gradient of the solve itself may be any, the continuous adjoint too:

- biased: `t*` is the start of one of the accepted steps, all of them alike, so that hard
  parts come oftener, `h` the length of that step;
- unbiased: `t*` is uniform in time, `h` the step that a solver would begin with there.

Adaptive steps of stochastic equations have no derivatives backwards: such models are trained on
fixed steps, whose path `y_0, ..., y_n` may come from any method, or from a posterior. There

    R = E(y*, t*, h; W, H) h,   W ~ N(0, h),  H ~ N(0, h / 12),

is of one step that a method with an error estimate would take from a state `y*` of this path,
`h` the length of the step that the path took there, the increment `W` and the space-time area
`H` of the noise drawn for it, `t*`, `y*` and `h` held fixed; the global one is the mean over all
steps, with the derivatives of the path.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from continua import integrate
from continua.core.errors import InputError, suggest
from continua.integrate import fields, runge_kutta
from continua.integrate.fields import AbstractField
from continua.integrate.methods import AbstractEmbedded, AbstractExplicitRungeKutta
from continua.integrate.stochastic import SDE, SPaRK, brownian
from continua.integrate.stochastic.methods import AbstractEstimating
from continua.integrate.stochastic.sde import converted
from continua.integrate.tableaus import Tableau
from continua.integrate.trajectory import History, Trajectory

KINDS = ("error", "stiffness", "both")
SCOPES = ("global", "local_unbiased", "local_biased")
_SPARK = SPaRK()
_BOTH = 0.1  # weight of the stiffness beside the error
_OURS = ("history", "dt0", "shared", "key")


@functools.cache
def stable_length(tableau: Tableau) -> float:
    """The length of the negative real axis on which an explicit method is stable: the least
    `x > 0` beyond which `|R(-x)| > 1`, `R` its stability polynomial.

    **Arguments:**

    - `tableau`: of the method.
    """
    s = tableau.stages
    a = np.zeros((s, s))
    for i, row in enumerate(tableau.a):
        a[i, : len(row)] = row
    powers = [np.ones(s)]
    for _ in range(s - 1):
        powers.append(a @ powers[-1])
    signs = (-1.0) ** np.arange(1, s + 1)
    rest = np.concatenate([[0.0], signs * (np.array(powers) @ np.array(tableau.b))])
    # R(-x) is 1 + rest: it leaves the interval through 1 or through -1.
    found = []
    for level in (0.0, 2.0):
        roots = np.polynomial.polynomial.polyroots(rest + level * (np.arange(s + 1) == 0))
        found += [z.real for z in roots if abs(z.imag) < 1e-9 and z.real > 1e-3]
    return float(min(found))


@dataclasses.dataclass(frozen=True)
class SolverRegulariser:
    """A weight on how dear a field is to an adaptive solver.

    Errors are in units of the tolerances: with others the weights are others too. Averages
    over the steps of a trajectory, and over trajectories.

    **Arguments:**

    - `kind`: `"error"`, `"stiffness"`, or `"both"`.
    - `scope`: `"local_biased"`, `"local_unbiased"`, or `"global"`.
    - `weight`: `lambda_0`, at the beginning of training, 1.
    - `final_weight`: `lambda_1`, at its end; as at the beginning by default.
    - `steps`: accepted steps of a trajectory that are looked at, the first 256.

    **Raises:** `InputError` for another kind or scope, and weights below 0.

    **Reference:** pal2021opening, pal2023locally
    """

    kind: str = "error"
    scope: str = "local_biased"
    weight: float = 1.0
    final_weight: float | None = None
    steps: int = 256

    def __post_init__(self):
        for name, known in (("kind", KINDS), ("scope", SCOPES)):
            if (got := getattr(self, name)) not in known:
                raise InputError(
                    f"got '{got}'", where=f"SolverRegulariser.{name}", fix=suggest(got, known)
                )
        if not self.weight >= 0:
            raise InputError(
                f"got {self.weight}", where="SolverRegulariser.weight", fix="give 0 or more"
            )
        last = self.final_weight
        if last is not None and not (last > 0 and self.weight > 0):
            raise InputError(
                f"an exponential from {self.weight} to {last}",
                where="SolverRegulariser.final_weight",
                fix="give positive weights, or leave it out",
            )
        if self.steps < 1:
            raise InputError(
                f"got {self.steps}", where="SolverRegulariser.steps", fix="give 1 or more"
            )

    def weight_at(self, progress: Any) -> Any:
        """`lambda` at a share of the training.

        **Arguments:**

        - `progress`: from 0 to 1.
        """
        if self.final_weight is None:
            return self.weight
        return self.weight * (self.final_weight / self.weight) ** progress

    def solve(
        self, field: Callable, method: Any, *, key: Any, **options: Any
    ) -> tuple[Trajectory, Any]:
        """As `integrate.solve`, and `R` beside the trajectory.

        With `ensemble` `R` is the mean over trajectories. A batch that is one system, an
        array `(b, n)` as state, has the steps of its worst entry.

        **Arguments:**

        - `field`: `(t, y, args) -> dy/dt`.
        - `method`: explicit, with an error estimate, such as `Tsit5()`; any with an estimate
          where `kind` is `"error"`.
        - `key`: says where the local step is.
        - `options`: of `integrate.solve`, adaptive steps.

        **Raises:** `InputError` for a method or options that do not go with it.
        """
        self._check(field, method, options)
        rtol, atol = options.get("rtol", 1e-6), options.get("atol", 1e-9)
        options = {**options, "rtol": rtol, "atol": atol, "history": self.steps}
        found = integrate.solve(field, method, **options)
        if self.scope == "global":

            def over(steps, facts):
                return self._over_steps(steps, facts, method)

            over = jax.vmap(over) if options.get("ensemble") else over
            return found, jnp.mean(over(found.steps, found.history))

        def one(found, key):
            return self._local(found, field, method, key, options)

        if not options.get("ensemble"):
            return found, one(found, key)
        keys = jax.random.split(key, found.steps.shape[0])
        return found, jnp.mean(jax.vmap(one)(found, keys))

    def of_path(
        self, sde: SDE, ts: Any, ys: Any, *, key: Any, rtol: Any = 1e-3, atol: Any = 1e-6,
        args: Any = None, method: Any = _SPARK,
    ) -> Any:  # fmt: skip
        """`R` of a path of a stochastic equation that was drawn by fixed steps.

        **Arguments:**

        - `sde`: drift, diffusion and what is known of the noise.
        - `ts`: times `(L,)`; where neighbours are equal there is no step.
        - `ys`: the states there, a tree of arrays `(L, *)`.
        - `key`: says where the local step is, and its noise.
        - `rtol`, `atol`: of the adaptive steps that the model is to be solved with.
        - `args`: handed through to drift and diffusion.
        - `method`: that estimates its error, `SPaRK()`.

        **Raises:** `InputError` for a `kind` other than `"error"`, and a method without an
        estimate.
        """
        where = "SolverRegulariser.of_path"
        if self.kind != "error":
            raise InputError(
                "noise hides the stiffness that a step shows",
                where=f"{where}.kind",
                fix='take kind="error"',
            )
        if not isinstance(method, AbstractEstimating):
            raise InputError(
                f"{type(method).__name__} has no error estimate",
                where=f"{where}.method",
                fix="take SPaRK()",
            )
        _, unravel = ravel_pytree(jax.tree.map(lambda y: y[0], ys))
        flat = sde.flat(unravel, jnp.ones_like(ts[0]), args)
        limits, equation = (rtol, atol), converted(flat, method.interpretation)
        states, steps = jax.vmap(lambda y: ravel_pytree(y)[0])(ys), jnp.diff(ts)
        g = jax.eval_shape(flat.diffusion, ts[0], states[0])
        channels = g.shape[0] if g.ndim == 1 else g.shape[1]
        place, noise = jax.random.split(key)

        def one(t, y, h, number):
            seed = brownian.seeds(noise, number, channels)
            dw = brownian.of_cell(seed, 0, h, area=True)
            new, _, error = method.move(equation, t, y, (), h, dw)
            return runge_kutta.error_norm(error, y, new, *limits)[0] * h

        if self.scope == "global":
            every = jax.vmap(one)(ts[:-1], states[:-1], steps, jnp.arange(steps.shape[0]))
            taken = jnp.where(steps > 0, every, 0.0)
            return jnp.sum(taken) / jnp.maximum(jnp.sum((steps > 0).astype(ts.dtype)), 1.0)
        # All steps alike, or uniform in time.
        weights = steps if self.scope == "local_unbiased" else (steps > 0).astype(ts.dtype)
        share = jax.random.uniform(place, (), ts.dtype) * jnp.sum(weights)
        j = jnp.sum((jnp.cumsum(weights) <= share).astype(jnp.int32))
        j = jnp.minimum(j, jnp.max(jnp.where(steps > 0, jnp.arange(steps.shape[0]), 0)))
        return one(*jax.lax.stop_gradient((ts[j], states[j], steps[j])), 0)

    def _over_steps(self, steps: Any, facts: History, method: Any) -> Any:
        """The mean, or the maximum, over the steps of one trajectory."""
        if self.kind == "stiffness":  # behind the last step there is 0
            return jnp.max(facts.stiffness) / _length_of(method)
        terms = self._weighed(facts.error, facts.stiffness, jnp.abs(facts.dt), method)
        return jnp.sum(terms) / jnp.clip(steps, 1, self.steps).astype(terms.dtype)

    def _weighed(self, error: Any, stiffness: Any, h: Any, method: Any) -> Any:
        """What steps add."""
        if self.kind == "error":
            return error * h
        if self.kind == "stiffness":
            return stiffness / _length_of(method)
        return error * h + _BOTH * stiffness / _length_of(method)

    def _local(self, found: Trajectory, field: Callable, method: Any, key, options: dict) -> Any:
        """`R` of one more step of one trajectory."""
        assert found.history is not None
        steps, facts = jax.lax.stop_gradient((found.steps, found.history))
        _, unravel = ravel_pytree(jax.tree.map(lambda x: x[0], facts.ys))
        forwards = jnp.asarray(options["t1"]) >= jnp.asarray(options["t0"])
        sign = jnp.where(forwards, 1.0, -1.0).astype(facts.ts.dtype)
        flat = fields.flat(field, unravel, sign, options.get("args"))
        limits = tuple(jnp.asarray(options[k], facts.ts.dtype) for k in ("rtol", "atol"))
        facts = dataclasses.replace(facts, ts=sign * facts.ts, dt=sign * facts.dt)
        share = jax.random.uniform(key, (), facts.ts.dtype)
        place = self._place(facts, jnp.clip(steps, 1, self.steps), share, flat, method, limits)
        # The gradient is that of the step alone, not of how the solve came there.
        t, y, h = jax.lax.stop_gradient(place)
        return self._weighed(*step_facts(method, flat, t, y, h, limits), h, method)

    def _place(self, facts, count, share, flat, method, limits) -> tuple[Any, Any, Any]:
        """The time, the state and the length of the further step.

        The states that the solve kept are those at the starts of its steps; one in between
        comes from a shorter step, which is as exact as the one that was accepted.
        """
        ys = jax.vmap(lambda y: ravel_pytree(y)[0])(facts.ys)
        if self.scope == "local_biased":
            j = (share * count.astype(share.dtype)).astype(count.dtype)
            j = jnp.minimum(j, count - 1)  # where the product was rounded up
            return facts.ts[j], ys[j], facts.dt[j]
        start, end = facts.ts[0], facts.ts[count - 1] + facts.dt[count - 1]
        t = start + share * (end - start)
        there = jnp.arange(self.steps, dtype=count.dtype) < count
        j = jnp.maximum(jnp.sum((facts.ts <= t) & there) - 1, 0)
        before, y = facts.ts[j], ys[j]
        y = method.step(flat, before, y, flat(before, y), t - before)[0]
        order, slope = method.error_order, flat(t, y)
        return t, y, runge_kutta.first_step(order, flat, t, y, slope, end - t, *limits)

    def _check(self, field: Any, method: Any, options: dict) -> None:
        """Whether there are facts of steps to be had, with derivatives."""
        where = "SolverRegulariser.solve"
        if isinstance(field, AbstractField):
            raise InputError(
                f"got a {type(field).__name__}", where=where, fix="give a function (t, y, args)"
            )
        if taken := [name for name in _OURS if name in options]:
            raise InputError(
                f"'{taken[0]}' is not the caller's to choose", where=where, fix="leave it out"
            )
        if not (isinstance(method, AbstractEmbedded) and method.error_order > 0):
            raise InputError(
                f"{type(method).__name__} has no error estimate",
                where=f"{where}.method",
                fix="take Tsit5()",
            )
        if self.kind != "error" and not isinstance(method, AbstractExplicitRungeKutta):
            raise InputError(
                f"{method.name} is not explicit, stiffness costs it nothing",
                where=f"{where}.method",
                fix='take Tsit5(), or kind="error"',
            )
        if self.scope == "global" and isinstance(options.get("gradient"), integrate.Continuous):
            raise InputError(
                "the continuous adjoint knows no steps",
                where=f"{where}.gradient",
                fix='take Replay(), or scope="local_biased"',
            )


def step_facts(
    method: Any, field: Callable, t: Any, y: Any, h: Any, limits: tuple
) -> tuple[Any, Any]:
    """Of one step its error in units of the tolerances, and the stiffness that it shows;
    both with derivatives.

    **Arguments:**

    - `method`: with an error estimate.
    - `field`: `(t, y) -> dy/dt` of flat states.
    - `t`, `y`, `h`: where it begins, `(n,)`, and how long it is.
    - `limits`: `rtol` and `atol`.

    **Returns:** `E` and `S`.
    """
    slope = field(t, y)
    new, after, error, _ = method.step(field, t, y, slope, h)
    size, _ = runge_kutta.error_norm(error, y, new, *limits)
    if isinstance(method, AbstractExplicitRungeKutta):
        given = (method.tableau, field, t, y, slope, h)
        return size, runge_kutta.stiffness(*given, new, after)
    return size, runge_kutta.ratio(after - slope, new - y)


def _length_of(method: Any) -> float:
    return stable_length(method.tableau)
