"""Deblurring and a diffusion coefficient: error of the field against the noise.

`Tikhonov` (weight by the discrepancy principle and by cross-validation) beside truncated
singular values, their number by the discrepancy principle too, and least squares without
a penalty; `GaussNewton` beside its own steps without one, on the coefficient of
`-(a u')' = 10` from values of `u`.
"""

import jax.numpy as jnp
import numpy as np
from jax import jacfwd, lax

from benchmarks.common import run
from continua.methods.classical.gauss_newton import GaussNewton
from continua.methods.classical.tikhonov import Tikhonov
from continua.problems.inverse import Blur, InverseProblem

NODES = np.linspace(0, 1, 128)
NOISES = (0.1, 0.01, 0.001)


def main(quick: bool = False) -> list[dict]:
    """Solve every problem for every noise and seed and return flat records.

    **Arguments:**

    - `quick`: one seed, two noises.
    """
    rows = []
    for noise in NOISES[1:] if quick else NOISES:
        for seed in range(1 if quick else 3):
            rows += _deblurring(noise, seed) + _diffusion(noise / 10, seed)
    return rows


def _measured(name: str, forward, operator, truth: np.ndarray, noise: float, seed: int):
    exact = np.asarray(operator(jnp.asarray(truth)), float)
    y = exact + noise * np.random.default_rng(seed).standard_normal(exact.shape)
    title = f"{name} with noise {noise:g}"
    return InverseProblem(title, title, forward, y, {"x": NODES}, noise=noise, truth=truth)


def _deblurring(noise: float, seed: int) -> list[dict]:
    x = NODES
    truth = np.exp(-(((x - 0.3) / 0.08) ** 2)) + 0.5 * np.sin(np.pi * (x - 0.6) / 0.4) * (x > 0.6)
    blur = Blur(0.04)
    problem = _measured("deblurring", blur, blur.on({"x": x}), truth, noise, seed)
    rows = []
    for label, method in {
        "Tikhonov": Tikhonov(2),
        "Tikhonov (gcv)": Tikhonov(2, choice="gcv"),
    }.items():
        rows += run(problem, method, label=label, seed=seed, reference=problem.reference)[1]
    first = next(r for r in rows if r["metric"] == "relative_l2")
    errors = dict(zip(("truncated SVD", "no penalty"), _by_singular_values(problem), strict=True))
    return [*rows, *({**first, "method": name, "value": e} for name, e in errors.items())]


def _by_singular_values(problem: InverseProblem) -> tuple[float, float]:
    """Errors with the fewest singular values that explain the data, and with all of them."""
    matrix = np.asarray(jacfwd(problem.operator())(jnp.asarray(NODES)), float)
    u, s, v = np.linalg.svd(matrix)
    parts = u.T @ problem.measurements
    left = np.sum(parts**2) - np.cumsum(parts**2)
    few = 1 + int(np.argmax(left <= parts.size * problem.noise**2))
    found = (v[:k].T @ (parts[:k] / s[:k]) for k in (few, len(s)))
    size = np.linalg.norm(problem.truth)
    few_error, error = (float(np.linalg.norm(f - problem.truth) / size) for f in found)
    return few_error, error


def _pressure(log_coefficient):
    """`-(a u')' = 10`, `u = 0` at both ends, at every third node."""
    h = NODES[1] - NODES[0]
    a = jnp.exp(log_coefficient)
    between = (a[1:] + a[:-1]) / (2 * h**2)
    nothing, off = jnp.zeros(1, a.dtype), -between[1:-1]
    lower, upper = jnp.concatenate([nothing, off]), jnp.concatenate([off, nothing])
    right = jnp.full((len(NODES) - 2, 1), 10.0, a.dtype)
    u = lax.linalg.tridiagonal_solve(lower, between[1:] + between[:-1], upper, right)
    return u[::3, 0]


def _diffusion(noise: float, seed: int) -> list[dict]:
    truth = 0.5 * np.sin(2 * np.pi * NODES)
    problem = _measured("diffusion coefficient", _pressure, _pressure, truth, noise, seed)
    rows = []
    for label, method in {
        "GaussNewton": GaussNewton(2),
        "no penalty": GaussNewton(0, parameter=0.0, iterations=10),
    }.items():
        rows += run(problem, method, label=label, seed=seed, reference=problem.reference)[1]
    return rows
