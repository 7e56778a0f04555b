"""Declarations: what is checked, first-order systems, SymPy input, known fields, LaTeX."""

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from continua.core.errors import InputError
from continua.equations import Equation, nested_forward, residual
from continua.spaces import FourierSpace

T, X = (sympy.Symbol(c, real=True) for c in "tx")
U = sympy.Function("u")(sympy.Symbol("t"), sympy.Symbol("x"))


def burgers(**changes) -> Equation:
    known = {
        "expressions": ("u_t + u*u_x = nu*u_xx",),
        "unknowns": ("u",),
        "coordinates": ("t", "x"),
        "parameters": ("nu",),
    }
    return Equation(**(known | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unknowns": ("u", "u")}, "equation.unknowns: the name 'u' is declared twice"),
        ({"parameters": ("nu", "x")}, "equation.parameters: the name 'x' is declared twice"),
        ({"parameters": ("sin",)}, "the name 'sin' is taken by a constant or function; choose"),
        ({"parameters": ("d",)}, "the name 'd' is taken"),
        ({"coordinates": ("t", "pi")}, "equation.coordinates: the name 'pi' is taken"),
        ({"parameters": ("2nu",)}, "equation.parameters: '2nu' is not a name; use letters"),
        ({"unknowns": ()}, "equation.unknowns: unknowns is empty"),
        ({"coordinates": ()}, "equation.coordinates: coordinates is empty"),
        ({"unknowns": ("u", "v")}, "1 expressions for 2 unknowns (u, v); write one expression"),
        ({"parameters": ()}, "equation.expressions[0]: unknown symbol 'nu' at column 15"),
        (
            {"expressions": ("u_t = u", "u_x = u"), "unknowns": ("u", "v")},
            "no expression contains the unknown 'v'; remove it from unknowns or write its",
        ),
        ({"expressions": (3,)}, "got int, expected text or a SymPy equation"),
        ({"definitions": {"f": "u*x"}}, "unknown symbol 'u' at column 1 of 'u*x'"),
        ({"definitions": {"u": "x"}}, "equation.definitions: the name 'u' is declared twice"),
    ],
)
def test_messages(changes, message):
    with pytest.raises(InputError) as caught:
        burgers(**changes)
    assert message in str(caught.value)


def test_what_an_equation_knows():
    equation = burgers()
    assert equation.time == "t"
    assert equation.space == ("x",)
    assert equation.orders == {"t": 1, "x": 2}
    assert equation.time_orders == {"u": 1}
    assert equation.jets == (("u", (0, 0)), ("u", (0, 1)), ("u", (0, 2)), ("u", (1, 0)))
    assert not equation.is_linear
    assert burgers(expressions="u_t = nu*u_xx + x").is_linear
    assert Equation("u_xx = 1", "u", "x").time is None
    assert Equation("u_s = u", "u", "s", time="s").time == "s"


def test_text_alone_is_one_expression():
    assert burgers(expressions="u_t = nu*u_xx", unknowns="u").expressions == ("u_t = nu*u_xx",)


@pytest.mark.parametrize(
    ("symbolic", "text"),
    [
        (sympy.Eq(U.diff("t"), sympy.Symbol("nu") * U.diff("x", 2)), "u_t = nu*u_xx"),
        (U.diff("t") + U * U.diff("x"), "u_t + u*u_x = 0"),
        (sympy.Eq(U.diff("t"), sympy.exp(U) ** 2 / 3), "u_t = exp(2*u)/3"),
        (sympy.Eq(U.diff("t", 2), sympy.Abs(sympy.sin(U))), "u_tt = abs(sin(u))"),
        (sympy.Eq(U.diff("t"), sympy.Max(U, 0, sympy.Symbol("x"))), "u_t = max(u, 0, x)"),
        (sympy.Eq(U.diff("t"), sympy.Min(U, 1) * sympy.E), "u_t = min(u, 1)*exp(1)"),
        (
            sympy.Eq(U.diff("t"), sympy.Derivative(U**2 / 2, sympy.Symbol("x"))),
            "u_t = d(u^2/2, x)",
        ),
        (
            sympy.Eq(U.diff("t"), sympy.Derivative(U.diff("x") ** 3, sympy.Symbol("x"))),
            "u_t = d(u_x^3, x)",
        ),
        (sympy.Eq(U.diff("x", "t"), sympy.sqrt(U) + sympy.pi), "u_tx = sqrt(u) + pi"),
    ],
)
def test_sympy_and_text_are_one(symbolic, text):
    first, second = burgers(expressions=symbolic), burgers(expressions=text)
    assert first.time_orders == second.time_orders
    for a, b in zip(first.expanded, second.expanded, strict=True):
        assert sympy.simplify(a - b) == 0


def test_second_order_in_time():
    system = burgers(expressions="u_tt + nu*u_t = u_xx - sin(u)").first_order()
    u, v = (sympy.Function(n, real=True)(T, X) for n in ("u", "u_t"))
    assert system.states == ("u", "u_t")
    assert system.right[0] == v
    nu = sympy.Symbol("nu", real=True)
    assert sympy.expand(system.right[1] - (u.diff(X, 2) - sympy.sin(u) - nu * v)) == 0


def test_third_order_with_a_mixed_derivative():
    system = Equation("2*u_ttt = u_txx - 4*u_tt", "u", ("t", "x")).first_order()
    v, w = (sympy.Function(n, real=True)(T, X) for n in ("u_t", "u_tt"))
    assert system.states == ("u", "u_t", "u_tt")
    assert sympy.expand(system.right[2] - (v.diff(X, 2) / 2 - 2 * w)) == 0


def test_time_derivatives_of_different_orders():
    equation = Equation(("u_tt = v - u", "v_t = u_t - v"), ("u", "v"), ("t",))
    assert equation.time_orders == {"u": 2, "v": 1}
    assert equation.first_order().states == ("u", "u_t", "v")


def test_time_derivatives_that_are_mixed_are_solved_for():
    equation = Equation(("u_t + v_t = u", "u_t - v_t = 3*v"), ("u", "v"), ("t",))
    rates = equation.semidiscrete(None)(0.0, jnp.asarray([2.0, 1.0]), {})
    np.testing.assert_allclose(rates, [2.5, -0.5], rtol=1e-15)


def test_a_mass_that_depends_on_the_state():
    equation = Equation(("(1 + u^2)*u_t = -u",), ("u",), ("t",))
    rates = equation.semidiscrete(None)(0.0, jnp.asarray([2.0]), {})
    np.testing.assert_allclose(rates, [-0.4], rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u_xx = nu", "no expression has a time derivative of 'u'; a constraint cannot be"),
        ("u_t^2 = nu", "the highest time derivatives cannot be solved for; write each linearly"),
        ("u_t - u_txx = 0", "the highest time derivative of 'u' is differentiated in space"),
    ],
)
def test_what_cannot_be_stepped(text, message):
    with pytest.raises(InputError) as caught:
        burgers(expressions=text).first_order()
    assert message in str(caught.value)


def test_steady_equations_cannot_be_stepped():
    with pytest.raises(InputError, match="the equation has no time coordinate"):
        Equation("u_xx = 1", "u", "x").first_order()


def test_definitions_are_expressions():
    plain = burgers(expressions="u_t = d((1 + x^2)*u_x, x) + sin(nu*t)")
    named = burgers(
        expressions="u_t = d(k*u_x, x) + f", definitions={"k": "1 + x^2", "f": "sin(nu*t)"}
    )
    for a, b in zip(plain.expanded, named.expanded, strict=True):
        assert sympy.expand(a - b) == 0
    assert named.jets == plain.jets


def test_known_fields_are_callables(key):
    def force(points):
        return jnp.cos(points[:, 1]) * points[:, 0]

    equation = burgers(expressions="u_t = nu*u_xx + g*u", fields={"g": force})
    space = FourierSpace(("x",), (0.0,), (2 * np.pi,), (32,))
    x = jnp.asarray(space.axes()["x"])
    rates = equation.semidiscrete(space)(2.0, jnp.sin(x)[None], {"nu": 0.1})
    np.testing.assert_allclose(
        rates[0], -0.1 * np.sin(x) + 2 * np.cos(x) * np.sin(x), rtol=0, atol=1e-13
    )

    def solution(point):
        return jnp.sin(point[1])[None]

    points = jnp.stack([jnp.full_like(x, 2.0), x], axis=-1)
    values = residual(equation, solution, points, {"nu": 0.1})
    np.testing.assert_allclose(values, -rates.T, rtol=0, atol=1e-13)


def test_residual_of_a_steady_equation():
    equation = Equation("lap(u) = f", "u", ("x", "y"), definitions={"f": "-2*sin(x)*cos(y)"})

    def solution(point):
        return (jnp.sin(point[0]) * jnp.cos(point[1]))[None]

    points = jnp.asarray([[0.3, 0.4], [1.0, -2.0]])
    np.testing.assert_allclose(residual(equation, solution, points, {}), 0, atol=1e-14)
    wrong = residual(equation, lambda p: 2 * solution(p), points, {}, differentiate=nested_forward)
    assert np.min(np.abs(wrong)) > 0.1


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("u_t + u*u_x = nu*u_xx", r"u_{t} + u u_{x} = \nu u_{xx}"),
        ("u_t + d(u^2/2, x) = 0", r"u_{t} + \left(\frac{u^{2}}{2}\right)_{x} = 0"),
        ("u_tt = u_xx - sin(u)", r"u_{tt} = u_{xx} - \sin{\left(u \right)}"),
        ("u_t = u*(1 - u)^2/nu", r"u_{t} = \frac{u \left(1 - u\right)^{2}}{\nu}"),
    ],
)
def test_latex(text, latex):
    assert burgers(expressions=text).latex() == latex


def test_latex_of_a_system_has_a_line_each():
    equation = Equation(("u_t = a*v", "v_t = -u^3"), ("u", "v"), ("t",), ("a",))
    assert equation.latex() == r"u_{t} = a v \\ v_{t} = - u^{3}"
