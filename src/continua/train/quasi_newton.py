"""Quasi-Newton optimisers for full batches: self-scaled Broyden, BFGS and L-BFGS."""

import abc
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from continua.train.line_search import strong_wolfe
from continua.train.optimisers import AbstractOptimiser, Row


class QuasiNewtonState(NamedTuple):
    """What a dense quasi-Newton method remembers.

    **Arguments:**

    - `inverse`: the inverse Hessian as it is believed to be.
    - `value`, `gradient`: at the present parameters.
    - `fresh`: whether `inverse` is still the identity.
    - `stale`: whether `value` and `gradient` belong to another objective.
    - `stalled`: whether steepest descent, too, found no lower point.
    """

    inverse: Float[Array, "p p"]
    value: Float[Array, ""]
    gradient: Float[Array, " p"]
    fresh: Bool[Array, ""]
    stale: Bool[Array, ""]
    stalled: Bool[Array, ""]


class Scaling(NamedTuple):
    """One member of the self-scaled Broyden family: `theta` and `tau`."""

    theta: Float[Array, ""]
    tau: Float[Array, ""]


def broyden_update(
    inverse: Float[Array, "p p"],
    s: Float[Array, " p"],
    y: Float[Array, " p"],
    hy: Float[Array, " p"],
    scaling: Scaling,
    a: Float[Array, ""],
) -> Float[Array, "p p"]:
    """The self-scaled Broyden update of the inverse Hessian.

    `H <- [H - Hy (Hy)' / y'Hy + phi (y'Hy) v v'] / tau + rho s s'`, `rho = 1 / y's`,
    `v = rho s - Hy / y'Hy`, `phi = (1 - theta) / (1 + a theta)`.

    **Arguments:**

    - `inverse`, `s`, `y`, `hy`: `H`, the step, the change of the gradient, `H y`.
    - `scaling`: `theta`, `tau`; BFGS is `theta = 0`, `tau = 1`.
    - `a`: `b h - 1` of the reference, used by `phi` alone.

    **Reference:** urban2025unveiling
    """
    rho, yhy = 1 / jnp.dot(y, s), jnp.dot(y, hy)
    v = rho * s - hy / yhy
    phi = (1 - scaling.theta) / (1 + a * scaling.theta)
    # Three symmetric rank-one terms, fused into one pass over the matrix.
    change = inverse - hy[:, None] * (hy / yhy) + v[:, None] * (phi * yhy * v)
    return change / scaling.tau + s[:, None] * (rho * s)


def self_scaling(
    s: Float[Array, " p"],
    y: Float[Array, " p"],
    hy: Float[Array, " p"],
    gradient: Float[Array, " p"],
    length: Float[Array, ""],
) -> tuple[Scaling, Float[Array, ""]]:
    """`theta` and `tau` of SSBroyden, and `a`.

    **Arguments:**

    - `s`, `y`, `hy`: as `broyden_update`; `gradient`: before the step.
    - `length`: the step length.

    **Reference:** urban2025unveiling
    """
    ys = jnp.dot(y, s)
    h = jnp.dot(y, hy) / ys
    b = -length * jnp.dot(s, gradient) / ys
    a = b * h - 1
    # a >= 0 by Cauchy's inequality; round-off is kept from dividing by 0.
    a = jnp.where(jnp.abs(a) < 1e-14, 1e-14, a)
    size = jnp.abs(a)
    rm = jnp.minimum(1.0, h * (1 - jnp.sqrt(size / (1 + size))))
    tm, tp = (rm - 1) / a, 1 / rm
    theta = jnp.maximum(tm, jnp.minimum(tp, (1 - b) / b))
    sigma = 1 + a * theta
    rk = jnp.minimum(1.0, 1 / b)
    power = 1.0 / max(s.size - 1, 1)
    sn = jnp.abs(sigma) ** -power
    low = jnp.minimum(rk * sn, sigma)
    high = rk * jnp.minimum(sn, 1 / jnp.where(theta > 0, theta, 1.0))
    tau = jnp.where(theta <= 0, low, high)
    return Scaling(theta, tau), a


class _AbstractDense(AbstractOptimiser):
    """A dense inverse Hessian on the parameters in one vector."""

    limit: int

    @abc.abstractmethod
    def scaling(self, s, y, hy, gradient, length) -> tuple[Scaling, Array]:
        """`theta`, `tau` and `a` for one update."""

    def init(self, params):
        flat, _ = ravel_pytree(params)
        yes, no = jnp.array(True), jnp.array(False)
        zero = jnp.zeros((), flat.dtype)
        eye = jnp.eye(flat.size, dtype=flat.dtype)
        return QuasiNewtonState(eye, zero, jnp.zeros_like(flat), yes, yes, no)

    def renew(self, state):
        return state._replace(stale=jnp.array(True), stalled=jnp.array(False))

    def settled(self, params, state):
        return params

    def step(self, objective, params, state, *, step, total):
        flat, unravel = ravel_pytree(params)

        def function(x):
            return jax.value_and_grad(lambda z: objective(unravel(z))[0])(x)

        value, gradient = jax.lax.cond(
            state.stale, function, lambda _: (state.value, state.gradient), flat
        )
        direction = -(state.inverse @ gradient)
        # A direction that does not descend: the matrix has lost definiteness.
        lost = ~(jnp.dot(direction, gradient) < 0)
        fresh = state.fresh | lost
        norm = jnp.linalg.norm(gradient)
        direction = jnp.where(lost, -gradient, direction)
        first = jnp.where(fresh, jnp.minimum(1.0, 1.0 / norm), 1.0)
        # Without a descent direction the search ends at once.
        direction = jnp.where(state.stalled, 0.0, direction)
        found = strong_wolfe(function, flat, direction, value, gradient, first, limit=self.limit)
        state = state._replace(
            inverse=jax.lax.cond(lost, _identity, lambda h: h, state.inverse),
            fresh=fresh,
        )
        change = found.length * direction
        state = self._updated(state, change, found, gradient)
        evaluations = found.evaluations + state.stale.astype(found.evaluations.dtype)
        row = Row(value, norm, found.length, evaluations)
        return unravel(flat + change), state._replace(stale=jnp.array(False)), row

    def _updated(self, state, s, found, gradient):
        y = found.gradient - gradient
        ys = jnp.dot(y, s)
        moved = found.length > 0

        def update(h):
            # The identity is first brought to the scale of the curvature just seen.
            scale = jnp.where(state.fresh, ys / jnp.dot(y, y), 1.0)
            hy = scale * (h @ y)
            # With H scaled, s = -length H g holds for length / scale.
            scaling, a = self.scaling(s, y, hy, gradient, found.length / scale)
            return broyden_update(scale * h, s, y, hy, scaling, a)

        # Bent the wrong way: keep H. No step at all: begin again from the identity.
        updates = moved & (ys > 0) & jnp.isfinite(ys)
        case = jnp.where(updates, 0, jnp.where(moved, 1, 2))
        inverse = jax.lax.switch(case, [update, lambda h: h, _identity], state.inverse)
        return state._replace(
            inverse=inverse,
            value=found.value,
            gradient=found.gradient,
            fresh=jnp.where(updates, False, state.fresh | ~moved),
            stalled=state.stalled | (~moved & state.fresh),
        )


def _identity(h):
    return jnp.eye(h.shape[0], dtype=h.dtype)


@dataclasses.dataclass(frozen=True)
class SSBroyden(_AbstractDense):
    """Self-scaled Broyden: BFGS that rescales its Hessian and leans to DFP as needed.

    For full batches and up to about 10,000 parameters, in float64; the memory is a
    dense matrix of that size. The matrix is kept when collocation points are drawn
    anew, and starts again from the identity where it loses positive definiteness.

    **Arguments:**

    - `limit`: most evaluations of a line search, 20.

    **Reference:** urban2025unveiling
    """

    limit: int = 20

    def scaling(self, s, y, hy, gradient, length):
        return self_scaling(s, y, hy, gradient, length)


@dataclasses.dataclass(frozen=True)
class BFGS(_AbstractDense):
    """BFGS with a dense inverse Hessian: `theta = 0`, `tau = 1` of the same family.

    **Arguments:** as `SSBroyden`.

    **Reference:** nocedal2006numerical
    """

    limit: int = 20

    def scaling(self, s, y, hy, gradient, length):
        zero = jnp.zeros((), s.dtype)
        return Scaling(zero, zero + 1), zero


@dataclasses.dataclass(frozen=True)
class LBFGS(AbstractOptimiser):
    """Limited-memory BFGS with a zoom line search, for full batches.

    **Arguments:**

    - `memory`: pairs that are kept, 20.
    - `limit`: most evaluations of a line search, 20.

    **Reference:** liu1989limited
    """

    memory: int = 20
    limit: int = 20

    def _optax(self):
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=self.limit, initial_guess_strategy="one"
        )
        return optax.lbfgs(memory_size=self.memory, linesearch=search)

    def init(self, params):
        return self._optax().init(params)

    def step(self, objective, params, state, *, step, total):
        def function(p):
            return objective(p)[0]

        value, gradient = jax.value_and_grad(function)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes counts and floats
            updates, new = self._optax().update(
                gradient, state, params, value=value, grad=gradient, value_fn=function
            )
        info = optax.tree.get(new, "info")
        row = Row(
            value,
            optax.tree.norm(gradient),
            jnp.asarray(optax.tree.get(new, "learning_rate"), value.dtype),
            1 + jnp.asarray(info.num_linesearch_steps, int),
        )
        return optax.apply_updates(params, updates), new, row

    def renew(self, state):
        return state

    def settled(self, params, state):
        return params
