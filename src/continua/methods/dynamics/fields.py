r"""Right-hand sides of learned dynamics, in scaled states, by what is known of their form.

    first:        dz/dt = g(z, u)
    second:       dx/dt = r v,  dv/dt = g(x, v, u)
    hamiltonian:  dq/dt = c dH/dp,   dp/dt = -c dH/dq,   H = w |z|^2 / 2 + s N(z)
    lagrangian:   dq/dt = r v,  d/dt dL/dv = r dL/dq,   L = v . M(q) v / 2 - V(q)

`g` and `N` networks, `u` known inputs, `r` how fast things change, so that `v` is about 1, `c`
one number for each pair, such that in the units of the data the equations are Hamilton's.
`M = C C'` with a network for `C`, lower triangular with a diagonal above 0, so that Lagrange's
equations always have an acceleration,

    M(q) dv/dt = r dL/dq - (d/dq M(q) v) (r v).

What is not measured (velocities, or states that augment the measured ones) is a hidden state,
whose start is trained with the rest.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.methods.dynamics.observations import Scaling, Segments
from continua.nets import MLP, VectorField, softplus

FORMS = ("first", "second", "hamiltonian", "lagrangian")
MOVING = ("second", "lagrangian")  # with a velocity for each position
CONSERVATIVE = ("hamiltonian", "lagrangian")
_LEAST = 0.05  # on the diagonal of `C`, which begins near 1


class SecondOrder(eqx.Module):
    """`(x, v)` to `(r (v + s), g(x, v, u))`.

    **Arguments:**

    - `force`: a `VectorField` of `(x, v)` to as many numbers, of which the last half counts.
    - `rates`: `r`, one number for each of `x`.
    - `shifts`: `s`, of velocities whose scale does not begin at 0.
    """

    force: VectorField
    rates: tuple[float, ...] = eqx.field(static=True)
    shifts: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, t: Any, z: Float[Array, " s"], u: Any = None) -> Float[Array, " s"]:
        half = z.shape[0] // 2
        rates, shifts = (jnp.asarray(x, z.dtype) for x in (self.rates, self.shifts))
        return jnp.concatenate([rates * (z[half:] + shifts), self.force(t, z, u)[half:]])


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
        self.network = MLP(2 * pairs, 1, width=width, depth=depth, activation=softplus, key=key)
        self.stiffness, self.scale = jnp.full((), rate), jnp.full((), 0.1 * rate)
        self.ratios = tuple(map(float, ratios))

    def energy(self, z: Float[Array, " s"]) -> Float[Array, ""]:
        """`H`, in scaled states."""
        return self.stiffness * jnp.sum(z**2) / 2 + self.scale * self.network(z)[0]

    def __call__(self, t: Any, z: Float[Array, " s"], u: Any = None) -> Float[Array, " s"]:
        slope, half = jax.grad(self.energy)(z), z.shape[0] // 2
        ratios = jnp.asarray(self.ratios, z.dtype)
        return jnp.concatenate([ratios * slope[half:], -ratios * slope[:half]])


class Mass(eqx.Module):
    """`M(q) = C C'`, positive definite, near the unit matrix at the start.

    **Arguments:**

    - `size`: of `q`.
    - `width`, `depth`: of the network.

    **Reference:** lutter2019deep
    """

    network: MLP

    def __init__(self, size: int, *, width: int, depth: int, key):
        entries = size * (size + 1) // 2
        network = MLP(size, entries, width=width, depth=depth, activation=softplus, key=key)
        last = 0.1 * network.layers[-1].weight
        self.network = eqx.tree_at(lambda m: m.layers[-1].weight, network, last)

    def __call__(self, q: Float[Array, " n"]) -> Float[Array, "n n"]:
        raw, n = self.network(q), q.shape[0]
        one = float(np.log(np.expm1(1 - _LEAST)))
        factor = jnp.diag(softplus(raw[:n] + one) + _LEAST)
        factor = factor.at[np.tril_indices(n, -1)].set(raw[n:])
        return factor @ factor.T


class Potential(eqx.Module):
    """`V(q) = w |q|^2 / 2 + s N(q)`.

    **Arguments:**

    - `size`: of `q`.
    - `stiffness`: `w` at the start, a tenth of which `s` is.
    - `width`, `depth`: of `N`.
    """

    network: MLP
    stiffness: Float[Array, ""]
    scale: Float[Array, ""]

    def __init__(self, size: int, *, stiffness: float, width: int, depth: int, key):
        self.network = MLP(size, 1, width=width, depth=depth, activation=softplus, key=key)
        self.stiffness, self.scale = jnp.full((), stiffness), jnp.full((), 0.1 * stiffness)

    def __call__(self, q: Float[Array, " n"]) -> Float[Array, ""]:
        return self.stiffness * jnp.sum(q**2) / 2 + self.scale * self.network(q)[0]


class Lagrangian(eqx.Module):
    """Lagrange's equations of a trained `L = v . M(q) v / 2 - V(q)`, of `(q, v)`.

    **Arguments:**

    - `mass`: `M`, `(n,)` to `(n, n)`, positive definite.
    - `potential`: `V`.
    - `rates`, `shifts`: `dq/dt = rates (v + shifts)`, `(n,)`.

    **Reference:** cranmer2020lagrangian, lutter2019deep
    """

    mass: Callable
    potential: Callable
    rates: tuple[float, ...] = eqx.field(static=True)
    shifts: tuple[float, ...] = eqx.field(static=True)

    def lagrangian(self, q: Float[Array, " n"], v: Float[Array, " n"]) -> Float[Array, ""]:
        """`L`, of the shifted `v`."""
        return v @ self.mass(q) @ v / 2 - self.potential(q)

    def energy(self, z: Float[Array, " s"]) -> Float[Array, ""]:
        """`v . dL/dv - L`, which stays what it is."""
        q, v = self._split(z)
        return v @ self.mass(q) @ v / 2 + self.potential(q)

    def __call__(self, t: Any, z: Float[Array, " s"], u: Any = None) -> Float[Array, " s"]:
        q, v = self._split(z)
        rates = jnp.asarray(self.rates, z.dtype)
        slope = jax.grad(self.lagrangian)(q, v)
        mass, change = jax.jvp(self.mass, (q,), (rates * v,))
        force = rates * slope - change @ v
        if force.shape[0] == 1:  # a call of a solver costs more than the network
            return jnp.concatenate([rates * v, force / mass[0]])
        return jnp.concatenate([rates * v, jax.scipy.linalg.solve(mass, force, assume_a="pos")])

    def _split(self, z) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        half = z.shape[0] // 2
        return z[:half], z[half:] + jnp.asarray(self.shifts, z.dtype)


def states_of_form(variables: tuple[str, ...], form: str, augment: int) -> tuple[str, ...]:
    """Names of the states: with the velocity `x_t` of each position `x`, measured or hidden,
    or with states that augment what is measured.

    **Arguments:**

    - `variables`: what is measured.
    - `form`: one of `FORMS`.
    - `augment`: further states.
    """
    if form in MOVING:
        positions = tuple(
            v for v in variables if not (v.endswith("_t") and v.removesuffix("_t") in variables)
        )
        return (*positions, *(f"{v}_t" for v in positions))
    return (*variables, *(f"hidden{i + 1}" for i in range(augment)))


def kinematics(
    scaling: Scaling, rate: Float[np.ndarray, " s"], measured: tuple[bool, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`r` and `s` of `dx/dt = r (v + s)` in scaled states: those of the scaling where a
    velocity is measured.

    **Arguments:**

    - `scaling`: of `(x, v)`.
    - `rate`: how fast each scaled state changes.
    - `measured`: which of `v` are.
    """
    mean, std = np.asarray(scaling.mean), np.asarray(scaling.std)
    half, there = len(mean) // 2, np.asarray(measured, bool)
    rates = np.where(there, std[half:] / std[:half], rate[:half])
    shifts = np.where(there, mean[half:] / std[half:], 0.0)
    return tuple(map(float, rates)), tuple(map(float, shifts))


def field_of(
    form: str,
    scaling: Scaling,
    rate: Float[np.ndarray, " s"],
    *,
    width: int,
    depth: int,
    measured: tuple[bool, ...] = (),
    inputs: int = 0,
    key,
) -> Callable:
    """The right-hand side with weights from a start.

    **Arguments:**

    - `form`: one of `FORMS`.
    - `scaling`: of the states.
    - `rate`: how fast each scaled state changes.
    - `width`, `depth`: of the network.
    - `measured`: which velocities are, of the forms that have some; by default none.
    - `inputs`: how many known inputs there are, of the forms that take some.
    """
    networks: dict[str, Any] = {"width": width, "depth": depth}
    size, half = len(scaling.mean), len(scaling.mean) // 2
    if form == "hamiltonian":
        # In scaled states both equations of a pair have the factor 1 / (std_q std_p); its
        # common size is the energy's own.
        deviations = np.asarray(scaling.std).reshape(2, -1).prod(axis=0)
        ratios = deviations[0] / deviations
        return Hamiltonian(half, rate=float(np.mean(rate)), ratios=ratios, **networks, key=key)
    motion: tuple = ()
    if form in MOVING:
        measured = measured or (False,) * half
        motion = kinematics(scaling, rate, measured)
        # Velocities that are hidden change as fast as what they move.
        changes = np.where(measured, rate[half:], rate[:half])
        rate = np.concatenate([rate[:half], changes])
    if form == "lagrangian":
        first, second = jax.random.split(key)
        stiffness = float(np.mean(rate[half:] / np.asarray(motion[0])))
        potential = Potential(half, stiffness=stiffness, **networks, key=second)
        return Lagrangian(Mass(half, **networks, key=first), potential, *motion)
    field = VectorField(size, inputs=inputs, **networks, key=key)
    field = eqx.tree_at(lambda f: f.scale, field, jnp.asarray(rate, field.scale.dtype))
    return SecondOrder(field, *motion) if form == "second" else field


def starts_of(segments: Segments, form: str, rate: Float[np.ndarray, " s"]) -> np.ndarray:
    """Starts of the pieces, hidden velocities by the first two measurements.

    **Arguments:**

    - `segments`: of states `(x, v)` where the form has velocities.
    - `form`: one of `FORMS`.
    - `rate`: how fast each scaled state changes.
    """
    starts = segments.starts.copy()
    if form in MOVING and segments.times.shape[1] > 1:
        half = starts.shape[1] // 2
        both = segments.mask[:, 0, :half] * segments.mask[:, 1, :half]
        step = (segments.times[:, 1] - segments.times[:, 0])[:, None]
        moved = segments.values[:, 1, :half] - segments.values[:, 0, :half]
        found = both * moved / np.where(step > 0, step, 1.0) / rate[:half]
        hidden = ~segments.mask[..., half:].any(axis=(0, 1))
        starts[:, half:] = np.where(hidden, found, starts[:, half:])
    return starts
