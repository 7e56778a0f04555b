"""Controls, log-signatures, and the equations that they drive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from continua.core.errors import InputError
from continua.integrate import (
    HermiteControl,
    LinearControl,
    Tsit5,
    controlled,
    filled,
    log_signature,
    log_signature_control,
    lyndon_words,
    rectilinear,
    solve,
    with_time,
)
from continua.integrate.controlled import _log, _signature

TS = jnp.asarray([0.0, 0.3, 0.4, 1.0, 1.7])
XS = jax.random.normal(jax.random.key(0), (5, 2))
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


@pytest.mark.parametrize("kind", [LinearControl, HermiteControl])
def test_controls_pass_through_their_knots(kind):
    control = kind(TS, XS)
    np.testing.assert_allclose(jax.vmap(control)(TS), XS, atol=1e-14)
    t = jnp.asarray([0.1, 0.35, 0.8, 1.5])
    exact = jax.vmap(jax.jacfwd(control))(t)
    np.testing.assert_allclose(jax.vmap(control.derivative)(t), exact, atol=1e-12)


def test_hermite_slopes_are_backward_differences_and_nothing_later_is_seen():
    control = HermiteControl(TS, XS)
    quotients = jnp.diff(XS, axis=0) / jnp.diff(TS)[:, None]
    for i in range(1, 4):
        for side in (-1e-9, 1e-9):
            np.testing.assert_allclose(
                control.derivative(TS[i] + side), quotients[i - 1], atol=1e-6
            )
    other = HermiteControl(TS, XS.at[4].add(1.0))
    t = jnp.linspace(0.0, 1.0, 7)
    np.testing.assert_array_equal(jax.vmap(control)(t), jax.vmap(other)(t))


def test_gaps_are_filled():
    nan = jnp.nan
    xs = jnp.asarray([[nan, 1.0], [1.0, nan], [nan, nan], [4.0, 2.0], [nan, nan]])
    first = np.interp(TS, [0.3, 1.0], [1.0, 4.0])
    second = np.interp(TS, [0.0, 1.0], [1.0, 2.0])
    np.testing.assert_allclose(filled(TS, xs), np.stack([first, second], axis=1), atol=1e-14)
    np.testing.assert_array_equal(filled(TS, jnp.full((5, 1), nan)), 0.0)


def test_rectilinear_never_looks_ahead():
    xs = XS.at[1, 0].set(jnp.nan).at[0, 1].set(jnp.nan)
    control = rectilinear(TS, xs)
    assert control.xs.shape == (9, 3)
    np.testing.assert_array_equal(control.xs[::2, 0], TS)
    np.testing.assert_array_equal(control.xs[1, 1:], control.xs[0, 1:])
    np.testing.assert_array_equal(control.xs[2], [TS[1], XS[0, 0], XS[1, 1]])
    assert control.xs[0, 2] == 0
    later = rectilinear(TS, xs.at[3:].add(5.0))
    np.testing.assert_array_equal(control.xs[:6], later.xs[:6])


def matrices(channels):
    return 0.7 * jax.random.normal(jax.random.key(3), (channels, 3, 3))


def linear_field(t, z, a):
    """F(z) with columns A_i z."""
    return jnp.einsum("cij,j->ic", a, z)


def test_a_linear_equation_is_a_product_of_exponentials():
    a, z0 = matrices(2), jnp.asarray([1.0, 0.5, -1.0])
    field = controlled(linear_field, LinearControl(TS, XS))
    found = solve(
        field, Tsit5(), t0=0.0, t1=1.7, y0=z0, args=a, saveat=TS, dense=False, **TIGHT
    )  # fmt: skip
    z = np.asarray(z0)
    for i, dx in enumerate(np.diff(XS, axis=0)):
        z = expm(np.einsum("c,cij->ij", dx, a)) @ z
        np.testing.assert_allclose(found.ys[i + 1], z, rtol=1e-7)


def test_many_series_at_once_and_gradients():
    a, z0 = matrices(2), jnp.asarray([1.0, 0.5, -1.0])

    def last(xs, a):
        return solve(
            controlled(linear_field), Tsit5(), t0=0.0, t1=1.7, y0=z0,
            args=(HermiteControl(TS, xs), a), saveat=TS, dense=False, **TIGHT,
        ).ys[-1]  # fmt: skip

    many = jnp.stack([XS, 0.5 * XS])
    mapped = jax.jit(jax.vmap(last, (0, None)))(many, a)
    np.testing.assert_allclose(mapped[1], last(0.5 * XS, a), rtol=1e-10)
    in_xs = jax.grad(lambda xs: jnp.sum(last(xs, a)))(XS)
    h, way = 1e-5, jax.random.normal(jax.random.key(5), XS.shape)
    plus, minus = (jnp.sum(last(XS + s * h * way, a)) for s in (1, -1))
    np.testing.assert_allclose(jnp.sum(in_xs * way), (plus - minus) / (2 * h), rtol=1e-6)


def test_lyndon_words():
    assert lyndon_words(2, 3) == [(0,), (1,), (0, 1), (0, 0, 1), (0, 1, 1)]
    for c, beta in ((3, 3 + 3 + 8), (5, 5 + 10 + 40)):
        assert len(lyndon_words(c, 3)) == beta


def test_log_signatures_of_known_paths():
    line = jnp.stack([jnp.zeros(3), jnp.asarray([1.0, -2.0, 0.5])])
    found = log_signature(line, 3)
    np.testing.assert_allclose(found[:3], line[1], atol=1e-15)
    np.testing.assert_allclose(found[3:], 0.0, atol=1e-15)
    # First e_1, then e_2: Baker, Campbell and Hausdorff.
    corner = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(log_signature(corner, 3), [1, 1, 1 / 2, 1 / 12, 1 / 12], atol=1e-15)
    # The same path at other points has the same log-signature.
    more = jnp.asarray([[0.0, 0.0], [0.3, 0.0], [1.0, 0.0], [1.0, 0.6], [1.0, 1.0]])
    np.testing.assert_allclose(log_signature(more, 3), log_signature(corner, 3), atol=1e-15)


def test_signatures_obey_the_shuffle_identity():
    s1, s2, s3 = _signature(XS, 3)
    np.testing.assert_allclose(np.multiply.outer(s1, s1), s2 + s2.T, atol=1e-13)
    shuffled = s3 + s3.transpose(1, 0, 2) + s3.transpose(2, 0, 1)
    np.testing.assert_allclose(np.multiply.outer(s1, s2), shuffled, atol=1e-13)


@pytest.mark.parametrize(("depth", "order"), [(1, 2), (2, 4), (3, 4)])
def test_the_log_ode_converges_as_a_magnus_series(depth, order):
    """dz = A_i z dX^i over windows, exp of the log-signature's words of matrices."""
    a = np.asarray(matrices(2))
    t = np.linspace(0.0, 1.0, 257)
    xs = np.stack([np.sin(2 * t), np.cos(5 * t) * t], axis=1)
    # In z' = A_i z dX^i later increments stand on the left.
    words = [a, np.einsum("bij,ajk->abik", a, a), np.einsum("cij,bjk,akl->abcil", a, a, a)]

    levels_of = jax.jit(lambda xs, depth: _log(_signature(xs, depth)), static_argnums=1)

    def solved(window, depth):
        z = np.eye(3)
        for k in range(0, 256, window):
            levels = levels_of(xs[k : k + window + 1], depth)
            generator = sum(
                np.tensordot(level, word, axes=level.ndim)
                for level, word in zip(levels, words, strict=False)
            )
            z = expm(generator) @ z
        return z

    exact = solved(1, 1)
    counts = np.array([8, 16, 32])
    errors = [np.abs(solved(256 // n, depth) - exact).max() for n in counts]
    found = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert found == pytest.approx(order, abs=0.2)


def test_the_control_of_log_signatures():
    ts = jnp.linspace(0.0, 1.0, 12)
    xs = with_time(ts, jnp.sin(3 * ts)[:, None])
    control = log_signature_control(ts, xs, window=4, depth=2)
    np.testing.assert_allclose(control.ts, ts[jnp.asarray([0, 4, 8, 11])])
    for i, (a, b) in enumerate([(0, 5), (4, 9), (8, 12)]):
        part = log_signature(xs[a:b], 2)
        np.testing.assert_allclose(control.xs[i + 1] - control.xs[i], part, atol=1e-13)
    plain = log_signature_control(ts, xs, window=4, depth=1)
    np.testing.assert_allclose(plain.xs, xs[jnp.asarray([0, 4, 8, 11])] - xs[0], atol=1e-14)


def test_bad_controls():
    for make, message in (
        (lambda: LinearControl(TS[::-1], XS), "do not increase"),
        (lambda: HermiteControl(TS, XS.at[1, 0].set(jnp.nan)), "gaps"),
        (lambda: LinearControl(TS[:3], XS), "times \\(3,\\)"),
        (lambda: log_signature(XS, 4), "expected 1, 2 or 3"),
        (lambda: log_signature_control(TS, XS, 0, 2), "window"),
    ):
        with pytest.raises(InputError, match=message):
            make()
