"""The method of lines: an equation on a finite-difference grid as a system in time."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua import integrate
from continua.integrate.trajectory import NON_FINITE, SUCCESS, Trajectory
from continua.methods.classical import setup
from continua.methods.classical.sparse import SparseSystem, WallRows
from continua.problems import EquationProblem
from continua.spaces import Boundary, FiniteDifferenceSpace

_POWERS = 40


@dataclasses.dataclass(frozen=True)
class Lines:
    """An equation problem on a space.

    **Arguments:**

    - `problem`: in time.
    - `space`: a `FiniteDifferenceSpace`.
    """

    problem: EquationProblem
    space: FiniteDifferenceSpace

    @property
    def boundary(self) -> Boundary:
        """The conditions of all states."""
        return setup.boundary_of(self.problem, self.space)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return self.problem.equation.system.states

    def start(self) -> np.ndarray:
        """The initial state `(s, *N)`."""
        return setup.initial_state(self.problem, self.space.axes())

    def field(self) -> Callable:
        """`f(t, y, parameters)`: wall nodes are set first, and stay out of the change."""
        boundary, right = self.boundary, self.problem.equation.semidiscrete(self.space)
        free = boundary.free(len(self.states))

        def field(t, y, parameters):
            change = right(t, boundary.impose(t, y, parameters), parameters)
            return jnp.where(free, change, jnp.zeros((), change.dtype))

        return field

    def finished(self) -> Callable:
        """`(t, y, slope, parameters)` to states and slopes with their wall nodes."""
        boundary = self.boundary

        def finish(t, y, slope, parameters):
            def impose(t, y):
                return boundary.impose(t, y, parameters)

            return jax.jvp(impose, (t, y), (jnp.ones_like(t), slope))

        return finish


def explicit_program(lines: Lines, times: np.ndarray, rtol: float, atol: float):
    """A solve with explicit steps, as a function of its inputs.

    **Arguments:**

    - `lines`: the system.
    - `times`: of the frames.
    - `rtol`, `atol`: tolerances.

    **Returns:** the program, to a `Trajectory`, and its inputs.
    """
    dtype = jnp.zeros(()).dtype
    field, finished = lines.field(), lines.finished()
    inputs = {
        "start": jnp.asarray(lines.start(), dtype),
        "parameters": setup.parameters_of(lines.problem),
        "rtol": jnp.asarray(rtol, dtype),
        "atol": jnp.asarray(atol, dtype),
    }
    rows = jnp.asarray(setup.unknown_rows(lines.problem))

    def program(inputs):
        parameters = inputs["parameters"]
        found = integrate.solve(
            field,
            integrate.Tsit5(),
            t0=float(times[0]),
            t1=float(times[-1]),
            y0=inputs["start"],
            args=parameters,
            saveat=times,
            dense=False,
            rtol=inputs["rtol"],
            atol=inputs["atol"],
        )
        whole = jax.vmap(lambda t, y, slope: finished(t, y, slope, parameters))
        ys, slopes = whole(found.ts, found.ys, found.slopes)
        # What is given at the initial time is kept as it was given.
        ys = ys.at[0].set(found.ys[0])
        return dataclasses.replace(found, ys=ys[:, rows], slopes=slopes[:, rows])

    return program, inputs


class StiffLines:
    """The same system for SciPy's implicit solvers: free nodes only, sparse Jacobians.

    Wall nodes follow from the free ones by `y_w = B_ww^-1 (g - B_wf y_f)`.
    """

    def __init__(self, lines: Lines):
        self.lines = lines
        problem, space = lines.problem, lines.space
        system = problem.equation.system
        with jax.enable_x64(True):
            self.parameters = setup.parameters_of(problem)
            self.system = SparseSystem(problem, system.expanded, system.states, space)
            self.walls = WallRows(lines.boundary, len(system.states), self.parameters)
            self.finish = jax.jit(lines.finished())
            self._fixed = self._elimination(0.0) if self.walls.steady else None
        self.evaluations = 0

    def _elimination(self, t: float):
        from scipy.sparse.linalg import splu

        matrix = self.walls.matrix(t).tocsc()
        if not len(self.walls.walls):
            return None, matrix[:, self.walls.free]
        inverse = splu(matrix[:, self.walls.walls].tocsc())
        return inverse, matrix[:, self.walls.free]

    def _eliminated(self, t: float):
        return self._elimination(t) if self._fixed is None else self._fixed

    def whole(self, t: float, z: np.ndarray) -> np.ndarray:
        """All nodes, flat, from the free ones."""
        y = np.empty(int(np.prod(self.walls.shape)))
        y[self.walls.free] = z
        inverse, rest = self._eliminated(t)
        if inverse is not None:
            y[self.walls.walls] = inverse.solve(self.walls.right(t) - rest @ z)
        return y

    def right(self, t: float, z: np.ndarray) -> np.ndarray:
        """`dz/dt` of the free nodes."""
        self.evaluations += 1
        return self.system(t, self.whole(t, z))[self.walls.free]

    def jacobian(self, t: float, z: np.ndarray) -> Any:
        """`d(dz/dt)/dz`, sparse: `J_ff - J_fw B_ww^-1 B_wf`."""
        from scipy import sparse

        full = self.system.jacobian(t, self.whole(t, z))[self.walls.free]
        full = full.tocsc()
        inverse, rest = self._eliminated(t)
        found = full[:, self.walls.free]
        if inverse is not None:
            # B_wf touches few columns: only those next to walls are solved for.
            used = np.flatnonzero(np.diff(rest.indptr))
            solved = inverse.solve(rest[:, used].toarray())
            block = sparse.csc_array(full[:, self.walls.walls] @ sparse.csc_array(solved))
            spread = sparse.csc_array(
                (np.ones(len(used)), (np.arange(len(used)), used)),
                shape=(len(used), len(self.walls.free)),
            )
            found = found - block @ spread
        return sparse.csc_array(found)

    def radius(self) -> float:
        """About the spectral radius of the Jacobian at the start, by powers of it."""
        with jax.enable_x64(True):
            t0 = float(self.lines.problem.domain[setup.time_of(self.lines.problem)][0])
            jacobian = self.jacobian(t0, self.lines.start().ravel()[self.walls.free])
        v = np.random.default_rng(0).standard_normal(jacobian.shape[0])
        growth = []
        for _ in range(_POWERS):
            size = np.linalg.norm(v)
            if not 0 < size < np.inf:
                return float(size)
            v = jacobian @ (v / size)
            growth.append(np.linalg.norm(v))
        # A geometric mean, as single factors alternate where modes only turn.
        return float(np.exp(np.mean(np.log(np.maximum(growth[_POWERS // 2 :], 1e-300)))))

    def solve(self, times: np.ndarray, rtol: float, atol: float) -> Trajectory:
        """Steps of Radau IIA (BDF in two dimensions), each frame met by a step.

        **Arguments:**

        - `times`: of the frames.
        - `rtol`, `atol`: tolerances.
        """
        from scipy.integrate import BDF, Radau

        self.evaluations = 0
        with jax.enable_x64(True), np.errstate(all="ignore"):
            start = self.lines.start()
            z = start.ravel()[self.walls.free]
            choice = Radau if len(self.lines.space.shape) == 1 else BDF
            solver = choice(
                self.right, times[0], z, times[-1], rtol=rtol, atol=atol, jac=self.jacobian
            )
            rows, steps = [z], 0
            for t in times[1:]:
                steps += _reach(solver, float(t))
                if solver.status == "failed" or not np.all(np.isfinite(solver.y)):
                    break
                rows.append(solver.y.copy())
            return self._trajectory(times, start, rows, steps, solver)

    def _trajectory(self, times, start, rows, steps, solver) -> Trajectory:
        frames = np.full((len(times), *start.shape), np.nan)
        slopes = np.full_like(frames, np.nan)
        counted = self.evaluations
        for i, z in enumerate(rows):
            t = float(times[i])
            slope = np.zeros(start.size)
            slope[self.walls.free] = self.right(t, z)
            y = self.whole(t, z).reshape(start.shape)
            args = (jnp.asarray(a) for a in (t, y, slope.reshape(start.shape)))
            frames[i], slopes[i] = (np.asarray(a) for a in self.finish(*args, self.parameters))
        frames[0] = start
        unknowns = setup.unknown_rows(self.lines.problem)
        failed = len(rows) < len(times)
        change = np.zeros(start.size)
        change[self.walls.free] = np.nan_to_num(np.abs(self.right(solver.t, solver.y)), nan=np.inf)
        whole = {
            "steps": steps,
            "rejected": 0,
            "evaluations": counted,
            "code": NON_FINITE if failed else SUCCESS,
            "component": int(np.argmax(change)) if failed else 0,
        }
        return Trajectory(
            ts=jnp.asarray(times),
            ys=jnp.asarray(frames[:, unknowns]),
            slopes=jnp.asarray(slopes[:, unknowns]),
            t_end=jnp.asarray(float(solver.t)),
            dt_last=jnp.asarray(float(solver.step_size or 0.0)),
            y_end=jnp.asarray(frames[len(rows) - 1, unknowns]),
            events=None,
            history=None,
            **{name: jnp.asarray(value, jnp.int32) for name, value in whole.items()},
        )


def _reach(solver, target: float) -> int:
    """Step a SciPy solver until `target`, which the last step meets; steps taken."""
    steps = 0
    solver.t_bound, solver.status = target, "running"
    before = solver.h_abs
    while solver.status == "running":
        before = solver.h_abs
        solver.step()
        steps += 1
    # A step that was cut to meet the frame says nothing against the one it had.
    solver.h_abs = max(solver.h_abs, before)
    return steps
