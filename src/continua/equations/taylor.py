"""Derivatives of any order in one pass: truncated Taylor series through a function.

Along directions `v_j` the curves `x + s v_j` are carried through the function as
series `sum_k c_jk s^k`, `c_jk = (d/ds)^k f(x + s v_j) / k!`, the coefficients of all
directions together, so that the value is computed once. Linear operations go over them
one by one; nonlinear ones use the recurrences of Griewank & Walther (2008), chapter 13.

Mixed derivatives of order `m` are linear combinations of `m`-th derivatives along
integer directions.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core
from jaxtyping import Array, Float

from continua.equations import taylor_rules as rules


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which directions to follow, how far, and how derivatives come out of them.

    **Arguments:**

    - `directions`: integer vectors `(d,)`, and `degrees`: how far each is followed.
    - `weights`: for each wanted derivative, a row over all coefficients.
    """

    directions: tuple[tuple[int, ...], ...]
    degrees: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]


@functools.lru_cache(maxsize=256)
def plan(orders: tuple[tuple[int, ...], ...]) -> Plan:
    """The cheapest plan of this kind for a set of multi-indices.

    **Arguments:**

    - `orders`: multi-indices `(d,)`: `(1, 0)` is the first derivative in the first
      coordinate, `(0, 0)` the value.
    """
    followed: dict[tuple[int, ...], int] = {}
    recipes = []
    for alpha in orders:
        recipe = _recipe(alpha)
        recipes.append(recipe)
        for direction, _ in recipe:
            followed[direction] = max(followed.get(direction, 0), sum(alpha))
    directions = tuple(followed)
    degrees = tuple(followed[d] for d in directions)
    starts = dict(zip(directions, 1 + np.cumsum((0, *degrees))[:-1], strict=True))
    weights = []
    for alpha, recipe in zip(orders, recipes, strict=True):
        row = np.zeros(1 + sum(degrees))
        if not sum(alpha):
            row[0] = 1.0
        for direction, weight in recipe:
            row[starts[direction] + sum(alpha) - 1] += weight
        weights.append(tuple(row))
    return Plan(directions, degrees, tuple(weights))


def _recipe(alpha: tuple[int, ...]) -> list[tuple[tuple[int, ...], float]]:
    """`d^alpha f` as a sum of weights times Taylor coefficients along directions."""
    degree, axes = sum(alpha), [i for i, n in enumerate(alpha) if n]
    if degree == 0:
        return []
    if len(axes) == 1:
        unit = tuple(int(i == axes[0]) for i in range(len(alpha)))
        return [(unit, float(math.factorial(degree)))]
    # c_m(v) = sum_{|b| = m} v^b / b! d^b f: invert this over the lattice |v| = m.
    lattice = [
        b for b in itertools.product(range(degree + 1), repeat=len(axes)) if sum(b) == degree
    ]
    matrix = np.array(
        [
            [
                math.prod(v**b / math.factorial(b) for v, b in zip(d, beta, strict=True))
                for beta in lattice
            ]
            for d in lattice
        ]
    )
    wanted = lattice.index(tuple(alpha[i] for i in axes))
    row = np.linalg.inv(matrix)[wanted]
    recipe = []
    for vector, weight in zip(lattice, row, strict=True):
        if abs(weight) < 1e-12:
            continue
        full = [0] * len(alpha)
        for axis, component in zip(axes, vector, strict=True):
            full[axis] = component
        # A pure direction (m, 0) is the unit direction with coefficient scaled.
        common = math.gcd(*full)
        recipe.append((tuple(c // common for c in full), weight * common**degree))
    return recipe


def derivatives(
    function: Callable, point: Float[Array, " d"], orders: Sequence[tuple[int, ...]]
) -> Float[Array, "k *out"]:
    """Chosen partial derivatives of `function` at one point, in one pass.

    **Arguments:**

    - `function`: `(d,) -> out`, made of the operations that `taylor_rules` knows.
    - `point`: `(d,)`; batch by `jax.vmap`.
    - `orders`: `k` multi-indices `(d,)`.

    **Returns:** one row a multi-index.

    **Raises:** `NotAnalytic` for an operation without a rule.

    **Reference:** griewank2008evaluating
    """
    chosen = plan(tuple(tuple(order) for order in orders))
    rows: list = [point]
    for direction, degree in zip(chosen.directions, chosen.degrees, strict=True):
        rows += [jnp.asarray(direction, point.dtype), *(None,) * (degree - 1)]
    series = _carry(function, rules.Series(tuple(rows), chosen.degrees))
    return jnp.stack([_combined(series, weights) for weights in chosen.weights])


def _combined(series: rules.Series, weights: tuple[float, ...]):
    terms = [
        row if w == 1 else row * w
        for row, w in zip(series.rows, weights, strict=True)
        if w and row is not None
    ]
    return functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(series.value)


def propagate(function: Callable, stack, degrees: tuple[int, ...]):
    """Carry a stack of Taylor coefficients `(1 + sum(degrees), d)` through a function.

    **Arguments:**

    - `function`: `(d,) -> out`, made of the operations that `taylor_rules` knows.
    - `stack`: the value, then `c_1 .. c_K` of each direction.
    - `degrees`: `K` of each direction.

    **Returns:** the stack of the result, `(1 + sum(degrees), *out)`.
    """
    return jnp.stack(_carry(function, rules.Series(tuple(stack), degrees)).filled())


def _carry(function: Callable, series: rules.Series) -> rules.Series:
    closed = jax.make_jaxpr(function)(series.value)
    if len(closed.jaxpr.outvars) != 1:
        raise rules.NotAnalytic("the function must return one array")
    (out,) = _evaluate(closed.jaxpr, closed.consts, [series], series.degrees)
    if isinstance(out, rules.Series):
        return out
    return rules.Series((jnp.asarray(out), *(None,) * sum(series.degrees)), series.degrees)


def _evaluate(jaxpr, consts, arguments, degrees):
    known: dict = {}

    def read(atom):
        return atom.val if isinstance(atom, jax_core.Literal) else known[atom]

    known.update(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        outputs = _apply(equation, inputs, degrees)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _apply(equation, inputs, degrees):
    primitive, params = equation.primitive, equation.params
    if not any(isinstance(x, rules.Series) for x in inputs):
        out = primitive.bind(*inputs, **params) if primitive.name not in _CALLS else None
        if out is not None:
            return out if primitive.multiple_results else [out]
    if primitive.name in _CALLS:
        inner = params[_CALLS[primitive.name]]
        if hasattr(inner, "consts"):
            return _evaluate(inner.jaxpr, inner.consts, inputs, degrees)
        return _evaluate(inner, (), inputs, degrees)
    out = rules.apply(primitive, inputs, params)
    return out if primitive.multiple_results else [out]


_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat": "jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}
