"""Conservation laws and the fluxes between two states of them.

    d u / dt + sum_i d F_i(u) / dx_i = 0

States are arrays `(s, ...)`, one row a conserved quantity.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

State = Float[Array, "s ..."]
_SQUARINGS = 5


class AbstractLaw(abc.ABC):
    """A conservation law.

    Subclasses state `kept_positive`, the names of what `positive` returns, and whether they
    are `alike_everywhere`. What a face or cell is at, `where`, holds coordinates by name;
    given systems do not look at it.
    """

    kept_positive: tuple[str, ...] = ()
    alike_everywhere: bool = False

    @abc.abstractmethod
    def flux(self, u: State, axis: int, where: Any) -> State:
        """The flux along an axis."""

    @abc.abstractmethod
    def speed(self, u: State, axis: int, where: Any) -> Float[Array, "..."]:
        """A bound of the largest speed of a wave along an axis, never much above it."""

    @abc.abstractmethod
    def positive(self, u: State) -> State:
        """Concave functions of the state that must stay positive: `(k, ...)`."""

    @abc.abstractmethod
    def modes(self, u: State, axis: int) -> "Modes | None":
        """The eigenvectors of the flux at a state, `None` to do without."""


@dataclasses.dataclass(frozen=True)
class Modes:
    """The waves of a law at given states.

    **Arguments:**

    - `to`: takes a state to the amplitudes of its waves, one array each.
    - `back`: takes amplitudes to the rows of the state.
    """

    to: Callable[[State], list]
    back: Callable[[Any], list]


@dataclasses.dataclass(frozen=True)
class Law(AbstractLaw):
    """A conservation law by its flux alone; speeds by automatic differentiation.

    **Arguments:**

    - `function`: `(u, axis, where)` to the flux `(s, ...)`, point by point.
    """

    function: Callable[[State, int, Any], State]

    def flux(self, u, axis, where):
        return self.function(u, axis, where)

    def speed(self, u, axis, where):
        rows = []
        for k in range(u.shape[0]):
            along = jnp.zeros_like(u).at[k].set(1)
            rows.append(jax.jvp(lambda v: self.function(v, axis, where), (u,), (along,))[1])
        return jnp.abs(rows[0][0]) if len(rows) == 1 else spectral_radius(jnp.stack(rows, axis=1))

    def positive(self, u):
        return u[:0]

    def modes(self, u, axis):
        return None


def spectral_radius(matrix: Float[Array, "s s ..."]) -> Float[Array, "..."]:
    """A bound of the spectral radius of small matrices, `|A^32|^(1/32)` in the maximum norm.

    **Arguments:**

    - `matrix`: `(s, s, ...)`.
    """
    bound, power = jnp.zeros((), matrix.dtype), 1.0
    tiny = float(jnp.finfo(matrix.dtype).tiny)
    for i in range(_SQUARINGS + 1):
        norm = jnp.max(jnp.sum(jnp.abs(matrix), axis=1), axis=0) + tiny
        bound, matrix = bound + jnp.log(norm) / power, matrix / norm
        if i < _SQUARINGS:
            matrix, power = jnp.einsum("ij...,jk...->ik...", matrix, matrix), 2 * power
    return jnp.exp(bound)


@dataclasses.dataclass(frozen=True)
class Euler(AbstractLaw):
    r"""An ideal gas: density, momentum along each axis, energy.

        rho_t + div m = 0,   m_t + div(m m / rho) + grad p = 0,   E_t + div((E + p) m / rho) = 0,
        p = (gamma - 1)(E - |m|^2 / (2 rho)).

    **Arguments:**

    - `gamma`: ratio of specific heats; may be traced.

    **Reference:** toro2009riemann
    """

    gamma: Any
    kept_positive = ("density", "pressure")
    alike_everywhere = True

    def primitive(self, u: State) -> State:
        """Density, velocities, pressure."""
        rho, *momenta, energy = u
        velocities = [m / rho for m in momenta]
        kinetic: Any = sum(m * v for m, v in zip(momenta, velocities, strict=True)) / 2
        return jnp.stack([rho, *velocities, (self.gamma - 1) * (energy - kinetic)])

    def conserved(self, w: State) -> State:
        """Density, momenta, energy from what `primitive` returns."""
        kinetic = jnp.sum(w[1:-1] ** 2, axis=0, keepdims=True) * w[:1] / 2
        return jnp.concatenate([w[:1], w[:1] * w[1:-1], w[-1:] / (self.gamma - 1) + kinetic])

    def flux(self, u, axis, where):
        w = self.primitive(u)
        v, p = w[1 + axis], w[-1]
        rows = [v * q for q in (*u[:-1], u[-1] + p)]
        rows[1 + axis] = rows[1 + axis] + p
        return jnp.stack(rows)

    def sound(self, w: State) -> Float[Array, "..."]:
        """The speed of sound from density and pressure, 0 where there is none."""
        return jnp.sqrt(jnp.maximum(self.gamma * w[-1] / w[0], 0))

    def speed(self, u, axis, where):
        w = self.primitive(u)
        return jnp.abs(w[1 + axis]) + self.sound(w)

    def positive(self, u):
        w = self.primitive(u)
        return jnp.stack([w[0], w[-1]])

    def modes(self, u, axis):
        """Acoustic waves, contact and shear at a state (Toro, section 3.2)."""
        w, g = self.primitive(u), self.gamma - 1
        v, c = w[1 + axis], self.sound(w)
        velocities = w[1:-1]
        across = [i for i in range(u.shape[0] - 2) if i != axis]
        half: Any = sum(x * x for x in velocities) / 2
        enthalpy = half + c**2 / g
        slow = 1 / c
        scale = g * slow**2

        def to(q):
            # Changes of pressure and of momentum against the mean flow.
            pressure = half * q[0] + q[-1]
            for i, x in enumerate(velocities):
                pressure = pressure - x * q[1 + i]
            b, a = pressure * scale, (q[1 + axis] - v * q[0]) * slow
            shear = [q[1 + i] - w[1 + i] * q[0] for i in across]
            return [(b - a) / 2, q[0] - b, (b + a) / 2, *shear]

        def back(z):
            mass = z[0] + z[1] + z[2]
            momentum = [w[1 + i] * mass for i in range(u.shape[0] - 2)]
            momentum[axis] = momentum[axis] + c * (z[2] - z[0])
            energy = enthalpy * (z[0] + z[2]) + v * c * (z[2] - z[0]) + half * z[1]
            for k, i in enumerate(across):
                momentum[i] = momentum[i] + z[3 + k]
                energy = energy + w[1 + i] * z[3 + k]
            return [mass, *momentum, energy]

        return Modes(to, back)


@dataclasses.dataclass(frozen=True)
class ShallowWater(AbstractLaw):
    r"""Shallow water over a flat bed: depth, discharge along each axis.

        h_t + div q = 0,   q_t + div(q q / h) + grad(g h^2 / 2) = 0.

    **Arguments:**

    - `gravity`: `g`; may be traced.

    **Reference:** toro2001shock
    """

    gravity: Any
    kept_positive = ("depth",)
    alike_everywhere = True

    def flux(self, u, axis, where):
        return (u[1 + axis] / u[0] * u).at[1 + axis].add(self.gravity * u[0] ** 2 / 2)

    def speed(self, u, axis, where):
        return jnp.abs(u[1 + axis] / u[0]) + jnp.sqrt(jnp.maximum(self.gravity * u[0], 0))

    def positive(self, u):
        return u[:1]

    def modes(self, u, axis):
        velocity, c = u[1:] / u[0], jnp.sqrt(jnp.maximum(self.gravity * u[0], 0))
        across = [i for i in range(u.shape[0] - 1) if i != axis]

        def to(q):
            a = (q[1 + axis] - velocity[axis] * q[0]) / c
            shear = [q[1 + i] - velocity[i] * q[0] for i in across]
            return [(q[0] - a) / 2, (q[0] + a) / 2, *shear]

        def back(z):
            depth = z[0] + z[1]
            discharge = [v * depth for v in velocity]
            discharge[axis] = discharge[axis] + c * (z[1] - z[0])
            for k, i in enumerate(across):
                discharge[i] = discharge[i] + z[2 + k]
            return [depth, *discharge]

        return Modes(to, back)


class AbstractFlux(abc.ABC):
    """The flux through a face between two states."""

    @abc.abstractmethod
    def between(self, law: AbstractLaw, left: State, right: State, axis: int, where: Any) -> State:
        """The flux along an axis, `law.flux(u)` where both states are `u`."""

    @abc.abstractmethod
    def takes(self, law: AbstractLaw) -> bool:
        """Whether it is defined for a law."""


@dataclasses.dataclass(frozen=True)
class Rusanov(AbstractFlux):
    """The mean flux less the jump times the largest speed: for every law, the most damping.

    **Reference:** toro2009riemann
    """

    def between(self, law, left, right, axis, where):
        speed = jnp.maximum(law.speed(left, axis, where), law.speed(right, axis, where))
        both = law.flux(left, axis, where) + law.flux(right, axis, where)
        return (both - speed * (right - left)) / 2

    def takes(self, law):
        return True


@dataclasses.dataclass(frozen=True)
class HLLC(AbstractFlux):
    """Three waves of an ideal gas, with the speeds of Einfeldt: contacts stay sharp.

    **Reference:** toro2009riemann, batten1997choice
    """

    def between(self, law, left, right, axis, where):
        assert isinstance(law, Euler)
        wl, wr = law.primitive(left), law.primitive(right)
        sl, sr = self._speeds(law, left, right, wl, wr, axis)
        ml, mr = wl[0] * (sl - wl[1 + axis]), wr[0] * (sr - wr[1 + axis])
        push = wr[-1] - wl[-1] + ml * wl[1 + axis] - mr * wr[1 + axis]
        middle = push / (ml - mr)
        # What comes through the face is from the side that the contact moves away from.
        from_left = middle >= 0
        u = [jnp.where(from_left, a, b) for a, b in zip(left, right, strict=True)]
        v, p = (jnp.where(from_left, wl[i], wr[i]) for i in (1 + axis, -1))
        s, beyond = jnp.where(from_left, sl, sr), jnp.where(from_left, sl >= 0, sr <= 0)
        share = 1 / (s - middle)
        pressure = p + u[0] * (s - v) * (middle - v)
        star = [(s - v) * share * q for q in u]
        star[1 + axis] = star[0] * middle
        star[-1] = ((s - v) * u[-1] - p * v + pressure * middle) * share
        flux = [v * q for q in (*u[:-1], u[-1] + p)]
        flux[1 + axis] = flux[1 + axis] + p
        return jnp.stack(
            [jnp.where(beyond, f, f + s * (b - a)) for f, a, b in zip(flux, u, star, strict=True)]
        )

    def _speeds(self, law, left, right, wl, wr, axis: int):
        """Of the outer waves, by the means of Roe."""
        rl, rr = jnp.sqrt(wl[0]), jnp.sqrt(wr[0])
        share = 1 / (rl + rr)

        def mean(a, b):
            return (rl * a + rr * b) * share

        velocities = [mean(a, b) for a, b in zip(wl[1:-1], wr[1:-1], strict=True)]
        enthalpy = mean((left[-1] + wl[-1]) / wl[0], (right[-1] + wr[-1]) / wr[0])
        kinetic: Any = sum(x * x for x in velocities) / 2
        sound = jnp.sqrt(jnp.maximum((law.gamma - 1) * (enthalpy - kinetic), 0))
        lower = jnp.minimum(wl[1 + axis] - law.sound(wl), velocities[axis] - sound)
        upper = jnp.maximum(wr[1 + axis] + law.sound(wr), velocities[axis] + sound)
        return lower, upper

    def takes(self, law):
        return isinstance(law, Euler)


def admissible(law: AbstractLaw, u: State) -> Bool[Array, "..."]:
    """Whether states are finite and what must be positive is.

    **Arguments:**

    - `law`: the conservation law.
    - `u`: `(s, ...)`.
    """
    return jnp.all(jnp.isfinite(u), axis=0) & jnp.all(law.positive(u) > 0, axis=0)
