"""What is said of a solve that failed."""

import jax.numpy as jnp
import pytest

from continua.core.errors import InputError
from continua.integrate import Tsit5, diagnose, solve


def test_success():
    found = solve(lambda t, y, a: -y, Tsit5(), t0=0.0, t1=1.0, y0=jnp.ones(2))
    assert "reached t = 1" in diagnose(found, lambda t, y, a: -y)


def test_stiffness_is_named():
    def field(t, y, a):
        return jnp.stack([-a * (y[0] - jnp.cos(t)), -y[1]])

    found = solve(
        field, Tsit5(), t0=0.0, t1=10.0, y0=jnp.ones(2), args=1e5, max_steps=400
    )  # fmt: skip
    text = diagnose(found, field, 1e5)
    assert "step limit" in text
    assert "-1e+05" in text
    assert "stiff. Take Rodas5P()" in text


def test_a_pole_is_named():
    def field(t, y, a):
        return {"u": y["u"] ** 2, "v": -y["v"]}

    y0 = {"u": jnp.asarray([0.5, 1.0]), "v": jnp.ones(1)}
    found = solve(field, Tsit5(), t0=0.0, t1=3.0, y0=y0)
    text = diagnose(found, field)
    assert "at t = 1 " in text
    assert "entry is number 1" in text
    assert "runs away" in text


def test_the_end_of_a_domain_is_named():
    def field(t, y, a):
        return -jnp.ones_like(y) + 0 * jnp.sqrt(y)

    found = solve(field, Tsit5(), t0=0.0, t1=2.0, y0=jnp.asarray([1.0, 0.7]))
    assert int(found.code) == 2
    assert float(found.t_end) == pytest.approx(0.7, abs=1e-3)
    assert "entry is number 1" in diagnose(found, field)


def test_a_step_limit_that_is_just_too_low():
    def field(t, y, a):
        return jnp.stack([y[1], -y[0]])

    found = solve(field, Tsit5(), t0=0.0, t1=1e3, y0=jnp.asarray([0.0, 1.0]), max_steps=50)
    assert "not stiff. Allow more steps" in diagnose(found, field)


def test_one_at_a_time():
    found = solve(
        lambda t, y, a: -y, Tsit5(), t0=0.0, t1=1.0, y0=jnp.ones((2, 2)), ensemble=True
    )  # fmt: skip
    with pytest.raises(InputError, match="ensemble"):
        diagnose(found, lambda t, y, a: -y)
