r"""Steps in time for systems with a mass matrix: constraints, values that are given.

    M Z_i + h a_ii R(t_i, Z_i) = M (z_n + h sum_{j<i} a_ij K_j),
    K_i = (Z_i - z_n - h sum_{j<i} a_ij K_j) / (h a_ii),   z_{n+1} = Z_5,

an L-stable, stiffly accurate method of order 4 with an estimate of order 3, whose stages
share one factorisation.
"""

import dataclasses
from typing import Any

import numpy as np

from continua.core.results import Result, ResultCode

# Hairer and Wanner (1996), table IV.6.5.
GAMMA = 0.25
A = np.array(
    [
        [1 / 4, 0, 0, 0, 0],
        [1 / 2, 1 / 4, 0, 0, 0],
        [17 / 50, -1 / 25, 1 / 4, 0, 0],
        [371 / 1360, -137 / 2720, 15 / 544, 1 / 4, 0],
        [25 / 24, -49 / 48, 125 / 16, -85 / 12, 1 / 4],
    ]
)
C = A.sum(axis=1)
B_LOWER = np.array([59 / 48, -17 / 96, 225 / 32, -85 / 12, 0])
_MOST_STEPS = 20_000
_MOST_ITERATIONS = 8
_KEPT = 4  # step sizes whose factors are kept
_FIRST = 1e-4  # first step, as a share of the time between two frames
_TINY = 1e-4  # step to values that fit together, as a share of the time between two frames


@dataclasses.dataclass(frozen=True)
class ElementFrames:
    """The end of a solve on finite elements or on a point cloud.

    **Arguments:**

    - `frames`, `slopes`: nodal values and their time derivatives `(T, size)`; one frame
      and no slopes where steady.
    - `times`: of the frames, `None` where steady.
    - `result`: how it ended.
    - `evaluations`: of the residual.
    - `steps`: in time, or of Newton's method.
    """

    frames: np.ndarray
    slopes: Any
    times: Any
    result: Result
    evaluations: int
    steps: int


class _Stepper:
    """The state of a solve in time."""

    def __init__(self, assembly: Any, rtol: float, atol: float):
        self.assembly, self.rtol, self.atol = assembly, rtol, atol
        self.mass = assembly.mass()
        self.free = assembly.free
        # Rows without mass are constraints: their error says nothing about time.
        self.moving = np.flatnonzero(np.abs(self.mass).sum(axis=1) > 0)
        self.steady = assembly.equation.is_linear and not assembly.moves
        self.jacobian: Any = None
        self.factors: Any = None
        self.factored = 0.0
        self.kept: dict[str, Any] = {}  # factors of steps that come back

    def factorise(self, t: float, z: np.ndarray, h: float) -> None:
        """`M + h gamma J` on the free values."""
        from scipy.sparse.linalg import splu

        size = f"{h:.10e}"
        if self.steady and size in self.kept:
            self.factors, self.factored = self.kept[size], h
            return
        if self.jacobian is None or not self.steady:
            self.jacobian = self.assembly.jacobian(t, z)
        whole = (self.mass + h * GAMMA * self.jacobian)[self.free][:, self.free]
        self.factors, self.factored = splu(whole.tocsc()), h
        if self.steady:
            if len(self.kept) == _KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[size] = self.factors

    def scale(self, z: np.ndarray) -> np.ndarray:
        """`atol + rtol |z|`, the size of each unknown by its largest value."""
        found = np.full(len(z), self.atol)
        for place in self.assembly.slices:
            found[place] += self.rtol * np.max(np.abs(z[place]), initial=0.0)
        return found

    def stage(self, t: float, known: np.ndarray, guess: np.ndarray, h: float) -> Any:
        """`Z` with `M (Z - known) + h gamma R(t, Z) = 0`; `None` where Newton fails."""
        z = guess.copy()
        z[self.assembly.fixed] = self.assembly.values(t)
        before = np.inf
        for _ in range(_MOST_ITERATIONS):
            r = self.mass @ (z - known) + h * GAMMA * self.assembly.residual(t, z)
            step = self.factors.solve(r[self.free])
            if not np.all(np.isfinite(step)):
                return None
            z[self.free] -= step
            size = np.max(np.abs(step) / self.scale(z)[self.free], initial=0.0)
            if size <= 1e-2 or self.steady:
                return z
            if size > 0.9 * before:
                return None
            before = size
        return None

    def step(self, t: float, z: np.ndarray, h: float) -> Any:
        """The new values, the slopes there and the error over the tolerance, or `None`."""
        if self.factored != h or not self.steady:
            self.factorise(t, z, h)
        slopes: list[np.ndarray] = []
        stage = z
        for i in range(len(C)):
            known = z + h * sum((a * k for a, k in zip(A[i], slopes, strict=False)), 0.0 * z)
            stage = self.stage(t + C[i] * h, known, stage, h)
            if stage is None:
                return None
            slopes.append((stage - known) / (h * GAMMA))
        gap = h * sum(d * k for d, k in zip(A[-1] - B_LOWER, slopes, strict=True))
        filtered = np.zeros(len(z))
        filtered[self.free] = self.factors.solve((self.mass @ gap)[self.free])
        ratio = (
            filtered[self.moving] / self.scale(np.maximum(np.abs(z), np.abs(stage)))[self.moving]
        )
        return stage, slopes[-1], float(np.sqrt(np.mean(ratio**2)))


def step_elements(assembly: Any, times: np.ndarray, rtol: float, atol: float) -> ElementFrames:
    """Solve in time, a step meeting each frame.

    **Arguments:**

    - `assembly`: an `Assembly` of a problem in time, or a `CloudSystem`.
    - `times`: of the frames.
    - `rtol`, `atol`: tolerances of a step.

    **Reference:** hairer1996solving
    """
    stepper = _Stepper(assembly, rtol, atol)
    t, z = float(times[0]), assembly.start(float(times[0]))
    between = float(times[1] - times[0])
    h, steps, result = _FIRST * between, 0, Result()
    slope = _consistent(stepper, t, z, _TINY * between)
    if slope is None:
        slope, result = np.zeros(len(z)), _failure(t, 0)
    frames, slopes = [z.copy()], [slope]
    for target in times[1:]:
        while result.ok and t < target - 1e-12 * between:
            # Steps are a power of two of the way to the frame, so that factors last.
            count = 2 ** max(0, int(np.ceil(np.log2((target - t) / h))))
            short = (target - t) / count
            found = stepper.step(t, z, short)
            steps += 1
            if found is None or not found[2] <= 1.0:
                h = short / 4 if found is None else short * max(0.2, 0.9 * found[2] ** -0.25)
                if h < 1e-10 * between or steps > _MOST_STEPS:
                    result = _failure(t, steps)
                continue
            t, (z, slope, error) = t + short, found
            h = max(h, short) * min(4.0, max(0.5, 0.9 * max(error, 1e-8) ** -0.25))
            if steps > _MOST_STEPS:
                result = _failure(t, steps)
        if not result.ok:
            break
        t = float(target)
        frames.append(z.copy())
        slopes.append(slope)
    missing = len(times) - len(frames)
    nothing = np.full((missing, len(z)), np.nan)
    return ElementFrames(
        np.concatenate([np.stack(frames), nothing]),
        np.concatenate([np.stack(slopes), nothing]),
        times,
        result,
        assembly.evaluations,
        steps,
    )


def _consistent(stepper: _Stepper, t: float, z: np.ndarray, tiny: float) -> Any:
    """Slopes at the start; unknowns without initial values are set by a tiny step."""
    stepper.factorise(t, z, tiny / GAMMA)
    after = stepper.stage(t + tiny, z, z, tiny / GAMMA)
    if after is None:
        return None
    constraints = stepper.assembly.constraints
    for name, place in zip(
        stepper.assembly.equation.unknowns, stepper.assembly.slices, strict=True
    ):
        if name in constraints:
            z[place] = after[place]
    return (after - z) / tiny


def _failure(t: float, steps: int) -> Result:
    message = f"the steps became too small after {steps} of them, at t = {t:.6g}"
    advice = "looser tolerances, a finer mesh, or initial values that fit the boundary"
    return Result(ResultCode.diverged, message, advice)
