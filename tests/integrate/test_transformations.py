"""Every engine under every transformation: one table, one row an engine.

The same file is run as a script, on two devices.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from continua.integrate import (
    ETD4RK,
    RK4,
    SDE,
    Direct,
    EulerMaruyama,
    HermiteControl,
    KenCarp4,
    Kvaerno5,
    Replay,
    Reversible,
    Rodas5P,
    Semilinear,
    Separable,
    Split,
    StormerVerlet,
    Strang,
    Tsit5,
    Vern7,
    controlled,
    log_signature_control,
    solve,
    steady_state,
    with_time,
)
from tests.integrate import two_devices
from tests.integrate.traced import Traced

SAVES = (0.0, 0.4, 0.5, 1.0)


def spring(t, y, a):
    return jnp.stack([y[1], -a * jnp.sin(y[0]) - 0.3 * y[1] + 0.1 * jnp.cos(t)])


def decay(t, y, a):
    return jnp.stack([-30.0 * a * y[0] + y[1], jnp.cos(t) - y[1]])


def plain(method, field=spring, **options):
    def run(y0, a, rtol, gradient):
        return solve(
            field, method, t0=0.0, t1=1.0, y0=y0, args=a, rtol=rtol, atol=1e-12,
            saveat=np.asarray(SAVES), gradient=gradient, **options,
        ).ys  # fmt: skip

    return run


def shared(y0, a, rtol, gradient):
    y0 = y0 * jnp.asarray([[1.0], [0.6], [-0.5]])
    return plain(Tsit5(), ensemble=True, shared=True)(y0, a, rtol, gradient)


def pairs(y0, a, rtol, gradient):
    field = Separable(lambda t, p, a: p, lambda t, q, a: -a * jnp.sin(q))
    y0 = (y0[:1], y0[1:])
    return jnp.concatenate(plain(StormerVerlet(), field, dt0=0.1)(y0, a, rtol, gradient), axis=1)


def steady(y0, a, rtol, gradient):
    def field(y, a):
        return jnp.stack([a - y[0] - 0.2 * y[1] ** 2, y[0] - 2.0 * y[1]])

    return steady_state(field, y0, a + 0.1 * y0[0], rtol=1e-12, atol=1e-12).y[None]


def driven(control, channels):
    """The control, or the log-signatures, of a series that the start changes."""

    def field(t, z, a):
        both = jnp.stack([jnp.tanh(z[1:]), -a * z[:1], z[:1] * z[1:]], axis=1)
        return jnp.concatenate([both, 1.0 + a * both[:, ::-1]])

    def run(y0, a, rtol, gradient):
        ts = jnp.linspace(0.0, 1.0, 9)
        waves = (jnp.sin(y0[0] + 3.0 * ts), jnp.cos(2.0 * ts))[:channels]
        path = control(ts, with_time(ts, jnp.stack(waves, axis=1)))
        return solve(
            controlled(field), RK4(), t0=0.0, t1=1.0, y0=y0, args=(path, a), dt0=0.125,
        ).ys  # fmt: skip

    return run


def noisy(y0, a, rtol, gradient):
    sde = SDE(lambda t, y, a: -a * y, lambda t, y, a: 0.2 * jnp.cos(a * y))
    return solve(
        sde, EulerMaruyama(), t0=0.0, t1=1.0, y0=y0, args=a, dt0=0.125, key=jax.random.key(0)
    ).ys


LOG_SIGNATURES = functools.partial(log_signature_control, window=2, depth=2)
STIFF = Split(lambda t, y, a: jnp.cos(t + a * y), lambda t, y, a: -20.0 * a * (y - y[::-1] / 2))
LINEAR = Semilinear(jnp.asarray([-3.0, 1.0]), lambda t, y, a: a * jnp.sin(y[::-1] + t))
ENGINES = {
    "adaptive": plain(Tsit5()),
    "high order": plain(Vern7()),
    "fixed": plain(RK4(), dt0=0.1),
    "shared": shared,
    "symplectic": pairs,
    "splitting": plain(Strang(), Split(spring, lambda t, y, a: -a * y**3), dt0=0.1),
    "imex": plain(KenCarp4(), STIFF),
    "exponential": plain(ETD4RK(), LINEAR, dt0=0.1),
    "reversible": plain(Reversible(RK4()), dt0=0.1),
    "rosenbrock": plain(Rodas5P(), decay),
    "sdirk": plain(Kvaerno5(), decay),
    "steady": steady,
    "controlled": driven(HermiteControl, 2),
    "log-ode": driven(LOG_SIGNATURES, 1),
    "stochastic": noisy,
}
ADAPTIVE = {"adaptive", "high order", "shared", "imex", "rosenbrock", "sdirk"}

# Those that are run on two devices too.
SPREAD = [
    "high order", "fixed", "shared", "symplectic", "splitting", "imex", "exponential", "reversible",
    "controlled", "log-ode", "stochastic",
]  # fmt: skip

Y0 = jnp.asarray([[0.7, -0.2], [0.3, 0.5], [-0.4, 0.9], [0.1, 0.2]])
A, RTOL = jnp.asarray(1.2), 1e-10
engines = pytest.mark.parametrize("engine", ENGINES)


def values(engine, gradient=None):
    """`(y0, a, rtol)` to the states."""
    return functools.partial(ENGINES[engine], gradient=gradient or Replay())


def mean(ys):
    return jnp.mean(jnp.sin(2.0 * ys))


def of_each(engine):
    """`(a, y0s, rtol)` to the states of a batch."""
    return lambda a, y0, rtol: jax.vmap(values(engine), (0, None, None))(y0, a, rtol)


def with_mean(run, total=lambda x: x):
    """`run` with the mean before it, to be differentiated."""

    def loss(*inputs):
        ys = run(*inputs)
        return total(mean(ys)), ys

    return loss


@functools.cache
def exported(engine):
    """The engine for one state, written out and read in again."""
    text = export.export(jax.jit(values(engine)))(Y0[0], A, RTOL).serialize()
    assert b"callback" not in text
    return jax.jit(export.deserialize(text).call)


@functools.cache
def of_many(engine):
    """The mean of the batch, its states, and the gradient in `a`."""
    run = with_mean(of_each(engine))
    return jax.jit(jax.value_and_grad(run, has_aux=True))(A, Y0, RTOL)


@engines
def test_a_batch_is_what_a_loop_gives_after_export(engine):
    one = exported(engine)
    (_, ys), _ = of_many(engine)
    for y0, found in zip(Y0, ys, strict=True):
        np.testing.assert_allclose(found, one(y0, A, RTOL), rtol=1e-9, atol=1e-11)
    # The tolerance is an input of the program.
    other = one(Y0[0], A, 1e-4)
    if engine in ADAPTIVE:
        assert 0 < np.abs(other - ys[0]).max() < 1e-2


@pytest.mark.parametrize("engine", ["adaptive", "fixed"])
def test_nothing_needs_to_be_compiled_as_a_whole(engine):
    run = values(engine)
    found = run(Y0[0], A, RTOL)
    whole = Traced(run)
    np.testing.assert_allclose(found, whole(Y0[0], A, RTOL), rtol=1e-9, atol=1e-11)
    whole(Y0[1], A, 2 * RTOL)
    assert whole.traces == 1


@engines
def test_gradients_of_a_batch_agree_with_finite_differences(engine):
    _, slope = of_many(engine)
    h, one = 1e-4, exported(engine)
    sides = [np.mean([mean(one(y0, A + s * h, RTOL)) for y0 in Y0]) for s in (1, -1)]
    np.testing.assert_allclose(slope, (sides[0] - sides[1]) / (2 * h), rtol=1e-5, atol=1e-6)


# Those of high order are in `test_saves.py`.
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "high order"])
def test_forward_mode_and_second_derivatives(engine):
    run = values(engine, Direct())
    of, way = (Y0[0], A), (jnp.asarray([0.6, -0.3]), jnp.asarray(0.5))

    def first(y0, a):
        return jax.jvp(lambda y0, a: mean(run(y0, a, RTOL)), (y0, a), way)[1]

    both = jax.jit(lambda y0, a: jax.jvp(first, (y0, a), way))
    one, h = exported(engine), 1e-4
    moved = [tuple(x + s * h * d for x, d in zip(of, way, strict=True)) for s in (1, -1)]
    slope, bend = both(*of)
    sides = [mean(one(*x, RTOL)) for x in moved]
    np.testing.assert_allclose(slope, (sides[0] - sides[1]) / (2 * h), rtol=1e-5, atol=1e-6)
    sides = [both(*x)[0] for x in moved]
    np.testing.assert_allclose(bend, (sides[0] - sides[1]) / (2 * h), rtol=1e-4, atol=3e-6)


def test_the_other_mode_is_refused():
    for gradient, transform in ((Replay(), jax.jacfwd), (Direct(), jax.grad)):
        run = values("adaptive", gradient)
        with pytest.raises((TypeError, ValueError), match="custom_vjp|[Rr]everse-mode"):
            jax.eval_shape(transform(lambda a, run=run: mean(run(Y0[0], a, RTOL))), A)


def on_two_devices(engine):
    """States of the batch, one half on each device, and the gradient."""
    over, all_of = jax.P("x"), jax.P()
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    total = functools.partial(jax.lax.pmean, axis_name="x")
    run = jax.grad(with_mean(of_each(engine), total), has_aux=True)
    inside = jax.shard_map(
        run, mesh=mesh, in_specs=(all_of, over, all_of), out_specs=(all_of, over)
    )
    return jax.jit(inside)(A, Y0, RTOL)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """What the engines give on two devices, or why they do not."""
    path = tmp_path_factory.mktemp("two") / "devices.npz"
    assert two_devices.failure("-m", "tests.integrate.test_transformations", str(path)) == ""
    return np.load(path)


@pytest.mark.parametrize("engine", SPREAD)
def test_two_devices(engine, sharded):
    assert f"{engine} fails" not in sharded, sharded[f"{engine} fails"]
    (_, ys), slope = of_many(engine)
    np.testing.assert_allclose(sharded[f"{engine} ys"], ys, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(sharded[f"{engine} slope"], slope, rtol=1e-8, atol=1e-11)


def main():
    found = {}
    for engine in SPREAD:
        try:
            found[f"{engine} slope"], found[f"{engine} ys"] = on_two_devices(engine)
        except Exception as failure:
            found[f"{engine} fails"] = f"{type(failure).__name__}: {str(failure)[:500]}"
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
