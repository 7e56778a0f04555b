"""Dynamics in scaled coordinates: a formula, a network, or both."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.methods.dynamics.observations import Scaling
from continua.methods.fields.field import Parameter


class KnownPart(eqx.Module):
    """A declared equation as `f(t, y, p)`.

    **Arguments:**

    - `equation`: of first or higher order in time, without space.
    - `parameters`: values of its known parameters.
    """

    equation: Any
    parameters: Mapping[str, float]

    def __call__(self, t: Any, y: Float[Array, " s"], unknown: Mapping[str, Any]):
        right: Callable = self.equation.semidiscrete(None)
        return right(t, y, {**self.parameters, **unknown})


class Dynamics(eqx.Module):
    """`dy/dt = f(t, y, p) + g(y, u)`, with a leading axis of members on all arrays.

    **Arguments:**

    - `field`: `g` in scaled coordinates, `(t, z, u)`, or `None`.
    - `raw`: free numbers of the unknown parameters; `unknown`: what they stand for.
    - `starts`: scaled states at the heads of the segments `(m, s)`.
    - `known`: `f`, or `None`.
    - `scaling`: between `y` and scaled states.
    - `states`: names.
    - `inputs`: between known inputs and scaled ones; `None` where there are none.
    """

    field: Callable | None
    raw: dict[str, Float[Array, "..."]]
    starts: Float[Array, "... m s"]
    known: KnownPart | None
    unknown: Mapping[str, Parameter]
    scaling: Scaling
    states: tuple[str, ...]
    inputs: Scaling | None = None

    def scaled_field(
        self, t: Any, z: Float[Array, " s"], u: Float[Array, " d"] | None = None
    ) -> Float[Array, " s"]:
        """`dz/dt`, for one member, of scaled inputs `u`."""
        slope = jnp.zeros_like(z) if self.field is None else self.field(t, z, u)
        if self.known is None:
            return slope
        y = jnp.asarray(self.scaling.decode(z))
        recovered = {n: p.decode(self.raw[n]) for n, p in self.unknown.items()}
        return slope + self.scaling.rate(y, self.known(t, y, recovered))


def members_of(make: Callable[[Any], Any], count: int, *, key) -> Any:
    """Models from different starts as one, with a leading axis on all arrays.

    **Arguments:**

    - `make`: `key` to a model.
    - `count`: how many.
    """
    made = [eqx.partition(make(k), eqx.is_array) for k in jax.random.split(key, count)]
    arrays = jax.tree.map(lambda *x: jnp.stack(x), *(a for a, _ in made))
    return eqx.combine(arrays, made[0][1])


def states_of(problem: Any) -> tuple[str, ...]:
    """Names of the states: the equation's, or the measured variables."""
    if problem.equation is None:
        return tuple(problem.variables)
    return tuple(problem.equation.first_order().states)


def known_part(problem: Any) -> KnownPart | None:
    """The formula of a problem, `None` where there is none."""
    if problem.equation is None:
        return None
    return KnownPart(problem.equation, dict(problem.parameters))
