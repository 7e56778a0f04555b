"""The functions of a family: random initial states, and their solutions."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.problems.equation import EquationProblem
from continua.problems.family import FamilyData, FamilyProblem, input_names
from continua.problems.formulas import evaluate
from continua.problems.random_fields import functions
from continua.problems.refine import refine
from continua.problems.solve_periodic import run_many, space_of

_PROBED = 6  # functions by which the resolution is chosen
_BATCH = 50
_COARSEST = {1: 128, 2: 64}
_FINEST = {1: 2048, 2: 256}
_FEWEST, _MOST = 32, 2**14  # steps from the first to the last time


def generate(family: FamilyProblem) -> FamilyData:
    """Draw and solve; the resolution is chosen by refinement, not by the grid of the data.

    A few functions choose it; where a steeper one diverges there, it is doubled for all.

    **Arguments:**

    - `family`: with a base equation.

    **Raises:** `InputError` where solves diverge.
    """
    train = _spectra(family, 0, family.num_train)
    test = _spectra(family, 1, family.num_test)
    with precision("float64"):
        probes = _spectra(family, 0, _PROBED)
        size, steps = _resolution(family, probes)
        while True:
            try:
                outputs = [_outputs(family, s, size, steps) for s in (train, test)]
                break
            except InputError:
                if not _affordable(family, 2 * size, 2 * steps):
                    raise
                size, steps = 2 * size, 2 * steps
    inputs = [_inputs(family, s) for s in (train, test)]
    return FamilyData(train=(inputs[0], outputs[0]), test=(inputs[1], outputs[1]))


def _affordable(family: FamilyProblem, size: int, steps: int) -> bool:
    return size <= _FINEST[len(family.space)] and steps * _saves(family.times)[0] <= _MOST


def initial_state(problem: EquationProblem, grid: dict[str, np.ndarray]) -> np.ndarray:
    """The initial state of a problem on a grid, unknowns first: `(s, *N)`.

    **Arguments:**

    - `problem`: in time.
    - `grid`: nodes of each space axis.
    """
    equation = problem.equation
    axes = [grid[c] for c in equation.space]
    mesh = dict(zip(equation.space, np.meshgrid(*axes, indexing="ij"), strict=True))
    mesh[str(equation.time)] = np.asarray(problem.domain[str(equation.time)][0])
    values = problem.all_parameters()
    return np.stack(
        [evaluate(problem.initial[n], equation, mesh, values) for n in input_names(problem)]
    )


def _spectra(family: FamilyProblem, part: int, count: int) -> np.ndarray:
    """Spectra of the states (in the order of the equation): `(n, s, *W)`."""
    seeds = ([family.seed, part, i] for i in range(count))
    return np.stack(
        [family.distribution.draw(family.base, np.random.default_rng(s)) for s in seeds]
    )


def _states(family: FamilyProblem, spectra: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return family.distribution.transform(family.base, functions(spectra, shape))


def _inputs(family: FamilyProblem, spectra: np.ndarray) -> np.ndarray:
    states = _base(family).states()
    order = [states.index(name) for name in family.inputs]
    return _states(family, spectra, family.shape)[:, order]


def _base(family: FamilyProblem) -> EquationProblem:
    assert family.base is not None
    return family.base


def _outputs(family: FamilyProblem, spectra: np.ndarray, size: int, steps: int) -> np.ndarray:
    """Values of the unknowns at the later times on the family's grid: `(n, k, *N)`."""
    rows = []
    for begin in range(0, len(spectra), _BATCH):
        part = spectra[begin : begin + _BATCH]
        full = np.resize(part, (_BATCH, *part.shape[1:])) if len(spectra) > _BATCH else part
        found = _solve(family, full, size, steps)[: len(part)]
        rows.append(_on_grid(found, family.shape))
    values = np.concatenate(rows)
    if not np.all(np.isfinite(values)):
        number = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise InputError(
            f"the solution of function {number} diverges",
            where=f"family '{family.name}'",
            fix="shorten the time, or draw smaller initial states",
        )
    return values


def _solve(family: FamilyProblem, spectra: np.ndarray, size: int, steps: int) -> np.ndarray:
    """Coefficients of the unknowns at the later times: `(n, T, c, *Nf)`."""
    base = _base(family)
    space = space_of(base, size)
    start = space.to_spectral(jnp.asarray(_states(family, spectra, space.shape)))
    saves, indices = _saves(family.times)
    t0 = np.full(len(spectra), family.times[0])
    dt = np.full(len(spectra), (family.times[-1] - family.times[0]) / (saves * steps))
    found = run_many(base, space, start, t0, dt, steps, saves)
    states = base.states()
    kept = np.array([states.index(u) for u in base.equation.unknowns])
    return np.asarray(found)[:, indices][:, :, kept]


def _saves(times: tuple[float, ...]) -> tuple[int, np.ndarray]:
    """Evenly spaced times that hold all output times: how many, and which they are."""
    span = times[-1] - times[0]
    shares = (np.asarray(times[1:]) - times[0]) / span
    for count in range(len(shares), 1001):
        places = shares * count
        if np.all(np.abs(places - np.rint(places)) < 1e-6):
            return count, np.rint(places).astype(int)
    raise InputError("the times have no common step", where="family.times", fix="space them evenly")


def _on_grid(coefficients: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values on the family's grid, from coefficients of a finer or coarser one."""
    n, times, unknowns = coefficients.shape[:3]
    flat = coefficients.reshape(n, times * unknowns, *coefficients.shape[3:])
    dimensions = len(shape)
    size = flat.shape[2] if dimensions > 1 else 2 * (flat.shape[2] - 1)
    axes = tuple(range(2, 2 + dimensions))
    values = np.fft.irfftn(flat, s=(size,) * dimensions, axes=axes)
    # One wavenumber less than the grid has: an odd number, without a sign to choose.
    spectra = np.fft.fftn(values, axes=axes) / size**dimensions
    for axis in axes:
        spectra = np.delete(spectra, size // 2, axis=axis)
    return functions(spectra, shape)


def _resolution(family: FamilyProblem, probes: Any) -> tuple[int, int]:
    """Nodes, and steps between saves, that a doubling of either hardly improves."""
    dimensions = len(family.space)
    saves, _ = _saves(family.times)
    coarse = (_COARSEST[dimensions],) * dimensions
    found = refine(
        lambda size, steps: _on_grid(_solve(family, probes, size, steps), coarse),
        lambda old, new: float(np.linalg.norm(new - old) / np.linalg.norm(new)),
        lambda size, steps: _affordable(family, size, steps),
        size=_COARSEST[dimensions],
        steps=max(1, _FEWEST // saves),
        tolerance=family.tolerance,
    )
    return found.size, found.steps
