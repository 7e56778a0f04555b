"""The Fourier method in one to three dimensions, for vectors and for systems."""

import dataclasses

import jax
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.equations import Equation
from continua.methods.classical.spectral import Spectral, _Trial
from continua.problems import EquationProblem, abc_flow
from continua.solve import solve
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


def test_velocity_and_pressure_in_three_dimensions():
    flow = abc_flow()
    solution = solve(flow, Spectral(num_points=16, dt=0.05), throw=True)
    errors = solution.error(flow.reference)
    assert errors["relative_l2"] < 1e-13
    assert errors["relative_l2_p"] < 1e-13


def two_ways():
    """One flow by vorticity and by velocity: `psi = cos(x) sin(y) + cos(2 x - y)/2`."""
    box = {"t": (0.0, 0.5), "x": RING, "y": RING}
    options = {
        "domain": box,
        "parameters": {"nu": 0.05},
        "boundary": {"x": "periodic", "y": "periodic"},
        "num_points": {"t": 3, "x": 16, "y": 16},
    }
    names = ("t", "x", "y"), ("nu",)
    vorticity = Equation(
        ("w_t + psi_y*w_x - psi_x*w_y = nu*lap(w)", "lap(psi) = -w"), ("w", "psi"), *names
    )
    velocity = Equation(
        (
            "u_t + dot(vec(u, v), grad(u)) = nu*lap(u) - p_x",
            "v_t + dot(vec(u, v), grad(v)) = nu*lap(v) - p_y",
            "div(vec(u, v)) = 0",
        ),
        ("u", "v", "p"),
        *names,
    )
    start = {
        "u": "cos(x)*cos(y) + sin(2*x - y)/2",
        "v": "sin(x)*sin(y) + sin(2*x - y)",
    }
    first = {"w": "2*cos(x)*sin(y) + 5*cos(2*x - y)/2"}
    return (
        EquationProblem("w", "Vorticity", vorticity, initial=first, **options),
        EquationProblem("v", "Velocity", velocity, initial=start, **options),
    )


def test_velocity_agrees_with_vorticity():
    method = Spectral(num_points=32, dt=0.005)
    by_vorticity, by_velocity = (solve(flow, method, throw=True) for flow in two_ways())
    x, y = np.random.default_rng(0).uniform(0, 6, (2, 50))
    h = 1e-4
    psi = [by_vorticity.values(0.5, x, y + s * h)[1] for s in (1, -1)]
    u = (psi[0] - psi[1]) / (2 * h)
    assert np.max(np.abs(by_velocity.values(0.5, x, y)[0] - u)) < 1e-7


def test_a_start_with_a_divergence_is_told():
    _, flow = two_ways()
    wrong = dataclasses.replace(flow, initial={"u": "sin(x)", "v": "0"})
    with pytest.raises(InputError, match="the initial velocity has a divergence"):
        solve(wrong, Spectral(num_points=16, dt=0.05))
