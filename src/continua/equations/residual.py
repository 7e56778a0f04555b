"""The pointwise view: `left - right` of an equation for a function, such as a network."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.equations.compile import (
    compile_expressions,
    jet_symbols,
    replace_jets,
)
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.equations.taylor import derivatives


def residual(
    equation,
    net: Callable[[Float[Array, " d"]], Float[Array, " c"]],
    points: Float[Array, "n d"],
    parameters: Mapping[str, Float[Array, ""] | float],
    *,
    differentiate: Callable = derivatives,
) -> Float[Array, "n e"]:
    """`left - right` of every expression at every point, in one Taylor-mode pass.

    **Arguments:**

    - `equation`: an `Equation`.
    - `net`: one point `(d,)` (coordinates in the equation's order) to the `c` unknowns.
    - `points`: `(n, d)`.
    - `parameters`: a scalar for every parameter of the equation.
    - `differentiate`: `derivatives(f, point, orders)`; another way to differentiate
      can be put here to compare with.

    **Returns:** `(n, e)`.
    """
    expressions, orders, unknown_jets = _compiled(equation)

    def at_point(point):
        rows = differentiate(net, point, orders)
        return [rows[orders.index(o), equation.unknowns.index(u)] for u, o in unknown_jets]

    jets = jax.vmap(at_point)(points) if unknown_jets else []
    fields = [equation.fields[name](points) for name, _ in equation.jets if name in equation.fields]
    values = expressions(
        *(points[:, i] for i in range(points.shape[1])),
        *(parameters[p] for p in equation.parameters),
        *jets,
        *fields,
    )
    return jnp.stack([jnp.broadcast_to(v, points.shape[:1]) for v in values], axis=-1)


def _compiled(equation):
    symbols = jet_symbols(equation.jets)
    unknown = [j for j in equation.jets if j[0] in equation.unknowns]
    fields = [j for j in equation.jets if j[0] in equation.fields]
    flat = [replace_jets(e, equation.coordinates, symbols) for e in equation.expanded]
    arguments = [
        *map(coordinate_symbol, equation.coordinates),
        *map(parameter_symbol, equation.parameters),
        *(symbols[j] for j in (*unknown, *fields)),
    ]
    orders = sorted({orders for _, orders in unknown})
    return compile_expressions(flat, arguments), orders, unknown


def nested_forward(function: Callable, point: Float[Array, " d"], orders) -> Array:
    """The same derivatives by `jvp` of `jvp`, for any function; slower at high order.

    **Arguments** and **Returns:** as `taylor.derivatives`.
    """
    rows = []
    for alpha in orders:
        f = function
        for axis, count in enumerate(alpha):
            unit = jnp.zeros_like(point).at[axis].set(1)
            for _ in range(count):
                f = _directional(f, unit)
        rows.append(f(point))
    return jnp.stack(rows)


def _directional(f, direction):
    return lambda x: jax.jvp(f, (x,), (direction,))[1]
