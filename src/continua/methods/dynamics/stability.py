r"""Conditions for stability of a stochastic equation that reads series, measured on a model.

For `dz = f dt + sigma dW` theory asks for noise of bounded size `|s|`, a drift that
grows at most linearly (with a power of `|z|` of 1 at the most), and in the long run for

    Langevin       z . f / |z|^2 < 0           far out (dissipative)
    linear noise   2 z . f / |z|^2 + s^2 < 0   far out (the mean square falls)
    geometric      g - s^2/2 < 0               (almost every path falls)

A step `h` of Euler's method is stable where `h |df/dz| < 2`; where the drift falls at the rate
`k`, the mean square falls with the steps too if `(1 - k h)^2 + s^2 h < 1`. The geometric form
is stepped by its logarithm and stays above 0 with any step.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.nets import compiled

_FAR = 10.0  # times the largest state that is visited
_DIRECTIONS = 64


@dataclasses.dataclass(frozen=True)
class Condition:
    """One of the conditions.

    **Arguments:**

    - `name`: what it is about.
    - `value`: as measured.
    - `limit`: what it must be below.
    """

    name: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether it is met."""
        return bool(self.value < self.limit)


@dataclasses.dataclass(frozen=True)
class StabilityReport:
    """The conditions of a model, those that a finite span of time needs and the others.

    **Arguments:**

    - `form`: of the equation.
    - `needed`: bounded noise, a Lipschitz drift of linear growth, and stable steps: states
      remain finite.
    - `lasting`: states are forgotten, however long a series is.
    """

    form: str
    needed: tuple[Condition, ...]
    lasting: tuple[Condition, ...]

    @property
    def ok(self) -> bool:
        """Whether all that is needed holds."""
        return all(c.holds for c in self.needed)

    def __str__(self) -> str:
        lines = [f"{self.form}: {'stable' if self.ok else 'not stable'} on its series"]
        for c in (*self.needed, *self.lasting):
            lines.append(f"  {c.name}: {c.value:.3g}, {'' if c.holds else 'not '}below {c.limit:g}")
        return "\n".join(lines)


def stability_of(model: Any, series: Any) -> StabilityReport:
    """Measure the conditions along some series.

    **Arguments:**

    - `model`: a network with `field`, `horizon` and `states(series, key=)`.
    - `series`: what it reads, stacked.
    """
    field, form = model.field, model.field.kind
    keys = jax.random.split(jax.random.key(0), series.last.shape[0])
    walk = compiled(model, lambda m, s, k: jax.vmap(lambda a, b: m.states(a, key=b))(s, k))
    states = walk(series, keys)
    size = states.shape[-1]
    t = (model.horizon * series.times).reshape(-1)
    x = series.path.reshape(-1, series.path.shape[-1])
    z = states.reshape(-1, size)
    step = float(jnp.max(jnp.diff(model.horizon * series.times)))
    finite = np.asarray(jnp.where(jnp.isfinite(z), z, 0))
    far = _FAR * float(np.max(np.linalg.norm(finite, axis=1), initial=1.0))

    @eqx.filter_jit
    def measured(field, t, z, x):
        noise = jax.vmap(lambda t: _noise(field, t))(t)
        g = jax.vmap(lambda t, z, x: field.g.after(z, field.g.ahead(t, x)))(t, z, x)
        drift = jax.vmap(field.drift)
        slopes = jax.vmap(jax.jacfwd(field.drift, argnums=1))(t, z, x)
        ways = jax.random.normal(jax.random.key(1), (_DIRECTIONS, size), z.dtype)
        # The geometric form lives where all components are positive.
        ways = jnp.abs(ways) if form == "geometric" else ways
        ways = far * ways / jnp.linalg.norm(ways, axis=1, keepdims=True)
        rows = jnp.arange(_DIRECTIONS) * t.shape[0] // _DIRECTIONS
        out = drift(t[rows], ways, x[rows])
        local = jnp.max(jnp.linalg.norm(slopes, ord=2, axis=(1, 2)))
        inward = jnp.max(jnp.sum(ways * out, axis=1)) / far**2
        tenfold = drift(t[rows], 10 * ways, x[rows])
        sizes = [jnp.max(jnp.linalg.norm(v, axis=1)) for v in (out, tenfold)]
        growth = jnp.log10(sizes[1] / sizes[0])
        falls = jnp.max(jnp.mean(g - noise**2 / 2, axis=0))
        return jnp.max(noise), local, inward, growth, falls

    numbers = measured(field, t, jnp.asarray(finite), x)
    noise, local, inward, growth, falls = (float(v) for v in numbers)
    needed = [
        Condition("largest noise |s|", noise, 1.0 if field.clip else np.inf),
        Condition("power of |z| with which the drift grows far out", growth, 1.05),
    ]
    if form != "geometric":
        needed.append(Condition("Euler step h |df/dz|", step * local, 2.0))
    lasting = {
        "langevin": [Condition("dissipation z.f / |z|^2 far out", inward, 0.0)],
        "linear": [Condition("mean square 2 z.f / |z|^2 + s^2", 2 * inward + noise**2, 0.0)],
        "geometric": [Condition("almost sure rate g - s^2/2", falls, 0.0)],
    }[form]
    if form == "linear":
        factor = (1 + inward * step) ** 2 + noise**2 * step
        lasting.append(Condition("mean square of a step (1 - k h)^2 + s^2 h", factor, 1.0))
    return StabilityReport(form, tuple(needed), tuple(lasting))


def _noise(field: Any, t: Any):
    s = jnp.abs(field.s(t))
    return jnp.tanh(s) if field.clip else s
