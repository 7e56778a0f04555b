"""A thousand solutions of Burgers' equation on a ring, beside a loop over scipy.

The claim: 1,000 random states at 256 points to `t = 1` (`nu = 0.01`), within 20 seconds on
two cores with drawing, compiling and writing, and 20 times as many a second as a loop over
the solvers of scipy at an equal error on the same Fourier series. Both are measured against
a solve with twice the nodes and four times the steps. The floor is what the transforms of
the steps alone take: 12 real ones a step, two to the nodes and one back for each of four
stages.
"""

import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.integrate

from continua.core.cost import warm_seconds
from continua.core.precision import precision
from continua.problems import burgers_family
from continua.problems.dataset import generate
from continua.problems.generate import draw, input_functions, output_functions
from continua.spaces import FourierSpace

NU = 0.01
SOLVERS = ("RK45", "DOP853", "LSODA", "BDF")
TOLERANCES = tuple(10.0**-k for k in range(3, 9))


def main(quick: bool = False) -> list[dict]:
    """Generate in both precisions, solve some by scipy, and return flat records.

    **Arguments:**

    - `quick`: 64 functions in place of 1,000, and two solved by scipy in place of six.
    """
    count, few = (64, 2) if quick else (1000, 6)
    family = burgers_family(nu=NU, num_points=256)
    with precision("float64"):
        probes = draw(family, 0, range(few))
        starts = input_functions(family, probes)[:, 0]
        exact = output_functions(family, probes, 512, 4096, few)[:, 0]
    rows = []
    for digits in ("float64", "float32"):
        made, seconds = _ours(family, count, digits, exact)
        rate = {"samples_per_second": count / seconds["running"]}
        theirs = _fastest(starts, exact, seconds["error"])
        floor = _floor(made.manifest, count)
        values = {
            **rate,
            "seconds_whole": seconds["whole"],
            "seconds_of_the_transforms": floor,
            "relative_l2": seconds["error"],
            "estimated_error": made.manifest["estimated_error"],
        }
        if theirs is not None:
            values["ratio_to_scipy"] = rate["samples_per_second"] / theirs["samples_per_second"]
            name = theirs.pop("method")
            rows += _rows(family, f"{name}, as exact as {digits}", "float64", 0.0, theirs)
        rows += _rows(family, "generate", digits, seconds["compile"], values)
    return rows


def _ours(family, count: int, digits: str, exact: np.ndarray):
    """A data set in a new folder: seconds whole, compiling and without that."""
    jax.clear_caches()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        made = generate(family, count, out=pathlib.Path(folder), precision=digits)
        whole = time.perf_counter() - begin
        train, test = (np.asarray(part[1]) for part in _parts(made))
    found = np.concatenate([train, test])[: len(exact), 0]
    compiling = made.manifest["seconds_compile"]
    return made, {"whole": whole, "compile": compiling, "running": whole - compiling,
                  "error": _error(found, exact)}  # fmt: skip


def _parts(made):
    data = made.problem().data()
    return data.train, data.test


def _error(found: np.ndarray, exact: np.ndarray) -> float:
    gaps = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
    return float(gaps.max())


def _fastest(starts: np.ndarray, exact: np.ndarray, error: float) -> dict | None:
    """The scipy solver that takes the least time to reach an error, with its tolerance."""
    best = None
    for solver in SOLVERS:
        for tolerance in TOLERANCES:
            if solver in ("LSODA", "BDF") and tolerance < 1e-7:
                continue  # longer than the explicit ones by far
            begin = time.perf_counter()
            found = np.stack([_scipy(u, solver, tolerance) for u in starts])
            seconds = (time.perf_counter() - begin) / len(starts)
            reached = _error(found, exact)
            if best is not None and seconds > 1 / best["samples_per_second"]:
                break  # tighter ones take longer still
            if reached <= error:
                best = {
                    "method": f"scipy {solver}",
                    "samples_per_second": 1 / seconds,
                    "relative_l2": reached,
                    "tolerance": tolerance,
                }
                break
    return best


def _scipy(start: np.ndarray, solver: str, tolerance: float) -> np.ndarray:
    """`u_t = nu u_xx - (u^2)_x / 2` at the nodes, products free of aliases."""
    n = len(start)
    k = 2j * np.pi * np.arange(n // 2 + 1)
    kept = np.abs(np.arange(n // 2 + 1)) < n / 3
    second, first = NU * k**2, np.where(kept, -0.5 * k, 0)

    def field(t, u):
        u_hat, square = (np.asarray(scipy.fft.rfft(v)) for v in (u, u * u))
        return scipy.fft.irfft(second * u_hat + first * square, n)

    with np.errstate(all="ignore"):  # trial steps that are rejected may overflow
        found = scipy.integrate.solve_ivp(
            field, (0.0, 1.0), start, method=solver, rtol=tolerance, atol=tolerance, t_eval=[1.0]
        )
    return found.y[:, -1]


def _floor(manifest: Mapping[str, Any], count: int) -> float:
    """Seconds of the transforms of all steps of all functions, and nothing else."""
    (nodes,), steps, batch = (
        manifest["resolution"]["nodes"],
        manifest["resolution"]["steps"],
        manifest["batch"],
    )
    space = FourierSpace(("x",), (0.0,), (1.0,), (nodes,))

    @jax.jit
    def transforms(u):
        def step(_, u):
            u_hat = space.coefficients(u)
            return 0.5 * (space.to_physical(u_hat) + space.to_physical(2.0 * u_hat) - u)

        return jax.lax.fori_loop(0, 4 * steps, step, u)

    with precision(manifest["precision"]):
        u = jnp.asarray(np.random.default_rng(0).normal(size=(batch, nodes)))
        u = u.astype(manifest["precision"])
        return warm_seconds(lambda: transforms(u)) * count / batch


def _rows(family, method: str, digits: str, compiling: float, values: dict) -> list[dict]:
    case = {
        "problem": family.name,
        "method": method,
        "kind": "classical",
        "seed": 0,
        "precision": digits,
        "seconds_compile": compiling,
    }
    return [{**case, "metric": name, "value": value} for name, value in values.items()]
