r"""Right-hand sides of learned dynamics, in scaled states, by what is known of their form.

    first:        dz/dt = g(z)
    second:       dx/dt = r v,  dv/dt = g(x, v)
    hamiltonian:  dq/dt = c dH/dp,   dp/dt = -c dH/dq,   H = w |z|^2 / 2 + s N(z)

`g` and `N` networks, `r` how fast things change, so that `v` is about 1, `c` one number for
each pair, such that in the units of the data the equations are Hamilton's. What is not
measured (`v`, or states that augment the measured ones) is a hidden state, whose start is
trained with the rest.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.methods.dynamics.observations import Scaling, Segments
from continua.nets import MLP, VectorField

FORMS = ("first", "second", "hamiltonian")


class SecondOrder(eqx.Module):
    """`(x, v)` to `(r v, g(x, v))`.

    **Arguments:**

    - `force`: a `VectorField` of `(x, v)` to as many numbers, of which the last half counts.
    - `rates`: `r`, one number for each of `x`.
    """

    force: VectorField
    rates: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, t: Any, z: Float[Array, " s"]) -> Float[Array, " s"]:
        half = z.shape[0] // 2
        rates = jnp.asarray(self.rates, z.dtype)
        return jnp.concatenate([rates * z[half:], self.force(t, z)[half:]])


class Hamiltonian(eqx.Module):
    """Hamilton's equations of a trained energy.

    **Arguments:**

    - `pairs`: of coordinates and momenta, `(q_1, ..., q_n, p_1, ..., p_n)`.
    - `rate`: of an oscillation at the start.
    - `ratios`: `c`, `(n,)`.
    - `width`, `depth`: of `N`.

    **Reference:** greydanus2019hamiltonian
    """

    network: MLP
    stiffness: Float[Array, ""]
    scale: Float[Array, ""]
    ratios: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, pairs: int, *, rate: float, ratios, width: int, depth: int, key):
        soft = jax.nn.softplus
        self.network = MLP(2 * pairs, 1, width=width, depth=depth, activation=soft, key=key)
        self.stiffness, self.scale = jnp.full((), rate), jnp.full((), 0.1 * rate)
        self.ratios = tuple(map(float, ratios))

    def energy(self, z: Float[Array, " s"]) -> Float[Array, ""]:
        """`H`, in scaled states."""
        return self.stiffness * jnp.sum(z**2) / 2 + self.scale * self.network(z)[0]

    def __call__(self, t: Any, z: Float[Array, " s"]) -> Float[Array, " s"]:
        slope, half = jax.grad(self.energy)(z), z.shape[0] // 2
        ratios = jnp.asarray(self.ratios, z.dtype)
        return jnp.concatenate([ratios * slope[half:], -ratios * slope[:half]])


def hidden_states(variables: tuple[str, ...], form: str, augment: int) -> tuple[str, ...]:
    """Names of the states that are not measured.

    **Arguments:**

    - `variables`: what is measured.
    - `form`: one of `FORMS`.
    - `augment`: further states.
    """
    velocities = tuple(f"{v}_t" for v in variables) if form == "second" else ()
    return (*velocities, *(f"hidden{i + 1}" for i in range(augment)))


def field_of(
    form: str, scaling: Scaling, rate: Float[np.ndarray, " s"], *, width: int, depth: int, key
) -> Callable:
    """The right-hand side with weights from a start.

    **Arguments:**

    - `form`: one of `FORMS`.
    - `scaling`: of the states.
    - `rate`: how fast each scaled state changes.
    - `width`, `depth`: of the network.
    """
    size = len(scaling.mean)
    if form == "hamiltonian":
        # In scaled states both equations of a pair have the factor 1 / (std_q std_p); its
        # common size is the energy's own.
        deviations = np.asarray(scaling.std).reshape(2, -1).prod(axis=0)
        ratios = deviations[0] / deviations
        start = float(np.mean(rate))
        return Hamiltonian(size // 2, rate=start, ratios=ratios, width=width, depth=depth, key=key)
    if form == "second":  # velocities change as fast as what they move
        rate = np.tile(rate[: size // 2], 2)
    field = VectorField(size, width=width, depth=depth, key=key)
    field = eqx.tree_at(lambda f: f.scale, field, jnp.asarray(rate, field.scale.dtype))
    return SecondOrder(field, tuple(map(float, rate[: size // 2]))) if form == "second" else field


def starts_of(segments: Segments, form: str, rate: Float[np.ndarray, " s"]) -> np.ndarray:
    """Starts of the pieces, velocities by the first two measurements.

    **Arguments:**

    - `segments`: of states `(x, v)` where the form is `"second"`.
    - `form`: one of `FORMS`.
    - `rate`: how fast each scaled state changes.
    """
    starts = segments.starts.copy()
    if form == "second" and segments.times.shape[1] > 1:
        half = starts.shape[1] // 2
        both = segments.mask[:, 0, :half] * segments.mask[:, 1, :half]
        step = (segments.times[:, 1] - segments.times[:, 0])[:, None]
        moved = segments.values[:, 1, :half] - segments.values[:, 0, :half]
        starts[:, half:] = both * moved / np.where(step > 0, step, 1.0) / rate[:half]
    return starts
