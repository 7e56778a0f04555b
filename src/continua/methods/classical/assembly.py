r"""Residuals and Jacobians of a weak form on finite elements.

    R_i(u) = int S_i v - F_i . grad v dx + int_boundary n . F_i v ds,

at conditions `a u + b du/dn = g` with the normal part of `grad u` in `n . F_i` taken from
them. A mean is kept by a Lagrange multiplier.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.methods.classical.weak_form import WeakForm
from continua.problems.conditions import FluxCondition
from continua.problems.formulas import check_formula, evaluate, numpy_function
from continua.spaces.finite_element import boundary_of_region

_NORMAL = tuple(sympy.Symbol(f"_normal{i}", real=True) for i in range(2))
SHARE = sympy.Symbol("_share", real=True)


class _Integral:
    """Integrals of `sum_a G_ia D_a v_i` over cells or edges, and their slopes.

    `D_0 v = v`, `D_1 v = v_x`, `D_2 v = v_y`.

    **Arguments:**

    - `form`: the weak form.
    - `problem`: its parameters and known fields.
    - `rows`: `G_ia` by equation `i` and slot `a`.
    - `bases`: scikit-fem's basis of each unknown, all at the same quadrature points.
    - `normals`: `(2, edges, q)`, `None` within the domain.
    """

    def __init__(self, form: WeakForm, problem: Any, rows: Any, bases: Any, normals: Any = None):
        equation = form.equation
        numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
        values, slopes = {}, {}
        for (i, a), expression in rows.items():
            expression = sympy.sympify(expression).subs(numbers)
            if expression == 0:
                continue
            values[(i, a)] = expression
            for k, name in enumerate(equation.unknowns):
                for b, symbol in enumerate(form.slots(name)):
                    slope = sympy.diff(expression, symbol)
                    if slope != 0:
                        slopes[(i, a, k, b)] = slope
        arguments = [*map(coordinate_symbol, equation.coordinates), *form.jets.values()]
        arguments += [*_NORMAL, SHARE]
        self.value_keys, self.slope_keys = list(values), list(slopes)
        self._values = numpy_function(list(values.values()), arguments)
        self._slopes = numpy_function(list(slopes.values()), arguments)
        time = coordinate_symbol(str(equation.time))
        self.moves = any(e.has(time) for e in slopes.values()) or bool(equation.fields)
        self.bases, self.weights = bases, np.asarray(bases[0].dx)
        self.tables = _tables(bases)
        self._places = dict(
            zip(equation.space, np.asarray(bases[0].global_coordinates()), strict=True)
        )
        self._normals = (0.0, 0.0) if normals is None else tuple(np.asarray(normals))
        self._form = form

    def _arguments(self, t: float, parts: list[np.ndarray], share: float) -> list[Any]:
        """Coordinates, jets and normals at the quadrature points."""
        equation = self._form.equation
        where = {c: t if c == equation.time else self._places[c] for c in equation.coordinates}
        slots = [
            np.einsum("jaeq,je->aeq", table, part[basis.element_dofs], optimize=True)
            for table, part, basis in zip(self.tables, parts, self.bases, strict=True)
        ]
        jets = []
        for name, orders in self._form.jets:
            if name in equation.fields:
                arrays = np.broadcast_arrays(*where.values())
                points = jnp.asarray(np.stack([a.reshape(-1) for a in arrays], axis=-1))
                values = np.asarray(equation.fields[name](points), float)
                jets.append(values.reshape(arrays[0].shape))
            else:
                along = [
                    n
                    for c, n in zip(equation.coordinates, orders, strict=True)
                    if (c != equation.time)
                ]
                slot = 1 + along.index(1) if any(along) else 0
                jets.append(slots[equation.unknowns.index(name)][slot])
        return [*where.values(), *jets, *self._normals, share]

    def add_residual(self, t: float, parts: list[np.ndarray], share: float, into: list) -> None:
        """Add to one vector for each equation."""
        with np.errstate(all="ignore"):
            rows = self._values(*self._arguments(t, parts, share))
        for (i, a), row in zip(self.value_keys, rows, strict=True):
            local = np.einsum("jeq,eq->je", self.tables[i][:, a], row * self.weights)
            dofs = self.bases[i].element_dofs
            into[i] += np.bincount(dofs.ravel(), local.ravel(), len(into[i]))

    def jacobian(self, t: float, parts: list[np.ndarray], share: float) -> dict[Any, Any]:
        """Local matrices `(e, i, j)` of every pair of equation and unknown, with the rows
        and columns where they belong."""
        with np.errstate(all="ignore"):
            rows = self._slopes(*self._arguments(t, parts, share))
        found: dict[Any, Any] = {}
        shape = self.weights.shape
        for (i, a, k, b), row in zip(self.slope_keys, rows, strict=True):
            scaled = np.broadcast_to(row, shape) * self.weights
            # One product of matrices a cell: test functions times scaled trial functions.
            left = self.tables[i][:, a].transpose(1, 0, 2)
            right = (self.tables[k][:, b] * scaled).transpose(1, 2, 0)
            local = left @ right
            found[(i, k)] = found[(i, k)] + local if (i, k) in found else local
        return found


def _tables(bases: Any) -> list[np.ndarray]:
    """Values and slopes of all functions at the quadrature points: `(j, 3, e, q)` each."""
    made = {}
    for basis in bases:
        if id(basis) in made:
            continue
        shape = basis.dx.shape
        rows = [
            np.stack(
                [np.broadcast_to(part, shape) for part in (np.asarray(function), *function.grad)]
            )
            for (function,) in basis.basis
        ]
        made[id(basis)] = np.stack(rows)
    return [made[id(basis)] for basis in bases]


class Assembly:
    """A problem on a finite element space as `R(t, z) = 0` or `M dz/dt = -R(t, z)`.

    `z` holds the nodal values of each unknown, one after another, then the multipliers.

    **Arguments:**

    - `problem`: an `EquationProblem`.
    - `form`: the weak form of its equation.
    - `region`, `parts`: its geometry, and the conditions by label.
    - `space`: a `FiniteElementSpace` of the highest degree.
    - `degrees`: of each unknown.
    """

    def __init__(
        self, problem: Any, form: WeakForm, region: Any, parts: Any, space: Any, degrees: Any
    ):
        self.problem, self.equation, self.space = problem, problem.equation, space
        self.form, self.degrees = form.scaled(SHARE), tuple(degrees)
        self.constraints = form.constraints
        self.bases = [space.basis(d) for d in self.degrees]
        ends = np.cumsum([0, *(b.N for b in self.bases)])
        self.slices = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        self.count = int(ends[-1])
        self.size = self.count + len(problem.means)
        self.evaluations = 0
        rows = {}
        for i, (source, flux) in enumerate(zip(self.form.source, self.form.flux, strict=True)):
            rows |= {(i, 0): source} | {(i, 1 + axis): -f for axis, f in enumerate(flux)}
        self.integrals = [_Integral(self.form, problem, rows, self.bases)]
        self.given: list[tuple[str, int, np.ndarray, Any]] = []
        for label, facets in boundary_of_region(space, region).items():
            self._bind(label, parts.get(label, ()), facets)
        fixed = [dofs + self.slices[k].start for _, k, dofs, _ in self.given]
        self.fixed = np.unique(np.concatenate(fixed)) if fixed else np.zeros(0, int)
        self.free = np.setdiff1d(np.arange(self.size), self.fixed)
        self.border, self.means = self._mean_rows()

    @property
    def moves(self) -> bool:
        """Whether slopes of the residual depend on time, or may."""
        return any(integral.moves for integral in self.integrals)

    def _bind(self, label: str, conditions: Any, facets: np.ndarray) -> None:
        """Take up the conditions on one part of the boundary."""
        rows = {}
        for condition in conditions:
            k = self.equation.unknowns.index(condition.unknown)
            if isinstance(condition, FluxCondition):
                rows[(k, 0)] = check_formula(condition.value, self.equation, "boundary")
            elif condition.coefficients.get(1, 0.0) == 0.0:
                nodes = self.bases[k].get_dofs(facets).flatten()
                self.given.append((label, k, nodes, condition))
            else:
                rows[(k, 0)] = self._natural(k, condition)
        if len(facets) and any(row != 0 for row in rows.values()):
            edges = {d: self.space.on_edges(d, facets) for d in set(self.degrees)}
            bases = [edges[d] for d in self.degrees]
            integral = _Integral(self.form, self.problem, rows, bases, bases[0].normals)
            self.integrals.append(integral)

    def _natural(self, k: int, condition: Any) -> Any:
        """`n . F_k` with the normal derivative of the unknown from its condition."""
        value, *slopes = self.form.slots(condition.unknown)
        texts = (condition.coefficients.get(0, 0.0), condition.coefficients[1], condition.value)
        a, b, g = (check_formula(str(text), self.equation, "boundary") for text in texts)
        normal_slope = sum(n * s for n, s in zip(_NORMAL, slopes, strict=True))
        gap = (g - a * value) / b - normal_slope
        moved = {s: s + n * gap for n, s in zip(_NORMAL, slopes, strict=True)}
        flux = sum(n * f for n, f in zip(_NORMAL, self.form.flux[k], strict=True))
        whole: Any = sympy.sympify(flux)
        return whole.subs(moved, simultaneous=True)

    def _mean_rows(self) -> tuple[Any, np.ndarray]:
        """Rows `int phi_j dx` of the unknowns whose mean is given, and what they equal."""
        from scipy import sparse

        rows, values = [], []
        for name, mean in self.problem.means.items():
            k = self.equation.unknowns.index(name)
            basis, table = self.bases[k], self.integrals[0].tables[k][:, 0]
            local = np.einsum("jeq,eq->je", table, basis.dx)
            row = np.zeros(self.count)
            row[self.slices[k]] = np.bincount(basis.element_dofs.ravel(), local.ravel(), basis.N)
            rows.append(row)
            values.append(mean * basis.dx.sum())
        return sparse.csr_array(np.array(rows).reshape(len(rows), self.count)), np.array(values)

    def parts(self, z: np.ndarray) -> list[np.ndarray]:
        """The nodal values of each unknown."""
        return [z[s] for s in self.slices]

    def residual(self, t: float, z: np.ndarray, share: float = 1.0) -> np.ndarray:
        """`R(t, z)`; rows of given values hold nothing of use.

        **Arguments:**

        - `t`: time, of no meaning where steady.
        - `z`: `(size,)`.
        - `share`: of the nonlinear terms, 1.
        """
        self.evaluations += 1
        rows = [np.zeros(b.N) for b in self.bases]
        for integral in self.integrals:
            integral.add_residual(t, self.parts(z), share, rows)
        found = np.concatenate([*rows, np.zeros(len(self.means))])
        if len(self.means):
            found[: self.count] += self.border.T @ z[self.count :]
            found[self.count :] = self.border @ z[: self.count] - self.means
        return found

    def jacobian(self, t: float, z: np.ndarray, share: float = 1.0) -> Any:
        """`dR/dz`, sparse; rows of given values hold nothing of use.

        **Arguments:**

        - `t`, `z`, `share`: as `residual`.
        """
        blocks: list[tuple] = []
        for integral in self.integrals:
            for (i, k), local in integral.jacobian(t, self.parts(z), share).items():
                blocks.append((i, k, integral.bases[i], integral.bases[k], local))
        return self._sparse(blocks, self.border)

    def mass(self) -> Any:
        """`M`, sparse."""
        blocks = []
        names = [coordinate_symbol(c) for c in self.equation.space]
        numbers = {parameter_symbol(p): v for p, v in self.problem.all_parameters().items()}
        tables = self.integrals[0].tables
        for i, row in enumerate(self.form.mass):
            for k, m in enumerate(row):
                if m != 0:
                    basis = self.bases[i]
                    where = np.asarray(basis.global_coordinates())
                    (values,) = numpy_function([sympy.sympify(m).subs(numbers)], names)(*where)
                    right = tables[k][:, 0] * (np.broadcast_to(values, basis.dx.shape) * basis.dx)
                    local = tables[i][:, 0].transpose(1, 0, 2) @ right.transpose(1, 2, 0)
                    blocks.append((i, k, basis, self.bases[k], local))
        return self._sparse(blocks, None)

    def _sparse(self, blocks: list[tuple], border: Any) -> Any:
        from scipy import sparse

        rows, columns, values = [], [], []
        for i, k, test, trial, local in blocks:
            shape = local.shape
            row = test.element_dofs.T[:, :, None] + self.slices[i].start
            column = trial.element_dofs.T[:, None, :] + self.slices[k].start
            rows.append(np.broadcast_to(row, shape).ravel())
            columns.append(np.broadcast_to(column, shape).ravel())
            values.append(local.ravel())
        size = (self.count, self.count)
        where = (np.concatenate(rows), np.concatenate(columns)) if rows else ([], [])
        found = sparse.csr_array((np.concatenate(values) if rows else [], where), shape=size)
        if not len(self.means):
            return found
        if border is None:
            border = sparse.csr_array((len(self.means), self.count))
        return sparse.block_array([[found, border.T], [border, None]], format="csr")

    def values(self, t: float) -> np.ndarray:
        """What is given on the boundary at a time, in the order of `fixed`; where two parts
        meet, by the one that comes last."""
        found = np.zeros(self.count)
        for _, k, nodes, condition in self.given:
            where = dict(zip(self.space.names, self.bases[k].doflocs[:, nodes], strict=True))
            if self.equation.time is not None:
                where[self.equation.time] = np.full(len(nodes), t)
            numbers = self.problem.all_parameters()
            texts = (condition.value, str(condition.coefficients[0]))
            g, a = (evaluate(text, self.equation, where, numbers) for text in texts)
            found[nodes + self.slices[k].start] = g / a
        return found[self.fixed]

    def start(self, t: float) -> np.ndarray:
        """The initial values at the nodes; zero for unknowns that have none."""
        found = np.zeros(self.size)
        for name, basis, place in zip(self.equation.unknowns, self.bases, self.slices, strict=True):
            if name in self.problem.initial:
                where = dict(zip(self.space.names, basis.doflocs, strict=True))
                where[str(self.equation.time)] = np.full(basis.N, t)
                numbers = self.problem.all_parameters()
                found[place] = evaluate(self.problem.initial[name], self.equation, where, numbers)
        found[self.fixed] = self.values(t)
        return found

    def outflows(self, z: np.ndarray) -> dict[str, float]:
        """What passes through each part where values are given, `int n . F_k ds`, by name:
        twice the order of an integral of slopes, as it is read off the equations that the
        given values stand in for.

        **Arguments:**

        - `z`: a steady solution `(size,)`.
        """
        residual = self.residual(0.0, z)
        names = self.equation.unknowns
        return {
            f"outflow_{names[k]}_{label}": -float(residual[nodes + self.slices[k].start].sum())
            for label, k, nodes, _ in self.given
        }

    def taken_from(self, other: "Assembly", z: np.ndarray) -> np.ndarray:
        """The solution on another mesh, interpolated.

        **Arguments:**

        - `other`: the assembly on that mesh.
        - `z`: its solution.
        """
        fields = other.fields(z)
        rows = [
            other.space.interpolate(fields[k : k + 1], basis.doflocs.T)[:, 0]
            for k, basis in enumerate(self.bases)
        ]
        return np.concatenate([*rows, z[other.count :]])

    def fields(self, z: np.ndarray) -> np.ndarray:
        """All unknowns at the nodes of the space: `(c, N)`."""
        rows = zip(self.parts(z), self.degrees, strict=True)
        return np.stack([self.space.raised(part, degree) for part, degree in rows])

    def indicators(self, z: np.ndarray) -> np.ndarray:
        """For each cell, the size of what smoothing takes from the slopes of the unknowns,

            eta_K^2 = sum_k |grad u_k - G u_k|^2_K / |grad u_k|^2,

        `G` the projection on continuous functions: `(cells,)`.

        **Arguments:**

        - `z`: `(size,)`.

        **Reference:** zienkiewicz1987simple
        """
        from scipy import sparse
        from scipy.sparse.linalg import splu

        total = np.zeros(self.weights.shape[0])
        factors = {}
        for part, basis, table in zip(
            self.parts(z), self.bases, self.integrals[0].tables, strict=True
        ):
            if id(basis) not in factors:
                value = table[:, 0]
                local = value.transpose(1, 0, 2) @ (value * basis.dx).transpose(1, 2, 0)
                dofs = basis.element_dofs.T
                where = [
                    np.broadcast_to(d, local.shape).ravel()
                    for d in (dofs[:, :, None], dofs[:, None, :])
                ]
                matrix = sparse.csc_array((local.ravel(), tuple(where)), shape=(basis.N,) * 2)
                factors[id(basis)] = splu(matrix)
            slopes = np.einsum("jaeq,je->aeq", table[:, 1:], part[basis.element_dofs])
            size = float(np.sum(slopes**2 * basis.dx))
            for slope in slopes:
                local = np.einsum("jeq,eq->je", table[:, 0], slope * basis.dx)
                right = np.bincount(basis.element_dofs.ravel(), local.ravel(), basis.N)
                smooth = factors[id(basis)].solve(right)[basis.element_dofs]
                gap = slope - np.einsum("jeq,je->eq", table[:, 0], smooth)
                total += np.sum(gap**2 * basis.dx, axis=1) / max(size, 1e-300)
        return np.sqrt(total)

    @property
    def weights(self) -> np.ndarray:
        """Quadrature weights `(cells, q)`."""
        return self.integrals[0].weights
