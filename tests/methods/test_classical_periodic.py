"""The Fourier method, and finite differences around a ring."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.precision import precision
from continua.core.results import ResultCode
from continua.core.solution import Solution
from continua.methods.classical.choose import best_classical
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.spectral import Spectral
from tests.methods.classical_problems import line, on_wall, ordinary, problem, walls

KEY = jax.random.key(0)
RING = (0.0, 2 * np.pi)


def computed(method, problem):
    prepared = method.prepare(problem, key=KEY)
    run = jax.jit(prepared.program) if prepared.traced else prepared.program
    return prepared.finish(run(prepared.inputs))


def mesh(problem):
    grid = problem.evaluation_grid()
    return np.meshgrid(*(grid[c] for c in problem.equation.coordinates), indexing="ij")


def heat():
    return line("u_t = k*u_xx", 1.0, RING, {"u": "exp(cos(x))"}, "periodic", parameters={"k": 0.3})


def heat_exact(t, x):
    from scipy.special import iv

    found = iv(0, 1.0) + 0 * t
    for k in range(1, 20):
        found = found + 2 * iv(k, 1.0) * np.cos(k * x) * np.exp(-0.3 * k**2 * t)
    return found


def test_resolutions_are_chosen_until_nothing_changes():
    case = heat()
    solution = computed(Spectral(), case)
    np.testing.assert_allclose(solution(*mesh(case)), heat_exact(*mesh(case)), atol=1e-11)
    assert solution.stats["num_points"] == 32
    rng = np.random.default_rng(0)
    t, x = rng.uniform(0, 1, 300), rng.uniform(-7, 7, 300)
    np.testing.assert_allclose(solution(t, x), heat_exact(t, x), atol=1e-4)
    fine = computed(Spectral(num_points=48, dt=0.025), case)
    assert fine.stats["num_points"] == 48
    assert fine.stats["dt"] == pytest.approx(0.025)
    np.testing.assert_allclose(fine(t, x), heat_exact(t, x), atol=1e-9)


def test_nonlinear_waves_agree_with_scipy():
    case = line("u_t + u*u_x + u_xxx/10 = u_xx/20", 1.0, RING, {"u": "sin(x)"}, "periodic")
    solution = computed(Spectral(), case)
    n = 64
    k = np.fft.rfftfreq(n, 1 / n)

    def field(t, packed):
        u = np.fft.irfft(packed[: n // 2 + 1] + 1j * packed[n // 2 + 1 :])
        change = -0.5j * k * np.fft.rfft(u * u) * (k < n / 3)
        change += (0.1j * k**3 - 0.05 * k**2) * np.fft.rfft(u)
        return np.concatenate([change.real, change.imag])

    x = 2 * np.pi * np.arange(n) / n
    start = np.fft.rfft(np.sin(x))
    packed = np.concatenate([start.real, start.imag])
    end = solve_ivp(field, (0, 1), packed, method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    exact = np.fft.irfft(end[: n // 2 + 1] + 1j * end[n // 2 + 1 :])
    np.testing.assert_allclose(solution(1.0, x), exact, atol=1e-7)
    other = computed(FiniteDifferences(num_points=160, order=6, rtol=1e-8), case)
    np.testing.assert_allclose(other(1.0, x), exact, atol=1e-5)


@pytest.mark.parametrize("method", [Spectral(num_points=24, dt=0.05), FiniteDifferences(32, 6)])
def test_second_order_in_time_and_two_dimensions(method):
    case = problem(
        "u_tt = lap(u) - 2*u",
        ("u",),
        ("t", "x", "y"),
        {"t": (0.0, 1.0), "x": RING, "y": (0.0, np.pi)},
        {"u": "cos(x)*sin(2*y)", "u_t": "cos(x)"},
        {"x": "periodic", "y": "periodic"},
        num_points={"t": 5, "x": 8, "y": 6},
    )
    t, x, y = mesh(case)
    w, v = np.sqrt(1 + 4 + 2), np.sqrt(3)
    exact = np.cos(w * t) * np.cos(x) * np.sin(2 * y) + np.sin(v * t) / v * np.cos(x)
    atol = 1e-11 if isinstance(method, Spectral) else 2e-5
    np.testing.assert_allclose(computed(method, case)(t, x, y), exact, atol=atol)


def test_values_are_frames_at_the_grid_and_survive_a_file(tmp_path):
    case = heat()
    solution = computed(Spectral(num_points=21, dt=0.1), case)
    values = solution(*mesh(case))
    frames = solution.evaluator.frames[:: (len(solution.evaluator.times) - 1) // 5]
    np.testing.assert_array_equal(values, frames[:, 0])
    solution.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path)(*mesh(case)), values)


def test_single_precision():
    case = heat()
    with precision("float32"):
        solution = computed(Spectral(), case)
    np.testing.assert_allclose(solution(*mesh(case)), heat_exact(*mesh(case)), atol=1e-5)


def test_a_blow_up_is_a_result_with_advice():
    case = line("u_t = u_xx/10 + u^2", 3.0, RING, {"u": "1 + cos(x)/10"}, "periodic")
    solution = computed(Spectral(num_points=32, dt=0.01), case)
    assert solution.result.code == ResultCode.diverged
    assert "t = " in solution.result.message
    assert "u at wavenumber" in solution.result.message
    assert solution.result.advice
    assert np.isfinite(solution.values(0.6, 1.0)).all()
    assert np.isnan(solution.values(2.9, 1.0)).all()


def test_what_it_cannot_do():
    still = on_wall("u", {1: 1.0}, "1")
    between = line("u_t = u_xx", 1.0, RING, {"u": "1"}, walls(still, still))
    assert "periodic" in Spectral().supports(between).reason
    assert "space" in Spectral().supports(ordinary("u_t = -u", 1.0, {"u": "1"})).reason


def test_the_first_choice():
    assert isinstance(best_classical(heat()), Spectral)
    bent = line("u_t = d((2 + cos(x))*u_x, x)", 1.0, RING, {"u": "1"}, "periodic")
    assert isinstance(best_classical(bent), FiniteDifferences)


def test_ladders_go_from_cheap_to_dear():
    case = heat()
    costs = [
        s.stats["num_points"] * s.stats["steps"]
        for s in (computed(m, case) for m in Spectral().ladder(case))
    ]
    assert 5 <= len(costs) <= 7
    assert all(a <= b for a, b in zip(costs, costs[1:], strict=False))


def test_values_on_a_product_grid_are_those_at_its_points():
    case = heat()
    solution = computed(Spectral(num_points=32, dt=0.05), case)
    rng = np.random.default_rng(0)
    (t0, t1), (low, high) = case.domain["t"], case.domain["x"]
    grid = np.meshgrid(rng.uniform(t0, t1, 9), rng.uniform(low, high, 7), indexing="ij")
    order = rng.permutation(63)
    together, t, x = (a.ravel()[order] for a in (solution(*grid), *grid))
    alone = [float(solution(a, b)) for a, b in zip(t, x, strict=True)]
    np.testing.assert_allclose(solution(t, x), together, atol=1e-13)
    np.testing.assert_allclose(alone, together, atol=1e-13)
