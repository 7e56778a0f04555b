"""A system on a finite-difference grid as NumPy values and sparse Jacobians."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems import EquationProblem
from continua.problems.formulas import numpy_function
from continua.spaces import Boundary, FiniteDifferenceSpace


class SparseSystem:
    """Expressions in states and their space derivatives, on a grid.

        F_i(t, y) and dF_i / dy = sum_jets diag(dF_i / djet) D_jet

    In double precision whatever the run's, as SciPy's solvers are.

    **Arguments:**

    - `problem`: its parameters, coordinates and known fields.
    - `expressions`: SymPy, every derivative carried out.
    - `states`: names of the unknown functions.
    - `space`: a `FiniteDifferenceSpace`.
    """

    def __init__(
        self,
        problem: EquationProblem,
        expressions: Sequence[Any],
        states: tuple[str, ...],
        space: FiniteDifferenceSpace,
    ):
        equation = problem.equation
        names = equation.coordinates
        self.space, self.time, self.coordinates = space, equation.time, names
        self.size, self.count = int(np.prod(space.shape)), len(states)
        jets = sorted({j for e in expressions for j in jets_in(e, names)})
        symbols = jet_symbols(jets)
        unknown = [j for j in jets if j[0] in states]
        flat = [replace_jets(e, names, symbols) for e in expressions]
        slopes = [[sympy.diff(e, symbols[j]) for j in unknown] for e in flat]
        self._entries = [
            (i, k) for i, row in enumerate(slopes) for k, s in enumerate(row) if s != 0
        ]
        # The parameters are numbers from here on.
        numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
        arguments = [*map(coordinate_symbol, names), *symbols.values()]
        self._values = numpy_function([_as_number(e, numbers) for e in flat], arguments)
        chosen = [_as_number(slopes[i][k], numbers) for i, k in self._entries]
        self._slopes = numpy_function(chosen, arguments)
        mesh = np.meshgrid(*(space.nodes(i) for i in range(len(space.shape))), indexing="ij")
        self._nodes = {c: m.ravel() for c, m in zip(space.names, mesh, strict=True)}
        self._jets = [self._jet(jet, equation, states) for jet in jets]
        self._unknown = [self._jets[jets.index(j)] for j in unknown]

    def _jet(self, jet, equation, states) -> tuple[Any, Any]:
        name, orders = jet
        if name not in states:
            return equation.fields[name], None
        along = tuple(n for c, n in zip(self.coordinates, orders, strict=True) if c != self.time)
        return states.index(name), self.space.matrix(along) if any(along) else None

    def _arguments(self, t: float, y: np.ndarray) -> list:
        where = {**self._nodes}
        if self.time is not None:
            where[self.time] = np.full(self.size, t)
        fields = y.reshape(self.count, self.size)
        found = []
        for source, matrix in self._jets:
            if callable(source):
                points = np.stack([where[c] for c in self.coordinates], axis=-1)
                found.append(np.asarray(source(jnp.asarray(points)), float))
            else:
                found.append(fields[source] if matrix is None else matrix @ fields[source])
        return [*(where[c] for c in self.coordinates), *found]

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
        """`F` as a flat vector, states one after another."""
        with np.errstate(all="ignore"):
            rows = self._values(*self._arguments(t, y))
        return np.concatenate([np.broadcast_to(np.asarray(r, float), self.size) for r in rows])

    def jacobian(self, t: float, y: np.ndarray) -> Any:
        """`dF / dy`, a `scipy.sparse` matrix."""
        from scipy import sparse

        with np.errstate(all="ignore"):
            rows = self._slopes(*self._arguments(t, y))
        blocks: list[list[Any]] = [[None] * self.count for _ in range(self.count)]
        for (i, k), row in zip(self._entries, rows, strict=True):
            state, matrix = self._unknown[k]
            scale = sparse.diags_array(np.broadcast_to(np.asarray(row, float), self.size))
            term = scale if matrix is None else scale @ matrix
            blocks[i][state] = term if blocks[i][state] is None else blocks[i][state] + term
        empty = sparse.csr_array((self.size, self.size))
        full = [[empty if b is None else b for b in row] for row in blocks]
        return sparse.csr_array(sparse.block_array(full, format="csr"))


def _as_number(expression, numbers: dict):
    return sympy.sympify(expression).subs(numbers)


class WallRows:
    """Wall conditions as sparse rows, `B(t) y = g(t)`, and the nodes that they set.

    **Arguments:**

    - `boundary`: the conditions.
    - `states`: how many there are.
    - `parameters`: a number for each.
    """

    def __init__(self, boundary: Boundary, states: int, parameters: dict[str, Any]):
        self.boundary, self.parameters = boundary, parameters
        self.shape = (states, *boundary.space.shape)
        self.conditions = [c for group in boundary.groups() for c in group]
        self.steady = all(c.steady for c in self.conditions)
        self.constant = all(c.constant for c in self.conditions)
        self._right: np.ndarray | None = None
        owner = np.full(self.shape, -1)
        numbers = np.arange(owner.size).reshape(self.shape)
        self._rows, self._near = [], []
        depths = [depth for group in boundary.groups() for depth, _ in enumerate(group)]
        for i, (condition, depth) in enumerate(zip(self.conditions, depths, strict=True)):
            near = np.moveaxis(numbers[condition.state], condition.axis, 0)
            near = near[::-1] if condition.side else near
            self._near.append(near.reshape(near.shape[0], -1))
            self._rows.append(self._near[-1][depth])
            owner.ravel()[self._rows[-1]] = i
        # Where walls meet, a node obeys the condition that came last.
        self._kept = [owner.ravel()[rows] == i for i, rows in enumerate(self._rows)]
        self.walls = np.flatnonzero(owner.ravel() >= 0)
        self.free = np.flatnonzero(owner.ravel() < 0)
        self._position = np.full(owner.size, -1)
        self._position[self.walls] = np.arange(len(self.walls))
        self._known = jax.jit(self._evaluate)

    def _evaluate(self, t):
        return [
            tuple(jnp.stack(part) if isinstance(part, list) else part for part in row)
            for row in (
                self.boundary.row(c, t, self.parameters, jnp.zeros(()).dtype)
                for c in self.conditions
            )
        ]

    def matrix(self, t: float) -> Any:
        """`B`, sparse `(walls, all nodes)`, rows in the order of `walls`."""
        from scipy import sparse

        rows, columns, values = [], [], []
        known = self._known(jnp.asarray(t, float))
        for i, (weights, _) in enumerate(known):
            keep = self._kept[i]
            there = self._position[self._rows[i][keep]]
            for depth, w in enumerate(np.asarray(weights).reshape(len(weights), -1)):
                rows.append(there)
                columns.append(self._near[i][depth][keep])
                values.append(w[keep])
        size = (len(self.walls), int(np.prod(self.shape)))
        if not rows:
            return sparse.csr_array(size)
        parts = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_array(parts, shape=size)

    def right(self, t: float) -> np.ndarray:
        """`g` `(walls,)`."""
        if self.constant and self._right is not None:
            return self._right
        found = np.zeros(len(self.walls))
        for i, (_, value) in enumerate(self._known(jnp.asarray(t, float))):
            keep = self._kept[i]
            found[self._position[self._rows[i][keep]]] = np.asarray(value).reshape(-1)[keep]
        self._right = found
        return found
