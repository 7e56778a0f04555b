"""Problems on periodic boxes: their closed forms, what they keep, other solvers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.equations import Scope, parse_expression
from continua.equations.compile import compile_expressions
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.equations.residual import nested_forward
from continua.methods.classical.choose import best_classical
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.spectral import Spectral
from continua.problems.library import fluids, patterns, quantum

KEY = jax.random.key(0)
CLOSED = (
    quantum.wave,
    quantum.sine_gordon,
    quantum.schroedinger,
    quantum.nonlinear_schroedinger,
    fluids.taylor_green,
)


def computed(method, problem):
    prepared = method.prepare(problem, key=KEY)
    run = jax.jit(prepared.program) if prepared.traced else prepared.program
    return prepared.finish(run(prepared.inputs))


def mesh(problem):
    return np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")


def cut(problem, end, **options):
    """The problem up to an earlier time, on three evaluation times."""
    domain = {**problem.domain, "t": (0.0, end)}
    points = {**problem.num_points, "t": 3}
    changes = {"domain": domain, "num_points": points, "reference": None, **options}
    return dataclasses.replace(problem, **changes)


@pytest.mark.parametrize("make", CLOSED, ids=lambda f: f.__name__)
def test_closed_forms_solve_their_equations(make):
    problem = make()
    reference, equation = problem.reference, problem.equation
    scope = Scope(equation.coordinates, (), equation.parameters)
    rows = [parse_expression(reference.formulas[u], scope, where="t") for u in equation.unknowns]
    names = [*map(coordinate_symbol, equation.coordinates)]
    function = compile_expressions(rows, [*names, *map(parameter_symbol, equation.parameters)])
    numbers = [jnp.asarray(v) for v in problem.parameters.values()]
    ends = np.array(list(problem.domain.values()))
    # Where waves are, not in their tails.
    centre, width = ends.mean(axis=1), np.minimum(np.ptp(ends, axis=1), 4.0)
    share = np.random.default_rng(0).random((20, len(ends))) - 0.5
    found = jax.jit(
        lambda points: equation.residual(
            lambda point: jnp.stack(function(*point, *numbers)),
            points,
            problem.parameters,
            differentiate=nested_forward,
        )
    )(jnp.asarray(centre + width * share))
    np.testing.assert_allclose(found, 0.0, atol=1e-11)


@pytest.mark.parametrize(
    ("make", "nodes", "dt", "atol"),
    [
        (quantum.schroedinger, 256, 0.04, 1e-12),
        (fluids.taylor_green, 8, 0.2, 1e-13),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_free_waves_and_vortices_cost_no_small_steps(make, nodes, dt, atol):
    problem = make()
    assert isinstance(best_classical(problem), Spectral)
    solution = computed(Spectral(nodes, dt, frames=1), problem)
    np.testing.assert_allclose(
        solution.values(*mesh(problem)), problem.reference.values(*mesh(problem)), atol=atol
    )


def test_the_breather_swings():
    problem = cut(quantum.sine_gordon(), 10.0)
    solution = computed(Spectral(384, 0.05, frames=1), problem)
    exact = quantum.sine_gordon().reference
    np.testing.assert_allclose(solution(*mesh(problem)), exact(*mesh(problem)), atol=1e-6)


def test_a_soliton_keeps_form_mass_and_energy():
    problem = cut(quantum.nonlinear_schroedinger(), 2.0, num_points={"t": 3, "x": 384})
    solution = computed(Spectral(384, 0.01, frames=1), problem)
    u, v = solution.values(*mesh(problem))
    exact = quantum.nonlinear_schroedinger().reference.values(*mesh(problem))
    np.testing.assert_allclose([u, v], exact, atol=1e-7)
    k = 2 * np.pi / 64 * np.fft.fftfreq(384, 1 / 384)
    psi = u + 1j * v
    slope = np.fft.ifft(1j * k * np.fft.fft(psi))
    mass = np.sum(np.abs(psi) ** 2, axis=1) * 64 / 384
    energy = np.sum(np.abs(slope) ** 2 - np.abs(psi) ** 4, axis=1) / 2 * 64 / 384
    np.testing.assert_allclose(mass, 2.0, atol=1e-9)
    np.testing.assert_allclose(energy, 1.0 - 1 / 3, atol=1e-8)


def test_a_plane_wave_of_ginzburg_and_landau():
    # A = sqrt(1 - q^2) exp(i (q x - w t)) with w = c + (b - c) q^2.
    q, b, c = 0.2, 2.0, -1.0
    size, w = np.sqrt(1 - q**2), c + (b - c) * q**2
    initial = {"u": f"{size}*cos({q}*x)", "v": f"{size}*sin({q}*x)"}
    problem = cut(patterns.ginzburg_landau(b=b, c=c), 2.0, initial=initial)
    u, v = computed(Spectral(32, 0.02, frames=1), problem).values(*mesh(problem))
    t, x = mesh(problem)
    np.testing.assert_allclose(u + 1j * v, size * np.exp(1j * (q * x - w * t)), atol=1e-8)


PEERS = {
    "GrayScott": (
        patterns.gray_scott, 64, 4.0, 0.4, {"feed_rate": 0.04, "kill_rate": 0.06},
    ),
    "SwiftHohenberg": (
        patterns.swift_hohenberg, 128, 1.0, 20 * np.pi, {"reactivity": 0.2},
    ),
    "CahnHilliard": (
        patterns.cahn_hilliard, 64, 0.02, 2 * np.pi, {"diffusivity": 1.0, "gamma": 0.05},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_patterns_agree_with_exponax(name):
    make, nodes, end, side, options = PEERS[name]
    steps = 20
    exponax = pytest.importorskip("exponax")
    problem = make()
    axes = problem.equation.space
    problem = cut(problem, end, num_points={"t": 3, **dict.fromkeys(axes, nodes)})
    solution = computed(Spectral(nodes, end / steps, frames=1), problem)
    found = solution.values(*mesh(problem))
    with jax.numpy_dtype_promotion("standard"):
        stepper = getattr(exponax.stepper.reaction, name)(
            len(axes), side, nodes, end / steps, order=4, dealiasing_fraction=2 / 3, **options
        )
        run = jax.jit(exponax.repeat(stepper, steps))
        exact = np.asarray(run(jnp.asarray(found[:, 0])))
    np.testing.assert_allclose(found[:, -1], exact, atol=2e-6 * np.abs(exact).max())
    assert np.abs(exact - found[:, 0]).max() > 1e-3


def test_the_brusselator_agrees_with_finite_differences():
    problem = cut(patterns.brusselator(), 1.0, num_points={"t": 3, "x": 16})
    by_waves = computed(Spectral(48, 0.02, frames=1), problem).values(*mesh(problem))
    other = FiniteDifferences(96, order=6, stiff=False)
    by_stencils = computed(other, problem).values(*mesh(problem))
    np.testing.assert_allclose(by_waves, by_stencils, atol=1e-5)


def test_a_nonlinear_diffusion_below_the_fourth_order_goes_to_the_fourier_method():
    assert isinstance(best_classical(patterns.cahn_hilliard()), Spectral)
