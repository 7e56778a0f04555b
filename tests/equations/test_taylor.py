"""Every Taylor rule against nested forward mode, and plans of mixed derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.precision import precision
from continua.equations import NotAnalytic, derivatives, nested_forward, propagate, taylor_rules
from continua.equations.taylor import plan
from continua.nets import MLP

# Every primitive with a rule, in a function that uses it: argument in (0.3, 0.9)^2.
FUNCTIONS = {
    "add": lambda x: x[0] + x[1] + 2.0,
    "sub": lambda x: 1.0 - x[0] - x[1] * x[1],
    "mul": lambda x: x[0] * x[1] * x[0] * 3.0,
    "div": lambda x: (1.0 + x[0]) / (x[1] * x[1] + x[0]) / 2.0,
    "div of a constant": lambda x: 2.0 / (1.0 + x[0] * x[1]),
    "neg": lambda x: -(x[0] ** 3),
    "dot_general": lambda x: (x * x) @ jnp.asarray([[1.0, 2.0], [3.0, -1.0]]) @ x,
    "dot_general of two series": lambda x: jnp.sin(x) @ jnp.cos(x * x[0]),
    "select_n": lambda x: jnp.where(x[0] > 0.1, x[0] ** 3 * x[1], 7.0),
    "max": lambda x: jnp.maximum(x[0] ** 3, x[0] - 10.0) * x[1],
    "max with a constant": lambda x: jnp.maximum(x[0] ** 3 * x[1], 0.001),
    "min": lambda x: jnp.minimum(x[0] * x[1] ** 2, 5.0 + x[1]),
    "abs": lambda x: jnp.abs(-(x[0] ** 2) * x[1]),
    "integer_pow": lambda x: x[0] ** 5 * x[1] ** 2,
    "integer_pow below zero": lambda x: (x[0] + x[1]) ** -3,
    "square": lambda x: jnp.square(x[0] * x[1] + x[0]),
    "pow": lambda x: (x[0] * x[1]) ** 2.5,
    "pow of two series": lambda x: (x[0] + 0.5) ** (x[1] * x[1]),
    "pow of a constant": lambda x: 1.7 ** (x[0] * x[1]),
    "tanh": lambda x: jnp.tanh(x[0] * x[1] + x[0]),
    "exp": lambda x: jnp.exp(x[0] * x[1]),
    "expm1": lambda x: jnp.expm1(x[0] * x[1]),
    "log": lambda x: jnp.log(x[0] + x[1] ** 2),
    "log1p": lambda x: jnp.log1p(x[0] * x[1]),
    "sin": lambda x: jnp.sin(3.0 * x[0] * x[1]),
    "cos": lambda x: jnp.cos(3.0 * x[0] + x[1] ** 2),
    "tan": lambda x: jnp.tan(x[0] * x[1]),
    "sinh": lambda x: jnp.sinh(x[0] * x[1]),
    "cosh": lambda x: jnp.cosh(x[0] * x[1]),
    "logistic": lambda x: jax.nn.sigmoid(3.0 * x[0] * x[1]),
    "sqrt": lambda x: jnp.sqrt(x[0] * x[1]),
    "rsqrt": lambda x: jax.lax.rsqrt(x[0] + x[1]),
    "erf": lambda x: jax.lax.erf(x[0] * x[1]),
    "erfc": lambda x: jax.lax.erfc(x[0] * x[1]),
    "atan": lambda x: jnp.arctan(x[0] * x[1] * 2.0),
    "softplus": lambda x: jax.nn.softplus(x[0] * x[1]),
    "gelu": lambda x: jax.nn.gelu(x[0] - x[1] ** 2, approximate=False),
    "silu": lambda x: jax.nn.silu(x[0] * x[1]),
    "concatenate": lambda x: jnp.sum(jnp.concatenate([x * x, jnp.ones(3), x]) ** 2),
    "pad": lambda x: jnp.sum(jnp.pad(x, 2, constant_values=2.0) ** 3),
    "shapes": lambda x: jnp.sum(jnp.broadcast_to((x * x)[::-1, None].T, (3, 2)) * x, axis=1)[1],
    "cumsum": lambda x: jnp.sum(jnp.cumsum(x * x) ** 2),
    "stack": lambda x: jnp.stack([x[0] * x[1], jnp.sin(x[0])]),
    "stack with a constant": lambda x: jnp.stack([x * x, jnp.ones(2)], axis=1),
    "split": lambda x: jnp.split(x * x, 2)[1] * x[0],
    "scalars beside vectors": lambda x: jnp.sum(
        (jnp.arange(4.0) * x[0] + x[1] - 2.0 * x[0] * x[1]) ** 2 / (3.0 + x[1])
        + jnp.maximum(x[0], jnp.asarray([0.1, 0.9, 0.2, 0.8]) * x[1]) ** x[0]
    ),
    "gather": lambda x: (x * x)[jnp.asarray([1, 0, 1])] * x[0],
    "dynamic_slice": lambda x: jax.lax.dynamic_slice(x * x * x, (1,), (1,)),
    "called": lambda x: jax.jit(lambda y: jnp.sin(y) * y)(x[0] * x[1]),
    "remat": lambda x: jax.checkpoint(lambda y: jnp.sin(y) * y)(x[0] * x[1]),
    "sign": lambda x: jnp.sign(x[0]) * x[1] ** 3,
    "stop_gradient": lambda x: x[0] * x[1] ** 2 + 0.0 * jax.lax.stop_gradient(x[0]),
    "constant": lambda x: jnp.asarray(3.0) + 0.0 * x[0],
    "independent": lambda x: jnp.asarray([3.0, 4.0]),
}
TO_FOURTH = [a for a in itertools.product(range(5), repeat=2) if sum(a) <= 4]


def agrees_with_nested(function):
    point = jnp.asarray([0.61, 0.43])
    found = jax.jit(lambda p: derivatives(function, p, TO_FOURTH))(point)
    exact = jax.jit(lambda p: nested_forward(function, p, TO_FOURTH))(point)
    assert found.shape == exact.shape
    scale = np.max(np.abs(exact)) + 1.0
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-11 * scale)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_rule(name):
    agrees_with_nested(FUNCTIONS[name])


# Along a straight line most coefficients vanish, and rules may leave them out.
STRAIGHT = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - 2.0 * b,
    "neg": lambda a, b: -a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "div by a constant": lambda a, b: a / 3.0,
    "constant over a line": lambda a, b: 3.0 / b,
    "select_n": lambda a, b: jnp.where(a > 0.0, a, b * b),
    "select_n of a constant": lambda a, b: jnp.where(a > 0.0, 2.0, b),
    "max": lambda a, b: jnp.maximum(a, b),
    "max with a constant": lambda a, b: jnp.maximum(0.001, b),
    "min": lambda a, b: jnp.minimum(a, b * b),
    "abs": lambda a, b: jnp.abs(-a),
    "integer_pow": lambda a, b: a**3,
    "integer_pow below zero": lambda a, b: b**-2,
    "square": lambda a, b: jnp.square(b),
    "pow": lambda a, b: b**1.5,
    "pow of two lines": lambda a, b: a**b,
    "pow of a constant": lambda a, b: 1.7**b,
    "concatenate": lambda a, b: jnp.concatenate([a[None], jnp.ones(2), b[None]]),
    "stack": lambda a, b: jnp.stack([a, jnp.ones(()), b]),
    "split": lambda a, b: jnp.split(jnp.stack([a, b]), 2)[1],
    "pad": lambda a, b: jnp.pad(b[None], 1),
    "dot_general": lambda a, b: jnp.stack([a, b]) @ jnp.stack([b, a]),
    "dot_general with a constant": lambda a, b: jnp.ones((3, 2)) @ jnp.stack([b, a]),
    "scalar beside a vector": lambda a, b: a * jnp.arange(3.0) + jnp.ones(3) / b,
}
STRAIGHT |= {
    function.__name__: lambda a, b, function=function: function(b)
    for function in (
        *(jnp.tanh, jnp.exp, jnp.expm1, jnp.log, jnp.log1p, jnp.sin, jnp.cos, jnp.tan, jnp.sinh),
        *(jnp.cosh, jnp.sqrt, jnp.arctan, jax.nn.sigmoid, jax.lax.rsqrt, jax.lax.erf),
        *(jax.lax.erfc, jax.nn.softplus, jax.nn.silu, jax.nn.gelu, jax.nn.relu),
    )
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_every_rule_along_a_straight_line(name):
    def function(x):
        return STRAIGHT[name](2.0 * x[0] - x[1], x[0] + 0.5)

    agrees_with_nested(function)


def test_every_rule_is_in_the_list_above():
    point = jnp.zeros(2) + 0.5
    used = set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            used.add(equation.primitive.name)
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    walk(inner)

    for function in FUNCTIONS.values():
        walk(jax.make_jaxpr(function)(point).jaxpr)
    # `add_any` comes from transposition alone, and is addition.
    assert set(taylor_rules._RULES) - {"add_any"} <= used


@pytest.mark.parametrize("alpha", [(6, 0), (3, 3), (1, 5), (0, 7)])
def test_high_orders(alpha):
    def function(x):
        return jnp.exp(0.5 * x[0] + 2.0 * x[1])

    point = jnp.asarray([0.1, 0.2])
    (found,) = derivatives(function, point, [alpha])
    exact = 0.5 ** alpha[0] * 2.0 ** alpha[1] * function(point)
    np.testing.assert_allclose(found, exact, rtol=1e-9)


def test_three_coordinates():
    def function(x):
        return jnp.sin(x[0]) * jnp.exp(2 * x[1]) * x[2] ** 2

    orders = [(1, 1, 1), (2, 1, 0), (0, 1, 2), (1, 0, 2), (0, 0, 0)]
    point = jnp.asarray([0.3, -0.2, 0.8])
    np.testing.assert_allclose(
        derivatives(function, point, orders), nested_forward(function, point, orders), rtol=1e-11
    )


@pytest.mark.parametrize("activation", [jnp.tanh, jnp.sin, jax.nn.softplus, jax.nn.gelu])
def test_networks(activation, key):
    net = MLP(2, 2, width=64, depth=3, activation=activation, key=key)
    point = jnp.asarray([0.3, -0.7])
    orders = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (0, 4), (2, 2)]
    found = derivatives(net, point, orders)
    np.testing.assert_allclose(found, nested_forward(net, point, orders), rtol=1e-9, atol=1e-11)


def test_gradient_in_the_parameters(key):
    net = MLP(2, 1, width=8, key=key)
    point = jnp.asarray([0.3, -0.7])

    def loss(net, differentiate):
        return jnp.sum(differentiate(net, point, [(1, 0), (0, 4)]) ** 2)

    found = jax.grad(lambda n: loss(n, derivatives))(net)
    exact = jax.grad(lambda n: loss(n, nested_forward))(net)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_vmap_is_a_loop(key):
    net = MLP(2, 1, width=8, key=key)
    points = jax.random.normal(key, (5, 2))
    together = jax.vmap(lambda p: derivatives(net, p, [(0, 0), (1, 2)]))(points)
    one_by_one = jnp.stack([derivatives(net, p, [(0, 0), (1, 2)]) for p in points])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-12, atol=1e-14)


def test_single_precision_stays_single():
    with precision("float32"):
        net = MLP(2, 1, width=8, key=jax.random.key(0))
        rows = derivatives(net, jnp.zeros(2), [(0, 0), (1, 1), (0, 4)])
    assert rows.dtype == jnp.float32


def test_plan_follows_each_direction_once():
    chosen = plan(((0, 0), (1, 0), (0, 1), (0, 2), (0, 4)))
    assert chosen.directions == ((1, 0), (0, 1))
    assert chosen.degrees == (1, 4)


def test_propagate_gives_coefficients():
    stack = jnp.asarray([[0.5], [1.0], [0.0], [0.0]])
    rows = propagate(lambda x: jnp.exp(x[0]), stack, (3,))
    np.testing.assert_allclose(rows, np.exp(0.5) / np.asarray([1, 1, 2, 6]), rtol=1e-14)


def test_what_is_not_analytic_says_so():
    with pytest.raises(NotAnalytic, match="no Taylor rule for 'sort'"):
        derivatives(lambda x: jnp.sort(x)[0], jnp.ones(2), [(1, 0)])
    with pytest.raises(NotAnalytic, match="one array"):
        derivatives(lambda x: (x, x), jnp.ones(2), [(1, 0)])
