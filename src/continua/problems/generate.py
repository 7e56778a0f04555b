"""The functions of a family: random initial states, and their solutions.

Function `i` of part `j` comes from the generator with the seed `[seed, j, i]`: first the
noise of its state, then its parameters. So it does not depend on how many there are, nor on
how many are solved at once.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.problems.equation import EquationProblem
from continua.problems.family import (
    FamilyData,
    FamilyProblem,
    input_names,
    stepped_unknowns,
)
from continua.problems.formulas import evaluate
from continua.problems.random_fields import functions
from continua.problems.refine import refine
from continua.problems.solve_periodic import run_many, space_of

_PROBED = 6  # functions by which the resolution is chosen
_MOST_AT_ONCE, _MEMORY = 64, 2**26  # functions, and bytes of their coefficients
_COARSEST = {1: 128, 2: 64}
_FINEST = {1: 2048, 2: 256}
_FEWEST, _MOST = 32, 2**14  # steps from the first to the last time


@dataclasses.dataclass(frozen=True)
class Draws:
    """Functions of a family before they are solved.

    **Arguments:**

    - `numbers`: of the functions, `(n,)`.
    - `spectra`: of the states in the order of the equation, `(n, s, *W)`.
    - `parameters`: that vary, `(n, p)`.
    """

    numbers: np.ndarray
    spectra: np.ndarray
    parameters: np.ndarray

    def rows(self, which: np.ndarray) -> "Draws":
        """Some of them.

        **Arguments:**

        - `which`: row numbers.
        """
        return Draws(self.numbers[which], self.spectra[which], self.parameters[which])


def draw(family: FamilyProblem, part: int, numbers: Sequence[int] | np.ndarray) -> Draws:
    """Draw some functions by their numbers.

    **Arguments:**

    - `family`: with a base equation.
    - `part`: 0 for training, 1 for testing.
    - `numbers`: which.
    """
    which = np.asarray(numbers, int)
    spectra, parameters = [], []
    ends = np.array([*family.parameter_ranges.values()], float).reshape(-1, 2)
    for number in which:
        rng = np.random.default_rng([family.seed, part, int(number)])
        spectra.append(family.distribution.draw(family.base, rng))
        parameters.append(ends[:, 0] + np.ptp(ends, axis=1) * rng.random(len(ends)))
    return Draws(which, np.stack(spectra), np.stack(parameters))


def generate(family: FamilyProblem) -> FamilyData:
    """Draw and solve; the resolution is chosen by refinement, not by the grid of the data.

    **Arguments:**

    - `family`: with a base equation.

    **Raises:** `InputError` where solves diverge.
    """
    parts = [draw(family, i, range(n)) for i, n in enumerate((family.num_train, family.num_test))]
    with precision("float64"):
        size, steps = resolution(family)
        batch = rows_at_once(family, size)
        train, test = (
            (input_functions(family, p), _in_blocks(family, p, size, steps, batch)) for p in parts
        )
    return FamilyData(train=train, test=test)


def _in_blocks(family: FamilyProblem, draws: Draws, size: int, steps: int, batch: int):
    count = len(draws.numbers)
    blocks = [np.arange(b, min(b + batch, count)) for b in range(0, count, batch)]
    rows = [output_functions(family, draws.rows(b), size, steps, batch) for b in blocks]
    return np.concatenate(rows)


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


def input_functions(family: FamilyProblem, draws: Draws) -> np.ndarray:
    """The states on the family's grid, and the parameters that vary: `(n, c, *N)`.

    **Arguments:**

    - `family`: with a base equation.
    - `draws`: of it.
    """
    names = _base(family).states()
    states = _states(family, draws.spectra, family.shape)
    order = [names.index(name) for name in family.inputs if name not in family.parameter_ranges]
    shape = (*draws.parameters.shape, *(1,) * len(family.shape))
    constants = np.broadcast_to(
        draws.parameters.reshape(shape), (*draws.parameters.shape, *family.shape)
    )
    return np.concatenate([states[:, order], constants], axis=1)


def output_functions(
    family: FamilyProblem, draws: Draws, size: int, steps: int, batch: int
) -> np.ndarray:
    """Values of the unknowns at the later times on the family's grid: `(n, k, *N)`.

    A function that diverges is solved again, it alone, with twice the nodes and steps.

    **Arguments:**

    - `family`: with a base equation.
    - `draws`: of it, `batch` at the most.
    - `size`, `steps`: nodes an axis, and steps between saves.
    - `batch`: rows that the program is compiled for.

    **Raises:** `InputError` where a function diverges however fine the resolution.
    """
    values = _solved(family, draws, size, steps, batch)
    while len(bad := np.flatnonzero(~_finite_rows(values))):
        size, steps = 2 * size, 2 * steps
        if not _affordable(family, size, steps):
            raise InputError(
                f"the solution of function {draws.numbers[bad[0]]} diverges",
                where=f"family '{family.name}'",
                fix="shorten the time, or draw smaller initial states",
            )
        few = min(batch, 1 << (len(bad) - 1).bit_length())  # so that few programs are compiled
        values[bad] = _solved(family, draws.rows(bad), size, steps, few)
    return values


def _finite_rows(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


def _affordable(family: FamilyProblem, size: int, steps: int) -> bool:
    return size <= _FINEST[len(family.space)] and steps * saves_of(family)[0] <= _MOST


def rows_at_once(family: FamilyProblem, size: int) -> int:
    """Functions that are solved together, so that their coefficients fit in 64 MiB.

    **Arguments:**

    - `family`: with a base equation.
    - `size`: nodes an axis.
    """
    states = len(_base(family).states())
    each = 8 * states * (saves_of(family)[0] + 1) * size ** len(family.space)
    return int(np.clip(_MEMORY // each, 1, _MOST_AT_ONCE))


def _states(family: FamilyProblem, spectra: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return family.distribution.transform(family.base, functions(spectra, shape))


def _base(family: FamilyProblem) -> EquationProblem:
    assert family.base is not None
    return family.base


def _solved(family: FamilyProblem, draws: Draws, size: int, steps: int, batch: int) -> np.ndarray:
    """As `output_functions`, whatever comes out; rows are repeated to fill the batch."""
    count = len(draws.numbers)
    full = draws.rows(np.resize(np.arange(count), batch))
    return _on_grid(_coefficients(family, full, size, steps)[:count], family.shape)


def _coefficients(family: FamilyProblem, draws: Draws, size: int, steps: int) -> np.ndarray:
    """Coefficients of the unknowns at the later times: `(n, T, c, *Nf)`."""
    base = _base(family)
    space = space_of(base, size)
    # By numpy, not JAX: small programs for every shape would take longer to compile.
    real = jnp.zeros(()).dtype
    states = np.asarray(_states(family, draws.spectra, space.shape), real)
    start = np.fft.rfftn(states, axes=tuple(range(2, states.ndim))) * np.asarray(space.mask())
    saves, indices = saves_of(family)
    dt = (family.times[-1] - family.times[0]) / (saves * steps)
    values = dict(zip(family.parameter_ranges, draws.parameters.T, strict=True))
    found = run_many(base, space, start, family.times[0], dt, steps, saves, values)
    names = base.states()
    kept = np.array([names.index(u) for u in stepped_unknowns(base)])
    return np.asarray(found)[:, indices][:, :, kept]


def saves_of(family: FamilyProblem) -> tuple[int, np.ndarray]:
    """Evenly spaced times that hold all output times: how many, and which they are.

    **Arguments:**

    - `family`: with times.

    **Raises:** `InputError` where the times have no common step.
    """
    times = family.times
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


def resolution(family: FamilyProblem, tolerance: float | None = None) -> tuple[int, int]:
    """Nodes, and steps between saves, that a doubling of either hardly improves.

    The first functions choose it, and one of them at either end of every parameter's range.

    **Arguments:**

    - `family`: with a base equation.
    - `tolerance`: relative L2 change that is hardly any; the family's.
    """
    dimensions = len(family.space)
    saves, _ = saves_of(family)
    coarse = (_COARSEST[dimensions],) * dimensions
    probes = _with_ends(family, draw(family, 0, range(_PROBED)))
    found = refine(
        lambda size, steps: _on_grid(_coefficients(family, probes, size, steps), coarse),
        lambda old, new: float(np.linalg.norm(new - old) / np.linalg.norm(new)),
        lambda size, steps: _affordable(family, size, steps),
        size=_COARSEST[dimensions],
        steps=max(1, _FEWEST // saves),
        tolerance=family.tolerance if tolerance is None else tolerance,
    )
    return found.size, found.steps


def _with_ends(family: FamilyProblem, draws: Draws) -> Draws:
    found = [draws]
    for i, ends in enumerate(family.parameter_ranges.values()):
        for j, end in enumerate(ends):
            one = draws.rows(np.array([(2 * i + j) % len(draws.numbers)]))
            moved = one.parameters.copy()
            moved[:, i] = end
            found.append(dataclasses.replace(one, parameters=moved))
    names = [field.name for field in dataclasses.fields(Draws)]
    return Draws(**{n: np.concatenate([getattr(d, n) for d in found]) for n in names})


def estimated_error(
    family: FamilyProblem, size: int, steps: int, count: int, precision_name: str
) -> float:
    """The largest relative L2 change of some functions when nodes and steps are doubled
    (or halved, where that is not affordable), the finer solve in double precision.

    **Arguments:**

    - `family`: with a base equation.
    - `size`, `steps`: as `output_functions`.
    - `count`: functions of the whole; the probes are spread over them.
    - `precision_name`: in which they are solved.

    **Raises:** `InputError` as `output_functions`.
    """
    numbers = np.unique(np.linspace(0, count - 1, _PROBED).astype(int))
    probes = draw(family, 0, numbers)
    finer = _affordable(family, 2 * size, 2 * steps)
    other = (2 * size, 2 * steps) if finer else (size // 2, max(1, steps // 2))
    with precision(precision_name):
        found = output_functions(family, probes, size, steps, len(numbers))
    with precision("float64"):
        exact = output_functions(family, probes, *other, len(numbers))
    axes = tuple(range(1, found.ndim))
    gaps = np.sqrt(np.sum((np.asarray(found, float) - exact) ** 2, axis=axes))
    sizes = np.sqrt(np.sum(exact**2, axis=axes))
    return float(np.max(gaps / np.where(sizes > 0, sizes, 1.0)))
