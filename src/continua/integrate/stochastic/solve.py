"""One call for stochastic differential equations: from `y0` at `t0` to the times asked for."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate.gradients import Direct, Replay
from continua.integrate.lanes import spread_over
from continua.integrate.stochastic import adapted, adaptive, brownian, fixed, jumps, reversal
from continua.integrate.stochastic.fixed import Steps
from continua.integrate.stochastic.methods import (
    METHODS,
    AbstractEstimating,
    AbstractStochastic,
    StochasticReversibleHeun,
)
from continua.integrate.stochastic.sde import SDE, across, converted
from continua.integrate.trajectory import Found, Trajectory

_REPLAY = Replay()


def solve_sde(
    sde: Any,
    method: Any,
    *,
    t0: Any,
    t1: Any,
    y0: Any,
    key: Any,
    args: Any = None,
    saveat: Any = None,
    dt0: Any = None,
    rtol: Any = 1e-3,
    atol: Any = 1e-6,
    max_steps: int = 100_000,
    halvings: int = 0,
    path: Any = 0,
    ensemble: bool = False,
    gradient: Any = _REPLAY,
) -> Trajectory:
    """Draw a path of a stochastic differential equation, or many.

    The Brownian path is a function of `key`, `path` and the cells that time is cut into:
    the steps that `dt0` makes, or the intervals between saves where steps are adaptive.
    Fixed steps can be differentiated in both modes, in memory like the square root of
    their number or that of 256 states, where times are known when compiling; else, and
    where they are adaptive, in forward mode.

    **Arguments:**

    - `sde`: an `SDE`: drift, diffusion, and what is known of the noise.
    - `method`: `EulerMaruyama()`, `Milstein()`, ...; where it is for the other reading
      of the noise, the drift is converted.
    - `t0`, `t1`: the interval, `t1 >= t0`.
    - `y0`: the initial state, an array or a tree of real arrays of one type.
    - `key`: of the Brownian path.
    - `args`: handed through to drift and diffusion.
    - `saveat`: times `(T,)`, from `t0` on; `t1` alone by default.
    - `dt0`: length of fixed steps, each interval between saves having the fewest equal
      ones that are not longer; `None` for adaptive steps. Saves at multiples of it
      change nothing.
    - `rtol`, `atol`: tolerances of the error of each adaptive step.
    - `max_steps`: adaptive steps at the most, rejected ones too.
    - `halvings`: of each fixed step, on the same Brownian path; 0 by default.
    - `path`: the number of the path, of the first one of an ensemble; 0 by default.
    - `ensemble`: whether the arrays of `y0` have a leading axis of paths, with numbers
      `path, path + 1, ...`. Each is the one that it is alone.
    - `gradient`: `Replay()`, or `Direct()`, which fixed steps of `StochasticReversibleHeun()`
      need in forward mode: without jumps these are undone otherwise, in memory that does
      not grow with their number.

    **Returns:** a `Trajectory`, whose slopes are the drift and whose evaluations are of
    the drift too; a failure is a code in it, not an error.

    **Raises:** `InputError` for a method that is not right for the noise, times that run
    backwards, or a state that is not real.
    """
    _check(sde, method, dt0)
    like = jax.tree.map(lambda x: jnp.asarray(x)[0], y0) if ensemble else y0
    y, unravel = ravel_pytree(like)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise InputError(
            f"the state is {y.dtype}", where="solve_sde.y0", fix="give real floating numbers"
        )
    ends = t1 if saveat is None else saveat
    steps, early = _steps(t0, ends, dt0, halvings, y.dtype)
    count = 0 if sde.jumps is None else jumps.most(sde.jumps, t0, ends)
    t0, ends = jnp.asarray(t0, y.dtype), jnp.atleast_1d(jnp.asarray(ends, y.dtype))
    numbers = jnp.asarray(path, jnp.uint32)
    t0, ends, y, y0, args = spread_over((t0, ends, y, y0, args), y, numbers)
    flat = sde.flat(unravel, jnp.ones_like(t0), args)
    g = jax.eval_shape(flat.diffusion, t0, y)
    channels = y.size if g.ndim == 1 else g.shape[1]
    if ensemble:
        y = spread_over(jax.vmap(lambda y: ravel_pytree(y)[0], out_axes=-1)(y0), numbers)
        numbers = numbers + jnp.arange(y.shape[-1], dtype=jnp.uint32)
    seed = spread_over(brownian.seeds(key, numbers, channels), y)
    drawn = None
    if flat.jumps is not None:
        drawn = jumps.candidates(flat.jumps, key, numbers, t0, count, seed)
        drawn = spread_over(drawn, y)
    asked = _Asked(method, flat, seed, drawn, t0, ends[1:] if early else ends, y, steps)
    exact = isinstance(method, StochasticReversibleHeun) and not isinstance(gradient, Direct)
    if dt0 is None:
        rtol, atol = (jnp.asarray(x, y.dtype) for x in (rtol, atol))
        found = asked.adaptive(rtol, atol, max_steps, ensemble)
    else:
        found = asked.fixed(ensemble, undone=exact)
    ys = jnp.concatenate([y[None], found.ys]) if early else found.ys
    slopes = jax.vmap(across(flat, ensemble).drift)(ends, ys)
    slopes = jnp.where(jnp.isfinite(ys), slopes, jnp.nan)
    found = found._replace(ys=ys, slopes=slopes)
    return _trajectory(found, ends, unravel, ensemble)


class _Asked(NamedTuple):
    """What was asked for, of a flat state, or of those of many paths."""

    method: Any
    sde: SDE
    seed: Any
    drawn: Any  # of the jumps
    t0: Any
    ends: Any
    y: Any
    steps: Steps

    def fixed(self, ensemble: bool, *, undone: bool) -> Found:
        """With fixed steps, which are `undone` for the gradient where times are known."""
        if self.drawn is not None:
            return self.each(adapted.march, ensemble)
        sde = converted(across(self.sde, ensemble), self.method.interpretation)
        undone = undone and self.steps.most is not None
        march = reversal.march if undone else fixed.march
        return march(self.method, sde, self.seed, self.t0, self.ends, self.y, self.steps)

    def adaptive(self, rtol: Any, atol: Any, max_steps: int, ensemble: bool) -> Found:
        """With steps that are chosen."""
        limits = {"rtol": rtol, "atol": atol, "max_steps": max_steps}
        return self.each(functools.partial(adaptive.march, **limits), ensemble)

    def each(self, march: Any, ensemble: bool) -> Found:
        """Path by path."""
        sde = converted(self.sde, self.method.interpretation)

        def one(seed, y, drawn):
            return march(self.method, sde, seed, self.t0, self.ends, y, self.steps, drawn=drawn)

        run = jax.vmap(one, in_axes=-1, out_axes=-1) if ensemble else one
        return run(self.seed, self.y, self.drawn)


def _trajectory(found: Found, ends, unravel, ensemble: bool) -> Trajectory:
    def outer(found: Found) -> Trajectory:
        back = jax.vmap(unravel)
        return Trajectory(
            ts=ends,
            ys=back(found.ys),
            slopes=back(found.slopes),
            steps=found.steps,
            rejected=found.rejected,
            evaluations=found.evaluations,
            code=found.code,
            t_end=found.t_end,
            component=found.component,
            dt_last=found.dt_last,
            y_end=unravel(found.y_end),
            events=None,
        )

    return jax.vmap(outer, in_axes=-1)(found) if ensemble else outer(found)


def _check(sde, method, dt0) -> None:
    if not isinstance(sde, SDE):
        raise InputError(
            f"got {type(sde).__name__}",
            where="solve_sde.sde",
            fix="give SDE(drift, diffusion)",
        )
    if not isinstance(method, AbstractStochastic):
        raise InputError(
            f"got {type(method).__name__}, expected a method for stochastic equations",
            where="solve_sde.method",
            fix="give a value such as EulerMaruyama()",
        )
    estimates = isinstance(method, AbstractEstimating)
    if sde.noise not in method.noises:
        raise InputError(
            f"{method.name} is for {' or '.join(method.noises)} noise, got {sde.noise}",
            where="solve_sde.method",
            fix=f"take {_right(sde.noise)}",
        )
    if dt0 is None and not estimates:
        raise InputError(
            f"{method.name} has no error estimate",
            where="solve_sde.dt0",
            fix="give the length of its steps, or take StochasticHeun()",
        )
    if not isinstance(dt0, Tracer) and dt0 is not None and not dt0 > 0:
        raise InputError(f"got {dt0}", where="solve_sde.dt0", fix="give a positive length")


def _right(noise: str) -> str:
    return " or ".join(f"{cls.__name__}()" for cls in METHODS if noise in cls.noises)


def _steps(t0, ends, dt0, halvings: int, dtype: Any) -> tuple[Steps, bool]:
    """The cells between saved times, and whether the first save is the start itself."""
    traced = any(isinstance(t, Tracer) for t in (t0, ends, dt0))
    lib, dtype = (jnp, dtype) if traced else (np, np.float64)
    times = lib.concatenate([lib.atleast_1d(lib.asarray(t, dtype)) for t in (t0, ends)])
    gaps = lib.diff(times)
    if not traced and np.any(gaps < 0):
        raise InputError(
            "times run backwards",
            where="solve_sde.saveat",
            fix="give saves in order, from t0 on",
        )
    early = not traced and gaps.size > 1 and bool(gaps[0] == 0)
    gaps = gaps[1:] if early else gaps
    # Times are rounded: a whole number of steps is one when it is a little more.
    share = lib.ones_like(gaps) if dt0 is None else gaps / dt0 * (1 - 1e-6) - 1e-3
    counts = lib.where(gaps > 0, lib.maximum(lib.ceil(share), 1), 0)
    if traced:
        return Steps(counts.astype(jnp.int32), None, False, halvings), False
    even = bool(np.all(counts == counts[0]))
    most, total = int(max(counts.max(), 1)), int(counts.sum())
    return Steps(jnp.asarray(counts, jnp.int32), most, even, halvings, total), early
