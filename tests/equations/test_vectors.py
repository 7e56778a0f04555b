"""Vectors in the text of an equation: identities of vector calculus, and what is refused."""

import jax
import jax.numpy as jnp
import pytest
import sympy

from continua.core.errors import InputError
from continua.equations import Equation, Scope, parse_equation

PLANE = Scope(("t", "x", "y"), ("u", "v", "w"), ("a",), ("k",), "t")
SPACE = Scope(("x", "y", "z"), ("u", "v", "w"), ("a",))


def same(left: str, right: str, scope: Scope = PLANE) -> bool:
    (value,) = parse_equation(f"{left} = {right}", scope, where="here")
    return sympy.simplify(value.doit()) == 0


@pytest.mark.parametrize(
    ("left", "right", "scope"),
    [
        ("div(grad(u))", "lap(u)", PLANE),
        ("div(a*grad(u))", "a*lap(u)", PLANE),
        ("div(k*grad(u))", "d(k*u_x, x) + d(k*u_y, y)", PLANE),
        ("curl(grad(u))", "0", PLANE),
        ("curl(vec(u, v))", "v_x - u_y", PLANE),
        ("div(curl(u))", "0", PLANE),
        ("curl(curl(u))", "-lap(u)", PLANE),
        ("div(curl(vec(u, v, w)))", "0", SPACE),
        ("dot(vec(u, v), grad(w))", "u*w_x + v*w_y", PLANE),
        ("norm(grad(u))^2", "u_x^2 + u_y^2", PLANE),
        ("div(u*vec(u, v)/2 - grad(u))", "d(u^2/2 - u_x, x) + d(u*v/2 - u_y, y)", PLANE),
        ("dot(vec(u, v), lap(vec(u, v)))", "u*lap(u) + v*lap(v)", PLANE),
    ],
)
def test_identities(left, right, scope):
    assert same(left, right, scope)


def test_curl_of_curl_in_space():
    rows = parse_equation(
        "curl(curl(vec(u, v, w))) = grad(div(vec(u, v, w))) - lap(vec(u, v, w))",
        SPACE,
        where="here",
    )
    assert [sympy.simplify(row.doit()) for row in rows] == [0, 0, 0]


def test_a_divergence_keeps_its_fluxes():
    (value,) = parse_equation("div(k*grad(u)) = 0", PLANE, where="here")
    bodies = {str(d.expr) for d in value.atoms(sympy.Derivative) if d.expr.is_Mul}
    assert len(bodies) == 2


def test_an_equation_between_vectors_is_one_for_each_component():
    vectors = Equation(
        "d(vec(u, v), t) = -a*grad(u*v) + lap(vec(u, v))", ("u", "v"), ("t", "x", "y"), ("a",)
    )
    written = Equation(
        ("u_t = -a*d(u*v, x) + lap(u)", "v_t = -a*d(u*v, y) + lap(v)"),
        ("u", "v"),
        ("t", "x", "y"),
        ("a",),
    )

    def net(p):
        return jnp.stack([jnp.sin(p @ jnp.array([1.0, 2.0, 3.0])), p[0] * p[1] ** 2])

    points = jax.random.uniform(jax.random.key(0), (5, 3))
    found, exact = (e.residual(net, points, {"a": 2.0}) for e in (vectors, written))
    assert jnp.max(jnp.abs(jnp.asarray(found) - jnp.asarray(exact))) < 1e-12
    assert vectors.latex().count(r"\\") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u + grad(u) = 0", "a vector and a number have no sum at column 5"),
        ("grad(u)*vec(u, v) = 0", "a product of two vectors is written dot(v, w)"),
        ("u/grad(u) = 0", "nothing can be divided by a vector"),
        ("grad(u)^2 = 0", "a vector has no power"),
        ("div(u) = 0", "div takes a vector, got a number"),
        ("div(vec(u, v, w)) = 0", "div of 3 components in 2 coordinates"),
        ("grad(grad(u)) = 0", "grad takes numbers, got a vector"),
        ("sin(grad(u)) = 0", "sin takes numbers, got a vector"),
        ("dot(grad(u)) = 0", "dot takes two arguments"),
        ("vec(u, v) + vec(u, v, w) = 0", "vectors of 2 and 3 components have no sum"),
        ("grad(u) = v", "a vector and a number have no difference"),
    ],
)
def test_messages(text, message):
    with pytest.raises(InputError) as caught:
        parse_equation(text, PLANE, where="here")
    assert message in str(caught.value)


def test_a_count_of_components_that_is_not_that_of_unknowns():
    with pytest.raises(InputError, match="2 expressions for 1 unknowns"):
        Equation("grad(u) = 0", "u", ("x", "y"))


def test_a_vector_where_a_number_is_expected():
    with pytest.raises(InputError, match="is a vector, expected a number"):
        Equation("u_x = f", "u", ("x", "y"), definitions={"f": "vec(1, 2)"}).symbolic  # noqa: B018
