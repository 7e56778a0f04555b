"""Finite volumes: orders, conservation, positivity, waves, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate.ssp import march, march_evenly
from continua.integrate.trajectory import NON_FINITE, STEP_LIMIT, SUCCESS
from continua.problems import shock_tube, sod
from continua.spaces import finite_volume
from continua.spaces.finite_volume import CellWall, FiniteVolumeScheme, FiniteVolumeSpace
from continua.spaces.reconstruct import MUSCL, WENO5, Minmod, MonotonizedCentral, VanLeer
from continua.spaces.riemann import HLLC, Euler, Law, Rusanov, ShallowWater, spectral_radius

GAS = Euler(1.4)
TRANSPORT = Law(lambda u, axis, where: u)


def ring(n, dimensions=1):
    names = ("x", "y")[:dimensions]
    shape = (n,) * dimensions
    return FiniteVolumeSpace(
        names, (0.0,) * dimensions, (1.0,) * dimensions, shape, (True,) * dimensions
    )


def tube(n):
    return FiniteVolumeSpace(("x",), (0.0,), (1.0,), (n,), (False,))


def states(space, left, right, place=0.5):
    """Averages of two states of a gas, given by density, velocity, pressure."""
    both = [GAS.conserved(jnp.asarray(w)[:, None])[:, :1] for w in (left, right)]

    def values(nodes):
        x = nodes["x"].reshape(-1, *(1,) * (len(space.shape) - 1))
        shape = [len(nodes[c]) for c in space.names]
        rows = [np.where(x < place, float(a[0]), float(b[0])) for a, b in zip(*both, strict=True)]
        return np.stack([np.broadcast_to(row, shape) for row in rows])

    return jnp.asarray(space.averages(values))


@functools.cache
def gas_march(n, flux):
    """Compiled once for each size: `(start, times)` to a `March`."""
    scheme = FiniteVolumeScheme(tube(n), GAS, WENO5(), flux)
    return jax.jit(lambda start, times: march(scheme, start, times, 0.5))


def wave(nodes):
    return np.exp(np.sin(2 * np.pi * nodes["x"]))[None]


def errors_of_transport(reconstruction, sizes):
    """L1 errors after one turn, with steps that keep the error in time below."""
    found = []
    for n in sizes:
        space = ring(n)
        start = jnp.asarray(space.averages(wave))
        scheme = FiniteVolumeScheme(space, TRANSPORT, reconstruction, Rusanov())
        steps = int(np.ceil(2.5 * n * (n / 32) ** (2 / 3)))
        run = jax.jit(lambda u, scheme=scheme, steps=steps: march_evenly(scheme, u, (0, 1), steps))
        gap = np.abs(np.asarray(run(start).ys[-1] - start))
        found.append(float(np.mean(gap)))
    return np.array(found)


def test_weno_is_of_order_five_on_a_smooth_wave():
    errors = errors_of_transport(WENO5(), (32, 64))
    assert np.log2(errors[0] / errors[1]) > 4.8
    assert errors[1] < 4e-5


@pytest.mark.parametrize("limiter", [VanLeer(), MonotonizedCentral()])
def test_limited_lines_are_of_order_two_but_for_extrema(limiter):
    errors = errors_of_transport(MUSCL(limiter), (128, 256))
    assert 1.75 < np.log2(errors[0] / errors[1]) < 2.2


def test_reconstructions_meet_the_order_of_their_polynomials():
    space = ring(64)
    averages = np.asarray(space.averages(wave))[0]
    exact = np.exp(np.sin(2 * np.pi * space.faces(0)[1:]))
    for reconstruction, bound in ((WENO5(), 5e-6), (MUSCL(VanLeer()), 9e-3)):
        reach = reconstruction.reach
        cells = [jnp.asarray(np.roll(averages, reach - 1 - k)) for k in range(2 * reach)]
        left, right = reconstruction.faces(cells)
        assert np.max(np.abs(left - exact)) < bound
        assert np.max(np.abs(right - exact)) < bound


def test_values_between_centres_are_of_order_five_and_do_not_ring():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 2, (400, 1))
    gaps = []
    for n in (32, 64):
        found = ring(n).interpolate(ring(n).averages(wave), points)[:, 0]
        gaps.append(np.max(np.abs(found - np.exp(np.sin(2 * np.pi * points[:, 0])))))
    assert np.log2(gaps[0] / gaps[1]) > 4.5
    step = tube(40).averages(lambda nodes: (nodes["x"] < 0.5)[None])
    values = tube(40).interpolate(step, rng.uniform(0, 1, (2000, 1)))
    assert values.min() > -1e-6
    assert values.max() < 1 + 1e-6
    plane = ring(32, 2).averages(
        lambda nodes: np.exp(
            np.sin(2 * np.pi * (nodes["x"][:, None] - nodes["y"][None]))
        )[None]
    )  # fmt: skip
    places = rng.uniform(0, 1, (100, 2))
    exact = np.exp(np.sin(2 * np.pi * (places[:, 0] - places[:, 1])))
    found = ring(32, 2).interpolate(plane, places)
    np.testing.assert_allclose(found[:, 0], exact, atol=5e-4)
    turned = ring(32, 2).interpolate(plane.swapaxes(1, 2), places[:, ::-1])
    np.testing.assert_allclose(found, turned, atol=1e-14)


def test_minmod_keeps_the_bounds_of_what_is_carried():
    space = ring(50)
    start = jnp.asarray(space.averages(lambda nodes: (np.abs(nodes["x"] - 0.5) < 0.2)[None]))
    scheme = FiniteVolumeScheme(space, TRANSPORT, MUSCL(Minmod()), Rusanov())
    found = jax.jit(lambda u: march(scheme, u, np.linspace(0, 2, 9), 0.5))(start)
    assert float(found.ys.min()) >= -1e-15
    assert float(found.ys.max()) <= 1 + 1e-15
    total = np.asarray(found.ys.sum(axis=(1, 2)))
    np.testing.assert_allclose(total, total[0], rtol=1e-13)


def test_sod_converges_positive_and_conserved():
    reference, errors = sod().reference, []
    for n in (100, 200):
        space = tube(n)
        start = states(space, (1.0, 0.0, 1.0), (0.125, 0.0, 0.1))
        found = gas_march(n, HLLC())(start, np.array([0.0, 0.1, 0.2]))
        assert int(found.code) == SUCCESS
        assert int(found.rejected) == 0
        assert float(GAS.positive(found.ys[-1]).min()) > 0
        # Waves have not met the ends: momentum grows by the difference of pressures there.
        change = np.asarray((found.ys[-1] - start).sum(axis=1)) / n
        np.testing.assert_allclose(change, [0.0, 0.9 * 0.2, 0.0], atol=1e-13)
        fine = space.averages(lambda nodes: reference.values(0.2, nodes["x"]))
        errors.append(np.mean(np.abs(np.asarray(found.ys[-1]) - fine)))
        middle = np.asarray(found.ys[-1])[0, int(0.6 * n)]
        np.testing.assert_allclose(middle, 0.42632, atol=2e-3)
    assert np.log2(errors[0] / errors[1]) > 0.8
    assert errors[1] < 4e-3


@pytest.mark.parametrize(
    ("left", "right", "end"),
    [
        ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), 0.012),  # Toro's test 3
        ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), 0.15),  # Toro's test 2, near a vacuum
        ((1.0, 0.0, 1e7), (1e-3, 0.0, 1e-3), 1e-4),
    ],
)
def test_strong_waves_stay_positive(left, right, end):
    start = states(tube(200), left, right)
    found = gas_march(200, HLLC())(start, np.array([0.0, end / 2, end]))
    assert int(found.code) == SUCCESS
    kept = np.asarray(GAS.positive(found.ys[-1]))
    assert kept.min() > 0
    exact = shock_tube(left, right, end=end).reference
    fine = tube(200).averages(lambda nodes: exact.values(end, nodes["x"]))
    gap = np.mean(np.abs(np.asarray(found.ys[-1]) - fine), axis=1)
    assert np.all(gap < 0.12 * np.maximum(np.mean(np.abs(fine), axis=1), 1e-12))


def test_hllc_keeps_a_contact_at_rest_and_rusanov_smears_it():
    start = states(tube(200), (1.4, 0.0, 1.0), (1.0, 0.0, 1.0))
    kept = gas_march(200, HLLC())(start, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(kept.ys[-1], start, atol=1e-13)
    left, right = start[:, 0], start[:, -1]
    exact = GAS.flux(left, 0, None)
    np.testing.assert_allclose(HLLC().between(GAS, left, right, 0, None), exact, atol=1e-15)
    assert float(Rusanov().between(GAS, left, right, 0, None)[0]) > 0.2


def test_the_plane_agrees_with_the_line_and_conserves_everything():
    line, plane = ring(32), ring(32, 2)
    left, right = (1.0, 0.3, 1.0), (0.5, 0.3, 0.4)
    one = jax.jit(
        lambda u: march(FiniteVolumeScheme(line, GAS, WENO5(), HLLC()), u, (0.0, 0.1), 0.4)
    )(states(line, left, right))
    scheme = FiniteVolumeScheme(plane, GAS, WENO5(), HLLC())
    march_plane = jax.jit(lambda u: march(scheme, u, (0.0, 0.1), 0.4))
    across = states(plane, (1.0, 0.3, 0.0, 1.0), (0.5, 0.3, 0.0, 0.4))
    steps = int(one.steps)
    found = march_plane(across)
    # The vertical speed shortens the steps of the plane: equal up to the error in time.
    assert int(found.steps) >= steps
    np.testing.assert_allclose(found.ys[-1][jnp.array([0, 1, 3]), :, 7], one.ys[-1], atol=3e-3)
    assert float(jnp.abs(found.ys[-1] - found.ys[-1][:, :, :1]).max()) < 1e-13
    turned = jnp.swapaxes(across, 1, 2)[jnp.array([0, 2, 1, 3])]
    same = jnp.swapaxes(march_plane(turned).ys[-1], 1, 2)[jnp.array([0, 2, 1, 3])]
    np.testing.assert_allclose(same, found.ys[-1], atol=1e-13)
    total = np.asarray(found.ys.mean(axis=(2, 3)))
    np.testing.assert_allclose(total[1], total[0], atol=1e-13)


@pytest.mark.parametrize(
    ("law", "u"),
    [
        (GAS, [1.2, 0.5, -0.7, 3.0]),
        (GAS, [0.4, -0.3, 1.5]),
        (ShallowWater(9.81), [2.0, 3.0, -1.0]),
        (ShallowWater(9.81), [2.0, 3.0]),
    ],
)
def test_modes_are_eigenvectors_of_the_flux(law, u):
    u = jnp.asarray(u)
    for axis in range(len(u) - (2 if law is GAS else 1)):
        modes = law.modes(u, axis)
        to = jnp.stack([jnp.stack(modes.to(e)) for e in jnp.eye(len(u))], axis=1)
        back = jnp.stack([jnp.stack(modes.back(e)) for e in jnp.eye(len(u))], axis=1)
        np.testing.assert_allclose(to @ back, np.eye(len(u)), atol=1e-13)
        matrix = jax.jacfwd(lambda v, axis=axis: law.flux(v, axis, None))(u)
        waves = np.asarray(to @ matrix @ back)
        np.testing.assert_allclose(waves, np.diag(np.diag(waves)), atol=1e-11)
        speed = float(law.speed(u, axis, None))
        np.testing.assert_allclose(np.max(np.abs(np.diag(waves))), speed, rtol=1e-12)
        bound = float(spectral_radius(matrix))
        assert speed * (1 - 1e-12) <= bound < 1.25 * speed
        other = Law(law.flux)
        np.testing.assert_allclose(other.speed(u, axis, None), bound, rtol=1e-12)


def test_walls_reflect_and_give_values_and_slopes():
    n = 64
    sound = Law(lambda u, axis, where: u[::-1])
    still = tuple(
        CellWall(state, 0, side, 1 - state, lambda t: 0 * t) for side in (0, 1) for state in (0, 1)
    )
    scheme = FiniteVolumeScheme(tube(n), sound, WENO5(), Rusanov(), still)
    start = tube(n).averages(lambda nodes: np.stack([np.cos(np.pi * nodes["x"]), 0 * nodes["x"]]))
    found = jax.jit(lambda u: march(scheme, u, (0.0, 2.0), 0.5))(jnp.asarray(start))
    np.testing.assert_allclose(found.ys[-1], start, atol=2e-4)
    heat = Law(lambda u, axis, where: 0 * u)
    walls = (
        CellWall(0, 0, 0, 0, lambda t: 1 + 0 * t),
        CellWall(0, 0, 1, 1, lambda t: 2 + 0 * t),
    )

    def diffusion(u, slope, axis, where):
        return -slope

    scheme = FiniteVolumeScheme(tube(12), heat, WENO5(), Rusanov(), walls, diffusion)
    line = jnp.asarray(tube(12).averages(lambda nodes: 1 + 2 * nodes["x"][None]))
    np.testing.assert_allclose(scheme(jnp.asarray(1.0), line), 0, atol=1e-11)


def test_derivatives_lanes_and_single_precision():
    space = ring(24)
    scheme = FiniteVolumeScheme(
        space, Law(lambda u, axis, where: u**2 / 2), WENO5(), Rusanov()
    )  # fmt: skip
    start = jnp.asarray(space.averages(wave))

    @jax.jit
    def evenly(a):
        return jnp.sum(march_evenly(scheme, a * start, (0.0, 0.05), 8).ys[-1] ** 2)

    @jax.jit
    def adaptive(a):
        return jnp.sum(march(scheme, a * start, (0.0, 0.05), 0.4).ys[-1] ** 2)

    one = jnp.asarray(1.0)
    reverse = float(jax.jit(jax.grad(evenly))(one))
    forward = float(jax.jit(lambda a: jax.jvp(evenly, (a,), (one,))[1])(one))
    step = 1e-6
    central = float(evenly(one + step) - evenly(one - step)) / (2 * step)
    np.testing.assert_allclose([reverse, forward], central, rtol=1e-7)
    along = float(jax.jit(lambda a: jax.jvp(adaptive, (a,), (one,))[1])(one))
    central = float(adaptive(one + step) - adaptive(one - step)) / (2 * step)
    np.testing.assert_allclose(along, central, rtol=1e-4)
    lanes = jax.jit(jax.vmap(adaptive))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(lanes, [adaptive(one), adaptive(2 * one)], rtol=1e-13)
    low = jax.jit(lambda u: march(scheme, u, (0.0, 0.05), 0.4))(start.astype(jnp.float32))
    assert low.ys.dtype == jnp.float32
    high = march(scheme, start, (0.0, 0.05), 0.4)
    np.testing.assert_allclose(low.ys[-1], high.ys[-1], rtol=2e-5)


def test_how_a_march_ends():
    space = ring(24)
    scheme = FiniteVolumeScheme(space, TRANSPORT, MUSCL(), Rusanov())
    start = jnp.asarray(space.averages(wave))
    times = jnp.array([0.0, 0.1, 1.0])
    short = jax.jit(lambda u: march(scheme, u, times, 0.5, 10))
    found = short(start)
    assert int(found.code) == STEP_LIMIT
    assert int(found.steps) == 10
    assert bool(jnp.isfinite(found.ys[1]).all())
    assert bool(jnp.isnan(found.ys[2]).all())
    lost = short(start.at[0, 3].set(jnp.nan))
    assert int(lost.code) == NON_FINITE
    assert int(lost.steps) == 0
    with pytest.raises(InputError, match="5 at least"):
        ring(4)


def near_vacuum(space):
    """Gas that flies apart, in places that a wave makes denser."""

    def values(nodes):
        x, y = (np.asarray(nodes.get(c, [0.0])) for c in "xy")
        x, y = (x[:, None], y[None]) if len(space.shape) == 2 else (x, 0 * x)
        rho = 1 + 0.2 * np.sin(2 * np.pi * y) + 0 * x
        speed = np.where(x < 0.6, -2.0, 2.0) * (np.abs(x - 0.6) < 0.2) + 0 * y
        across = [0 * rho] * (len(space.shape) - 1)
        rows = np.stack([rho, rho * speed, *across, 1 + rho * speed**2 / 2])
        # Nothing is constant, where derivatives of weights would be those of rounding.
        return rows + [0.05 * np.sin(2 * np.pi * (x + 2 * y) + k) for k in range(len(rows))]

    return jnp.asarray(space.averages(values))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_blocks_give_what_all_cells_at_once_do(monkeypatch, dimensions):
    space = ring(23, dimensions)
    scheme = FiniteVolumeScheme(space, GAS, WENO5(), HLLC())
    start = near_vacuum(space)
    along = jnp.cos(jnp.arange(start.size, dtype=start.dtype)).reshape(start.shape)
    found = []
    for cells in (10**6, 20):
        monkeypatch.setattr(finite_volume, "_BLOCK", cells)
        both = jax.jit(lambda u, v: jax.jvp(lambda u: scheme(jnp.zeros(()), u), (u,), (v,)))
        found.append([np.asarray(a) for a in both(start, along)])
    for whole, blocks in zip(*found, strict=True):
        np.testing.assert_allclose(blocks, whole, atol=1e-12 * np.abs(whole).max())
    axes = tuple(range(1, 1 + dimensions))
    assert np.abs(found[1][0].mean(axis=axes)).max() < 1e-13 * np.abs(found[1][0]).max()


def test_positivity_conserves_around_a_ring():
    # The thinnest gas is at the seam, so that faces there are drawn to their averages.
    space = ring(40)
    left, right = (1.0, -6.0, 0.4), (1.0, 6.0, 0.4)
    start = jnp.roll(states(space, left, right), 20, axis=1)
    scheme = FiniteVolumeScheme(space, GAS, WENO5(), HLLC())
    found = jax.jit(lambda u: march(scheme, u, (0.0, 0.02), 0.4))(start)
    assert int(found.code) == SUCCESS
    total = np.asarray(found.ys.mean(axis=2))
    np.testing.assert_allclose(total[1], total[0], rtol=1e-13, atol=1e-13)
