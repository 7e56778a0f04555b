"""The one call: what it refuses, steps in common, and stochastic equations through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate import (
    ETD1,
    PID,
    RK4,
    SDE,
    EulerMaruyama,
    Semilinear,
    Tsit5,
    Vern7,
    Yoshida4,
    solve,
    solve_sde,
)


def decay(t, y, args):
    return -y


ONES = jnp.ones(2)


def run(field=decay, method=None, **options):
    options = {"t0": 0.0, "t1": 1.0, "y0": ONES, **options}
    return solve(field, method or Tsit5(), **options)


@pytest.mark.parametrize(
    ("given", "where", "message"),
    [
        ({"saveat": [0.5, 1.5]}, "saveat", "1.5 is not between"),
        ({"saveat": [-0.1, 0.5]}, "saveat", "-0.1 is not between"),
        ({"saveat": [0.5, 0.2]}, "saveat", "not in order"),
        ({"saveat": []}, "saveat", "shape"),
        ({"t1": np.inf}, "t1", "t1=inf"),
        ({"rtol": -1e-3}, "rtol", "got -0.001"),
        ({"rtol": np.nan}, "rtol", "got nan"),
        ({"rtol": 0.0, "atol": 0.0}, "rtol", "both tolerances are zero"),
        ({"dt0": 0.0, "method": RK4()}, "dt0", "got 0.0"),
        ({"dt0": -0.1, "method": RK4()}, "dt0", "got -0.1"),
        ({"y0": jnp.asarray([1.0, jnp.nan])}, "y0", "not finite"),
        ({"y0": jnp.asarray([1, 2])}, "y0", "got int64"),
        ({"y0": {"a": ONES, "b": ONES.at[0].set(jnp.inf)}}, r"y0\['b'\]", "not finite"),
        ({"field": lambda t, y, a: y[:1]}, "field", r"returns \[1\] for a state of \[2\]"),
        ({"field": lambda t, y, a: (y, y)}, "field", "tree"),
        (
            {"field": lambda t, y, a: y.astype(complex)},
            "field",
            "complex128 for a state of float64",
        ),
        ({"method": Yoshida4(), "dt0": 0.1}, "field", "known structure, got function"),
        ({"shared": True}, "shared", "only an ensemble"),
        ({"history": 8, "dt0": 0.1}, "history", "fixed steps have no history"),
        ({"field": SDE(decay, decay), "method": EulerMaruyama(), "dt0": 0.1}, "key", "needs a key"),
    ],
)
def test_bad_arguments(given, where, message):
    with pytest.raises(InputError, match=rf"integrate\.solve\.{where}.*{message}"):
        run(**given)


def test_bad_controllers():
    for options in ({"safety": 2.0}, {"shrink": 1.5}, {"grow": 0.5}):
        with pytest.raises(InputError, match="integrate.PID"):
            PID(**options)
    with pytest.raises(InputError, match="largest"):
        PID(largest=0.1, smallest=0.2)


def pendulum(t, y, args):
    return jnp.stack([y[1], -jnp.sin(y[0])])


@pytest.mark.parametrize(
    "control",
    [PID(p=0.0, i=1.0), PID(), PID(p=0.3, i=0.3, d=0.1), PID(first=1e-3), PID(largest=0.05)],
    ids=["I", "PI", "PID", "first", "largest"],
)
def test_controllers(control):
    exact = run(pendulum, Vern7(), t1=5.0, rtol=1e-12, atol=1e-12).ys
    found = run(pendulum, t1=5.0, rtol=1e-7, atol=1e-7, control=control)
    np.testing.assert_allclose(found.ys, exact, atol=3e-6)
    assert int(found.rejected) <= 0.25 * int(found.steps)
    if control.largest:
        assert int(found.steps) >= 100


def test_a_smallest_step_ends_the_solve():
    found = run(lambda t, y, a: y**2, t1=2.0, control=PID(smallest=1e-3))
    assert int(found.code) == 2
    assert 0.9 < float(found.t_end) < 1.0
    assert np.isfinite(np.asarray(found.y_end)).all()


def test_steps_in_common():
    starts = jnp.asarray([[0.1, 0.0], [1.0, 0.5], [2.5, 0.0]])
    times = jnp.linspace(0.0, 3.0, 4)
    options = {"t1": 3.0, "y0": starts, "saveat": times, "ensemble": True, "rtol": 1e-8}
    own, shared = run(pendulum, **options), run(pendulum, shared=True, **options)
    assert shared.ys.shape == own.ys.shape == (3, 4, 2)
    np.testing.assert_allclose(shared.ys, own.ys, atol=1e-6)
    np.testing.assert_allclose(shared.slopes, own.slopes, atol=1e-6)
    np.testing.assert_allclose(shared.y_end, shared.ys[:, -1], atol=1e-12)
    assert len(set(map(int, shared.steps))) == 1 < len(set(map(int, own.steps)))

    def total(y0, shared):
        return jnp.sum(run(pendulum, **{**options, "y0": y0}, shared=shared).ys[:, -1])

    apart = jax.grad(total)(starts, True) - jax.grad(total)(starts, False)
    assert float(jnp.abs(apart).max()) < 1e-6


def test_stochastic_equations():
    sde = SDE(decay, lambda t, y, args: 0.1 * y)
    options = {"t0": 0.0, "t1": 1.0, "dt0": 0.1, "key": jax.random.key(0)}
    starts = jnp.ones((3, 2))
    found = solve(sde, EulerMaruyama(), y0=starts, ensemble=True, **options)
    direct = solve_sde(sde, EulerMaruyama(), y0=starts, ensemble=True, **options)
    np.testing.assert_array_equal(found.ys, direct.ys)


def test_a_linear_part_of_another_size():
    with pytest.raises(InputError, match=r"linear part \(3,\) for a state of 2"):
        run(Semilinear(jnp.ones(3), decay), ETD1(), dt0=0.1)
