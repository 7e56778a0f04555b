"""The Fourier method in one to three dimensions, for vectors and for systems."""

import jax
import numpy as np
import pytest

from continua.methods.classical.spectral import Spectral, _Trial
from tests.methods.classical_problems import problem

KEY = jax.random.key(0)
RING = (0.0, 2 * np.pi)
NU = 0.4
AXES, VELOCITIES = "xyz", "uvw"
SIZES = {1: 32, 2: 20, 3: 16}


def potential(t, *places):
    """A solution `phi` of the heat equation and its slopes: `-2 nu grad(phi) / phi` solves
    Burgers' equation for vectors."""
    decay, count = np.exp(-NU * t), len(places)
    phi, slopes = 6.0 + 0 * t, []
    for x in places:
        phi = phi + decay * np.cos(x + 0.3)
    together = decay**count
    for x in places:
        together = together * np.cos(x)
    phi = phi + together
    for i, x in enumerate(places):
        rest = -(decay**count) * np.sin(x)
        for j, y in enumerate(places):
            rest = rest * (np.cos(y) if i != j else 1.0)
        slopes.append(rest - decay * np.sin(x + 0.3))
    return phi, slopes


def exact(t, *places):
    phi, slopes = potential(t, *places)
    return np.stack([-2 * NU * slope / phi for slope in slopes])


def burgers(dimensions):
    """Burgers' equation for vectors; initial values as text of the same formulas."""
    axes, names = AXES[:dimensions], VELOCITIES[:dimensions]
    whole = "*".join(f"cos({x})" for x in axes)
    phi = f"(6 + {' + '.join(f'cos({x} + 0.3)' for x in axes)} + {whole})"
    initial = {
        u: f"0.8*(sin({x} + 0.3) + {whole.replace(f'cos({x})', f'sin({x})')})/{phi}"
        for u, x in zip(names, axes, strict=True)
    }
    carried = [" + ".join(f"{v}*{u}_{x}" for v, x in zip(names, axes, strict=True)) for u in names]
    spread = [" + ".join(f"nu*{u}_{x}{x}" for x in axes) for u in names]
    return problem(
        [f"{u}_t + {c} = {s}" for u, c, s in zip(names, carried, spread, strict=True)],
        tuple(names),
        ("t", *axes),
        {"t": (0.0, 1.0), **dict.fromkeys(axes, RING)},
        initial,
        dict.fromkeys(axes, "periodic"),
        parameters={"nu": NU},
        num_points={"t": 2, **dict.fromkeys(axes, 12)},
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_vectors_are_of_order_four_in_time_and_exact_in_space(dimensions):
    case = burgers(dimensions)
    trial, nodes = _Trial(case), SIZES[dimensions]
    space = trial.space(nodes)
    mesh = np.meshgrid(*space.axes().values(), indexing="ij")
    steps = (4, 8, 16, 64)
    ends = [np.asarray(trial.run(nodes, n, 1).ys[-1]) for n in steps]
    errors = [np.linalg.norm(end - ends[-1]) for end in ends[:-1]]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(orders > 3.8)
    assert np.all(orders < 4.6)
    gap = np.abs(ends[-1] - exact(np.ones(space.shape), *mesh)).max()
    assert gap < {1: 1e-7, 2: 1e-6, 3: 2e-5}[dimensions]


def test_resolutions_are_chosen_in_three_dimensions():
    case = problem(
        "u_t = nu*u_xx + nu*u_yy + nu*u_zz",
        ("u",),
        ("t", *AXES),
        {"t": (0.0, 1.0), **dict.fromkeys(AXES, RING)},
        {"u": "exp(sin(x))*cos(y - z)"},
        dict.fromkeys(AXES, "periodic"),
        parameters={"nu": NU},
        num_points={"t": 2, **dict.fromkeys(AXES, 12)},
    )
    prepared = Spectral(tolerance=1e-7).prepare(case, key=KEY)
    solution = prepared.finish(jax.jit(prepared.program)(prepared.inputs))
    assert solution.result.ok
    assert solution.stats["num_points"] == 32
    x, y, z = np.random.default_rng(0).uniform(0, 2 * np.pi, (3, 50))
    ring = np.arange(64) * 2 * np.pi / 64
    series = np.fft.fft(np.exp(np.sin(ring))) / 64
    k = np.fft.fftfreq(64, 1 / 64)
    along = (series * np.exp(-NU * k**2) * np.exp(1j * np.outer(x, k))).sum(axis=1).real
    exact = np.exp(-2 * NU) * np.cos(y - z) * along
    np.testing.assert_allclose(solution(np.ones(50), x, y, z), exact, atol=1e-9)


def test_a_wave_in_three_dimensions_couples_its_states():
    case = problem(
        "u_tt = lap(u) - u",
        ("u",),
        ("t", *AXES),
        {"t": (0.0, 1.0), **dict.fromkeys(AXES, RING)},
        {"u": "cos(x)*sin(y)*cos(2*z)", "u_t": "sin(z)"},
        dict.fromkeys(AXES, "periodic"),
        num_points={"t": 3, **dict.fromkeys(AXES, 6)},
    )
    prepared = Spectral(num_points=8, dt=0.5).prepare(case, key=KEY)
    solution = prepared.finish(jax.jit(prepared.program)(prepared.inputs))
    t, x, y, z = np.meshgrid(*case.evaluation_grid().values(), indexing="ij")
    w, v = np.sqrt(7.0), np.sqrt(2.0)
    wave = np.cos(w * t) * np.cos(x) * np.sin(y) * np.cos(2 * z) + np.sin(v * t) / v * np.sin(z)
    np.testing.assert_allclose(solution(t, x, y, z), wave, atol=1e-12)
