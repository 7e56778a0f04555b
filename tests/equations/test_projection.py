"""Velocity and pressure in periodic boxes: recognised, projected, against vorticity."""

import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.equations import Equation
from continua.equations.projection import projection_form
from continua.spaces import FourierSpace

FLOW = Equation(
    (
        "d(vec(u, v), t) + vec(dot(vec(u, v), grad(u)), dot(vec(u, v), grad(v)))"
        " = nu*lap(vec(u, v)) - grad(p)/rho",
        "div(vec(u, v)) = 0",
    ),
    ("u", "v", "p"),
    ("t", "x", "y"),
    ("nu", "rho"),
)
PARAMETERS = {"nu": 0.05, "rho": 2.0}
SPACE = FourierSpace(("x", "y"), (0.0, 0.0), (2 * np.pi, 2 * np.pi), (32, 32))


def test_recognised():
    form = projection_form(FLOW)
    assert form is not None
    assert form.pressure == "p"
    assert form.states == ("u", "v")
    assert str(form.factor) == "1/rho"


def velocity(space):
    x, y = (space.points[c] for c in space.names)
    psi = jnp.cos(x) * jnp.sin(2 * y) + jnp.sin(3 * x + y)
    return jnp.stack([space.derivative(psi, (0, 1)), -space.derivative(psi, (1, 0))])


def test_the_projection_removes_gradients_and_keeps_curls():
    form = projection_form(FLOW)
    x, y = (SPACE.points[c] for c in SPACE.names)
    field = jnp.sin(x + 2 * y) * jnp.cos(y)
    slope = jnp.stack([SPACE.derivative(field, (1, 0)), SPACE.derivative(field, (0, 1))])
    curls = SPACE.coefficients(velocity(SPACE))
    assert jnp.max(jnp.abs(form.project(SPACE, SPACE.coefficients(slope)))) < 1e-11
    assert jnp.max(jnp.abs(form.project(SPACE, curls) - curls)) < 1e-10


def test_the_right_side_is_that_of_the_vorticity():
    form = projection_form(FLOW)
    w = velocity(SPACE)
    rate = form.semidiscrete(SPACE)(0.0, w, {k: jnp.asarray(v) for k, v in PARAMETERS.items()})

    def curl(field):
        return SPACE.derivative(field[1], (1, 0)) - SPACE.derivative(field[0], (0, 1))

    vorticity = curl(w)
    slopes = [SPACE.derivative(vorticity, o) for o in ((1, 0), (0, 1))]
    lap = SPACE.derivative(vorticity, (2, 0)) + SPACE.derivative(vorticity, (0, 2))
    exact = PARAMETERS["nu"] * lap - w[0] * slopes[0] - w[1] * slopes[1]
    assert jnp.max(jnp.abs(curl(rate) - SPACE.project(exact))) < 1e-10


def test_the_pressure_of_vortices():
    # u = sin x cos y, v = -cos x sin y: p = rho (cos 2x + cos 2y) / 4.
    form = projection_form(FLOW)
    x, y = (SPACE.points[c] for c in SPACE.names)
    w = jnp.stack([jnp.sin(x) * jnp.cos(y), -jnp.cos(x) * jnp.sin(y)])
    parameters = {k: jnp.asarray(v) for k, v in PARAMETERS.items()}
    p = SPACE.to_physical(form.derived(SPACE, 0.0, SPACE.to_spectral(w), parameters))
    exact = 2.0 * (jnp.cos(2 * x) + jnp.cos(2 * y)) / 4
    assert jnp.max(jnp.abs(p - exact)) < 1e-13


def test_a_start_with_a_divergence_is_refused():
    form = projection_form(FLOW)
    form.check_start(SPACE, velocity(SPACE))
    with pytest.raises(InputError, match="the initial velocity has a divergence"):
        form.check_start(SPACE, velocity(SPACE)[::-1])


@pytest.mark.parametrize(
    "expressions",
    [
        ("u_t = lap(u) - p_x", "v_t = 2*lap(v) - p_y", "u_x + v_y = 0"),
        ("u_t = lap(u) - p_x", "v_t = lap(v) - 2*p_y", "u_x + v_y = 0"),
        ("u_t = lap(u) - p_x + p", "v_t = lap(v) - p_y", "u_x + v_y = 0"),
        ("u_t = lap(u) - p_x", "v_t = lap(v) - p_y", "u_x + v_y = p"),
        ("u_t = lap(u) - u*p_x", "v_t = lap(v) - u*p_y", "u_x + v_y = 0"),
    ],
)
def test_what_is_no_projection(expressions):
    assert projection_form(Equation(expressions, ("u", "v", "p"), ("t", "x", "y"))) is None


def test_in_three_dimensions():
    names = ("u", "v", "w")
    along = "vec(u, v, w)"
    rows = [
        f"{n}_t + dot({along}, grad({n})) = lap({n}) - p_{c}"
        for n, c in zip(names, "xyz", strict=True)
    ]
    flow = Equation((*rows, f"div({along}) = 0"), (*names, "p"), ("t", "x", "y", "z"))
    assert projection_form(flow).states == names
