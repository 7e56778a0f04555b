r"""Fourier pseudo-spectral method with exponential time differencing.

    dû/dt = L(k) û + N(t, û),

on a periodic box: derivatives by wavenumber, products at the nodes and dealiased, the
linear part exact in time (ETDRK4), so that its stiffness costs no steps. Between walls that
mirror the solution, sines and cosines take the place of Fourier series.
"""

import dataclasses
import functools
import math
import time
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import stopwatch
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.integrate import etdrk4
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.grid import GridEvaluator, frames_needed
from continua.problems.stepped import Stepped
from continua.spaces import FourierSpace

_START = {1: 32, 2: 16, 3: 16}
_MOST_NODES = {1: 4096, 2: 512, 3: 128}
_RUNGS = {1: 7, 2: 5, 3: 3}
_MOST_STEPS = 2**18
_MOST_SECONDS = 60.0  # after which no dearer resolution is tried
_FRAMES = 8  # frames in an interval of the evaluation grid, at the most
_MOST_NUMBERS = 20_000_000  # in all frames
_USABLE = 1e-3  # change between two resolutions above which a solution is not used


@dataclasses.dataclass(frozen=True)
class Spectral(AbstractDirectMethod):
    """Fourier pseudo-spectral in space, ETDRK4 in time, for periodic problems.

    It takes walls too where all their values (and even derivatives) are zero, or all slopes,
    and where the equation keeps its solution odd or even about them.

    What is not given is chosen: nodes and steps are doubled until that changes the
    solution on the evaluation grid by less than `tolerance`.

    **Arguments:**

    - `num_points`: nodes of each axis; `None` chooses.
    - `dt`: the step, shortened a little where it does not meet the evaluation times;
      `None` chooses.
    - `tolerance`: relative L2 change, 1e-9 (rounding sets the limit in float32).
    - `frames`: kept states in each interval of the evaluation times, for values in
      between; `None` chooses (1, 2, 4 or 8).

    **Reference:** kassam2005fourth
    """

    num_points: int | None = None
    dt: float | None = None
    tolerance: float = 1e-9
    frames: int | None = None

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "kassam2005fourth"

    def supports(self, problem) -> Support:
        known = setup.forward_problem(problem, self.name, "nonlocal", "means")
        if not known.ok:
            return known
        equation = problem.equation
        if equation.time is None:
            return Support(False, "Spectral steps in time, and the equation is steady")
        if not 1 <= len(equation.space) <= 3:
            return Support(False, "Spectral needs one to three space coordinates")
        stepped = Stepped(problem)
        if stepped.missing is not None:
            return Support(False, f"Spectral needs a time derivative of '{stepped.missing}'")
        if stepped.has_walls and stepped.flow is not None:
            return Support(False, "Spectral needs periodic conditions for a flow")
        if stepped.unmirrored:
            reason = "Spectral needs periodic conditions on every axis, or mirroring walls: "
            return Support(False, reason + stepped.unmirrored)
        return YES

    def ladder(self, problem) -> tuple["Spectral", ...]:
        """Nodes from 32 on (16 in two and three dimensions) and steps of an evaluation
        interval, both doubled from rung to rung; no frames but those of the evaluation
        times."""
        axes = len(problem.equation.space)
        times = problem.evaluation_grid()[problem.equation.time]
        return tuple(
            dataclasses.replace(
                self, num_points=_START[axes] * 2**k, dt=float(times[1] - times[0]) / 2**k, frames=1
            )
            for k in range(_RUNGS[axes])
        )

    def prepare(self, problem, *, key) -> Prepared:
        with stopwatch() as clock:
            trial = _Trial(problem)
            nodes, steps, change = self._resolution(trial)
            factor = self.frames or trial.frames_factor(nodes, steps, self.tolerance)
            steps = factor * math.ceil(steps / factor)
        space = trial.space(nodes)
        program = _program(problem, space, factor)
        inputs = {**trial.inputs(space), "steps": jnp.asarray(steps // factor, jnp.int32)}

        def finish(outputs) -> Solution:
            return _solution(self, problem, trial, space, outputs, change)

        # A resolution that was given whole was not tuned.
        chosen = self.num_points is None or self.dt is None
        return Prepared(program, inputs, finish, tuning_seconds=clock.seconds if chosen else 0.0)

    def _resolution(self, trial: "_Trial") -> tuple[int, int, float]:
        """Nodes, steps in an interval, and the last change on the evaluation grid."""
        steps = 1 if self.dt is None else trial.steps_of(self.dt)
        nodes = self.num_points or _START[len(trial.names)]
        if self.num_points and self.dt:
            return nodes, steps, 0.0
        tolerance = max(self.tolerance, 200 * float(jnp.finfo(jnp.zeros(()).dtype).eps))
        slower = math.inf  # the change in time at half the steps, on the same nodes
        coarser = math.inf  # the change in space at half the nodes
        failures = 0  # resolutions at which it diverged
        while True:
            here = trial.solve(nodes, steps)
            in_time = in_space = 0.0
            if self.dt is None:
                in_time = setup.relative_change(here, trial.solve(nodes, 2 * steps))
            timely = in_time <= tolerance or _stuck(in_time, slower)
            spatial = self.num_points is not None
            if not spatial and (timely or math.isinf(in_time)):
                in_space = setup.relative_change(here, trial.solve(2 * nodes, steps))
                spatial = in_space <= tolerance or _stuck(in_space, coarser)
            change = max(in_time, in_space)
            failures += math.isinf(change)
            if (timely and spatial) or failures > 4 or not trial.affords(nodes, steps):
                return nodes, steps, change
            if not timely:
                slower = in_time
                steps *= _growth(in_time / tolerance)
            if not spatial and (timely or math.isinf(in_time)):
                coarser, slower = in_space or math.inf, math.inf
                # Far from resolved, one doubling will not do.
                nodes *= 4 if 0.05 < in_space < math.inf else 2


def _stuck(change: float, before: float) -> bool:
    """Whether refinement no longer helps: rounding, or chaos, is what is left."""
    return before < _USABLE and change > 0.5 * before


def _growth(ratio: float) -> int:
    """How many times more steps a fourth-order method needs, as a power of two."""
    if not math.isfinite(ratio):
        return 2
    return 2 ** max(1, min(3, math.floor(math.log2(ratio) / 4)))


class _Trial:
    """Solves of one problem at several resolutions."""

    def __init__(self, problem):
        self.problem = problem
        self.names = problem.equation.space
        grid = problem.evaluation_grid()
        self.times = grid[problem.equation.time]
        self.axes = {c: grid[c] for c in self.names}
        self.begun = time.perf_counter()
        self.last = 0.0
        self.solved: dict[tuple[int, int], np.ndarray] = {}

    def space(self, nodes: int) -> Any:
        return Stepped(self.problem).space(nodes)

    def on_grid(self, nodes: int, frames: np.ndarray) -> np.ndarray:
        space = Stepped(self.problem).unknowns_space(self.space(nodes))
        if isinstance(space, FourierSpace):
            return setup.on_grid(space, frames, self.axes)
        each = enumerate(space.parts)
        found = [setup.on_grid(part, frames[:, i : i + 1], self.axes) for i, part in each]
        return np.concatenate(found, axis=1)

    def steps_of(self, dt: float) -> int:
        steps = math.ceil((self.times[1] - self.times[0]) / dt - 1e-6)
        return max(1, steps if steps < _FRAMES else _FRAMES * math.ceil(steps / _FRAMES))

    def affords(self, nodes: int, steps: int) -> bool:
        """Whether the next solve, at twice the nodes, is within the limits."""
        spent = time.perf_counter() - self.begun
        dearer = max(4, 2 ** len(self.names))
        return (
            2 * nodes <= _MOST_NODES[len(self.names)]
            and 2 * steps * len(self.times) <= _MOST_STEPS
            and spent + dearer * self.last <= _MOST_SECONDS
        )

    def inputs(self, space) -> dict[str, Any]:
        dtype = jnp.zeros(()).dtype
        stepped = Stepped(self.problem)
        start = jnp.asarray(stepped.start(space.axes()), dtype)
        if stepped.flow is not None:
            stepped.flow.check_start(space, start)
        return {"start": start, "parameters": setup.parameters_of(self.problem)}

    def run(self, nodes: int, steps: int, factor: int):
        space = self.space(nodes)
        precision = str(jnp.zeros(()).dtype)
        program = _compiled(self.problem, space, factor, precision)
        inputs = {**self.inputs(space), "steps": jnp.asarray(steps // factor, jnp.int32)}
        begun = time.perf_counter()
        found = jax.block_until_ready(program(inputs))
        self.last = time.perf_counter() - begun
        return found

    def solve(self, nodes: int, steps: int) -> np.ndarray:
        """Unknowns on the evaluation grid `(T, c, *n)`."""
        key = (nodes, steps)
        if key not in self.solved:
            frames = np.asarray(self.run(nodes, steps, 1).ys, float)
            self.solved[key] = self.on_grid(nodes, frames)
        return self.solved[key]

    def frames_factor(self, nodes: int, steps: int, tolerance: float) -> int:
        """How many frames an interval needs for values in between."""
        room = _MOST_NUMBERS // (len(self.times) * nodes ** len(self.names))
        factor = min(steps & -steps, _FRAMES, 2 ** max(0, int(math.log2(max(room, 1)))))
        if factor == 1:
            return 1
        found = self.run(nodes, steps, factor)
        ts, ys, slopes = (np.asarray(a, float) for a in (found.ts, found.ys, found.slopes))
        return frames_needed(ts, ys, slopes, factor, 10 * tolerance)


def _program(problem, space: Any, factor: int):
    """States and slopes at the nodes, `factor` frames an evaluation interval."""
    stepped = Stepped(problem)
    symbol, nonlinear, _ = stepped.split(space)
    times = problem.evaluation_grid()[setup.time_of(problem)]
    saves = (len(times) - 1) * factor
    spacing = float(times[-1] - times[0]) / saves

    def program(inputs):
        parameters = inputs["parameters"]
        real = inputs["start"].dtype
        dt = jnp.asarray(spacing, real) / inputs["steps"].astype(real)
        found = etdrk4(
            symbol(parameters),
            lambda t, y: nonlinear(t, y, parameters),
            space.to_spectral(inputs["start"]),
            float(times[0]),
            dt,
            inputs["steps"],
            saves,
        )
        fields = stepped.unknowns_space(space)
        given = found.ts.astype(real), parameters
        frames = fields.to_physical(stepped.unknowns(space, found.ys, *given))
        slopes = stepped.unknown_slopes(space, found.ys, found.slopes, *given)
        slopes = fields.to_physical(slopes)
        return dataclasses.replace(found, ys=frames, slopes=slopes)

    return program


@functools.lru_cache(maxsize=64)
def _compiled(problem, space: Any, factor: int, precision: str):
    """The program, compiled once for each resolution and precision."""
    return jax.jit(_program(problem, space, factor))


def _solution(method, problem, trial: _Trial, space, found, change: float) -> Solution:
    evaluator = GridEvaluator(
        np.asarray(found.ys, float),
        np.linspace(trial.times[0], trial.times[-1], len(found.ts)),
        np.asarray(found.slopes, float),
        Stepped(problem).unknowns_space(space),
        problem.equation.coordinates.index(problem.equation.time),
    )
    states = problem.states()
    state, *wave = np.unravel_index(int(found.component), (len(states), *space.spectral_shape))
    waves = ", ".join(str(space.wavenumbers(i)[k]) for i, k in enumerate(wave))
    result = setup.ending(
        int(found.code),
        int(found.steps),
        setup.time_of(problem),
        float(found.t_end),
        f"{states[state]} at wavenumber {waves}",
        "a shorter time if the solution itself blows up, a smaller dt, or FiniteDifferences "
        "where the highest derivatives have variable coefficients",
    )
    if result.ok and not change <= _USABLE:
        result = Result(
            ResultCode.not_converged,
            f"doubling nodes or steps still changes the solution by {change:.1e}",
            "give num_points and dt, or a shorter time",
        )
    elif result.ok and change > 10 * method.tolerance:
        result = Result(message=f"doubling nodes or steps changes the solution by {change:.1e}")
    stats = {
        "evaluations": found.evaluations,
        "steps": found.steps,
        "rejected": found.rejected,
        "num_points": space.shape[0],
        "dt": found.dt_last,
        "frames": len(found.ts),
        "estimated_error": change,
    }
    return setup.solution_of(method, problem, evaluator, result, stats)
