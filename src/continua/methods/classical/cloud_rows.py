r"""An equation with its conditions at the points of a cloud.

    R_i(t, y) = F_k(t, x_i, y, D y, D^2 y)             within,
    R_i(t, y) = a y_i + b n . (D y)_i - g(t, x_i)      on the boundary,

where derivatives are given, for a point outside of it, so that the equation holds on the
boundary too and stencils are not one-sided; or `M dy/dt + R(t, y) = 0` in time, `M` one for
the equation and zero for conditions. Jacobians are weights of stencils times slopes of `F`.
A mean is kept by a Lagrange multiplier.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from continua.core.errors import InputError
from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.methods.classical.weak_form import weak_form
from continua.problems.conditions import FluxCondition
from continua.problems.formulas import check_formula, evaluate, numpy_function
from continua.spaces.point_cloud import PointCloud, PointCloudSpace

_GAUSS = {1: (6, 12), 2: (6, 8), 3: (3, 6)}  # cells and points in each, for a mean over a box
_ROOM = 0.5  # of its distance to the boundary that a point outside needs around it
_MOST_ITERATIONS = 20  # until values on the boundary fit those within


@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
    """A condition at some points.

    **Arguments:**

    - `label`: of the part of the boundary.
    - `rows`: indices of the points on it.
    - `condition`: a `Condition` or `FluxCondition`.
    - `axis`: along which its derivative is; `None` along the outward normal.
    """

    label: str
    rows: np.ndarray
    condition: Any
    axis: int | None = None

    @property
    def is_value(self) -> bool:
        """Whether it gives a value and no derivative."""
        if isinstance(self.condition, FluxCondition):
            return False
        return self.condition.coefficients.get(1, 0.0) == 0.0

    @property
    def needs_normal(self) -> bool:
        """Whether it says nothing where there is no normal."""
        return self.axis is None and not self.is_value


class _Rows:
    """One expression at some points, as rows of the equation of one unknown."""

    def __init__(self, system: "CloudSystem", k: int, nodes, rows, expression: Any):
        self.k, self.nodes, self.rows = k, nodes, rows
        expression = sympy.sympify(expression).subs(system.numbers)
        slopes = {jet: sympy.diff(expression, s) for jet, s in system.symbols.items()}
        names = system.problem.equation.unknowns
        slopes = {jet: s for jet, s in slopes.items() if s != 0 and jet[0] in names}
        self.jets = list(slopes)
        arguments = [*map(coordinate_symbol, system.problem.equation.coordinates)]
        arguments += [*system.symbols.values(), *system.normal_symbols]
        self._value = numpy_function([expression], arguments)
        self._slopes = numpy_function(list(slopes.values()), arguments)
        time = coordinate_symbol(str(system.problem.equation.time))
        self.moves = any(s.has(time) for s in slopes.values())

    def value(self, arguments: list[Any]) -> np.ndarray:
        with np.errstate(all="ignore"):
            (found,) = self._value(*(a[self.nodes] for a in arguments))
        return np.broadcast_to(np.asarray(found, float), len(self.nodes))

    def slopes(self, arguments: list[Any]) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            found = self._slopes(*(a[self.nodes] for a in arguments))
        return [np.broadcast_to(np.asarray(s, float), len(self.nodes)) for s in found]


class CloudSystem:
    """A problem on a cloud as `R(t, z) = 0` or `M dz/dt = -R(t, z)`.

    `z` holds the values of each unknown, one after another, then the multipliers.

    **Arguments:**

    - `problem`: an `EquationProblem`, at most of first order in time.
    - `space`: a `PointCloudSpace`.
    - `bounds`: its conditions; of several at one point one that gives a value counts, else
      the last.
    - `hosts`: points of the boundary whose conditions are for the last points of the cloud,
      which lie outside.

    **Raises:** `InputError` where a condition needs a normal and the point has none, and
    where a point of the boundary has no condition that the equation needs.
    """

    constraints: tuple[str, ...] = ()

    def __init__(
        self, problem: Any, space: PointCloudSpace, bounds: Sequence[Bound], hosts: np.ndarray
    ):
        self.problem, self.equation, self.space = problem, problem.equation, space
        self.each = len(space.cloud.points)
        self.num_points = self.each - len(hosts)
        self.names = self.equation.unknowns
        self.count = self.each * len(self.names)
        self.size = self.count + len(problem.means)
        self.slices = [slice(i * self.each, (i + 1) * self.each) for i in range(len(self.names))]
        self.free, self.fixed = np.arange(self.size), np.zeros(0, int)
        self.numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
        self.normal_symbols = [sympy.Dummy(f"normal{i}", real=True) for i in self.equation.space]
        self.evaluations = 0
        self._compile(bounds, hosts)
        orders = {self._along(o) for name, o in self.symbols if name in self.names}
        self.orders = sorted(o for o in orders if any(o))
        self.weights = dict(zip(self.orders, space.weights(self.orders), strict=True))
        self.matrices = {o: space.matrix(o) for o in self.orders}
        self.border, self.mean_values = _mean_rows(self)
        self.moves = any(g.moves for g in self.groups) or bool(self.equation.fields)

    def _along(self, orders: tuple[int, ...]) -> tuple[int, ...]:
        names = self.equation.coordinates
        return tuple(n for c, n in zip(names, orders, strict=True) if c != self.equation.time)

    def _jet(self, unknown: str, axis: int | None = None) -> tuple[str, tuple[int, ...]]:
        along = None if axis is None else self.equation.space[axis]
        return unknown, tuple(int(c == along) for c in self.equation.coordinates)

    def _compile(self, bounds: Sequence[Bound], hosts: np.ndarray) -> None:
        """The rows of every unknown: its equation within, its conditions on the boundary."""
        equation = self.equation
        if equation.time is None:
            expressions = list(equation.expanded)
        else:
            expressions = [-e for e in equation.system.expanded]
        jets = {j for e in expressions for j in jets_in(e, equation.coordinates)}
        axes = range(len(equation.space))
        jets |= {self._jet(u, axis) for u in self.names for axis in (None, *axes)}
        flux = None
        if any(isinstance(b.condition, FluxCondition) for b in bounds):
            flux = weak_form(equation)
            jets |= set(flux.jets)
        self.symbols = jet_symbols(sorted(jets))
        owner = np.full((len(self.names), self.each), -1)
        for values in (False, True):
            for i, bound in enumerate(bounds):
                if bound.is_value == values:
                    owner[self.names.index(bound.condition.unknown), bound.rows] = i
        ghosts = np.arange(self.each - len(hosts), self.each)
        row_of = np.arange(self.each)
        row_of[hosts] = ghosts
        self.groups, self.inner = [], []
        for k, expression in enumerate(expressions):
            flat = replace_jets(expression, equation.coordinates, self.symbols)
            free = np.flatnonzero(owner[k] < 0)
            self._check_bound(k, free)
            inner = np.union1d(np.setdiff1d(free, ghosts), hosts)
            self.inner.append(inner)
            self.groups.append(_Rows(self, k, inner, inner, flat))
        for i, bound in enumerate(bounds):
            k = self.names.index(bound.condition.unknown)
            nodes = np.flatnonzero(owner[k] == i)
            self._check_normals(bound, nodes)
            if len(nodes):
                rows = row_of[nodes]
                self.groups.append(_Rows(self, k, nodes, rows, self._condition(bound, k, flux)))
        self.bound = np.ones(self.count, bool)
        for k, inner in enumerate(self.inner):
            self.bound[k * self.each + inner] = False

    def _check_bound(self, k: int, inner: np.ndarray) -> None:
        equation = self.equation
        second = max(equation.order_of(self.names[k], c) for c in equation.space) >= 2
        left = np.intersect1d(inner, np.flatnonzero(self.space.cloud.outer))
        if second and len(left):
            raise InputError(
                f"'{self.names[k]}' has no condition at the point "
                f"{self.space.cloud.points[left[0]].tolist()} of the boundary",
                where="PointCloud.boundary",
                fix="label it by a part that has one",
            )

    def _check_normals(self, bound: Bound, nodes: np.ndarray) -> None:
        missing = np.isnan(self.space.cloud.normals[nodes]).any(axis=1)
        if bound.needs_normal and missing.any():
            raise InputError(
                f"the condition on the part '{bound.label}' takes a normal, and the point "
                f"{self.space.cloud.points[nodes[np.argmax(missing)]].tolist()} has none",
                where="PointCloud.normals",
                fix="give the outward normals there, or leave corners out",
            )

    def _condition(self, bound: Bound, k: int, flux: Any) -> Any:
        condition, equation = bound.condition, self.equation
        where = f"boundary.{bound.label}"
        if isinstance(condition, FluxCondition):
            own = {s: self.symbols[jet] for jet, s in flux.jets.items()}
            parts = [sympy.sympify(f).xreplace(own) for f in flux.flux[k]]
            value = check_formula(condition.value, equation, where)
            return sum(n * f for n, f in zip(self.normal_symbols, parts, strict=True)) - value
        texts = (condition.coefficients.get(0, 0.0), condition.coefficients.get(1, 0.0))
        a, b, g = (check_formula(str(t), equation, where) for t in (*texts, condition.value))
        slopes = [self.symbols[self._jet(condition.unknown, i)] for i in range(len(equation.space))]
        if bound.axis is None:
            slope = sum(n * s for n, s in zip(self.normal_symbols, slopes, strict=True))
        else:
            slope = slopes[bound.axis]
        return a * self.symbols[self._jet(condition.unknown)] + b * slope - g

    def _arguments(self, t: float, z: np.ndarray) -> list[np.ndarray]:
        """Coordinates, jets and normals at all points."""
        equation, places = self.equation, self.space.cloud.points.T
        where = dict(zip(equation.space, places, strict=True))
        if equation.time is not None:
            where[equation.time] = np.full(self.each, t)
        found = [where[c] for c in equation.coordinates]
        parts = dict(zip(self.names, self.parts(z), strict=True))
        for name, orders in self.symbols:
            if name in parts:
                along = self._along(orders)
                found.append(self.matrices[along] @ parts[name] if any(along) else parts[name])
            else:
                points = jnp.asarray(np.stack([where[c] for c in equation.coordinates], axis=-1))
                found.append(np.asarray(equation.fields[name](points), float))
        return [*found, *self.space.cloud.normals.T]

    def parts(self, z: np.ndarray) -> list[np.ndarray]:
        """The values of each unknown."""
        return [z[s] for s in self.slices]

    def fields(self, z: np.ndarray) -> np.ndarray:
        """All unknowns at the points `(c, N)`."""
        return z[: self.count].reshape(len(self.names), self.each)

    def residual(self, t: float, z: np.ndarray) -> np.ndarray:
        """`R(t, z)`.

        **Arguments:**

        - `t`: time, of no meaning where steady.
        - `z`: `(size,)`.
        """
        self.evaluations += 1
        arguments = self._arguments(t, z)
        found = np.zeros(self.size)
        for group in self.groups:
            found[group.k * self.each + group.rows] = group.value(arguments)
        if self.problem.means:
            found[: self.count] += self._beside() @ z[self.count :]
            found[self.count :] = self.border @ z[: self.count] - self.mean_values
        return found

    def jacobian(self, t: float, z: np.ndarray) -> Any:
        """`dR/dz`, sparse.

        **Arguments:**

        - `t`, `z`: as `residual`.
        """
        from scipy import sparse

        arguments, near = self._arguments(t, z), self.space.stencils
        rows, columns, values = [], [], []
        for group in self.groups:
            blocks: dict[int, np.ndarray] = {}
            for (name, orders), slope in zip(group.jets, group.slopes(arguments), strict=True):
                k, along = self.names.index(name), self._along(orders)
                block = blocks.setdefault(k, np.zeros((len(group.nodes), near.shape[1])))
                if any(along):
                    block += slope[:, None] * self.weights[along][group.nodes]
                else:
                    block[:, 0] += slope  # a point is the first of its own stencil
            for k, block in blocks.items():
                row = np.broadcast_to((group.k * self.each + group.rows)[:, None], block.shape)
                rows.append(row.ravel())
                columns.append((k * self.each + near[group.nodes]).ravel())
                values.append(block.ravel())
        where = (np.concatenate(rows), np.concatenate(columns))
        shape = (self.count, self.count)
        found = sparse.csr_array((np.concatenate(values), where), shape=shape)
        if not self.problem.means:
            return found
        beside = sparse.csr_array(self._beside())
        return sparse.block_array([[found, beside], [self.border, None]], format="csr")

    def _beside(self) -> np.ndarray:
        """Columns of ones in the equation of each unknown whose mean is given."""
        found = np.zeros((self.count, len(self.problem.means)))
        for column, name in enumerate(self.problem.means):
            k = self.names.index(name)
            found[k * self.each + self.inner[k], column] = 1.0
        return found

    def loose(self, jacobian: Any) -> list[str]:
        """Unknowns to which any constant may be added.

        **Arguments:**

        - `jacobian`: at any values.
        """
        square = jacobian[: self.count, : self.count]
        size = np.abs(square).sum(axis=1)
        found = []
        for name, place in zip(self.names, self.slices, strict=True):
            one = np.zeros(self.count)
            one[place] = 1.0
            if np.all(np.abs(square @ one) <= 1e-9 * size):
                found.append(name)
        return found

    def mass(self) -> Any:
        """`M`, sparse."""
        from scipy import sparse

        return sparse.diags_array(np.where(self.bound, 0.0, 1.0), format="csr")

    def values(self, t: float) -> np.ndarray:
        """Values of `fixed`, of which there are none: conditions are rows like all others."""
        return np.zeros(len(self.fixed))

    def start(self, t: float) -> np.ndarray:
        """The initial values, those on the boundary such that its conditions hold.

        **Arguments:**

        - `t`: the initial time.
        """
        from scipy.sparse.linalg import splu

        where = dict(zip(self.equation.space, self.space.cloud.points.T, strict=True))
        where[str(self.equation.time)] = np.full(self.each, t)
        numbers = self.problem.all_parameters()
        texts = [self.problem.initial[name] for name in self.names]
        z = np.concatenate([evaluate(text, self.equation, where, numbers) for text in texts])
        rim = np.flatnonzero(self.bound)
        for _ in range(_MOST_ITERATIONS if len(rim) else 0):
            matrix = self.jacobian(t, z)[rim][:, rim].tocsc()
            try:
                step = splu(matrix).solve(self.residual(t, z)[rim])
            except RuntimeError:
                break  # the steps in time tell that the conditions fix nothing
            z[rim] -= step
            if np.linalg.norm(step) <= 1e-13 * np.linalg.norm(z):
                break
        return z


def _mean_rows(system: CloudSystem) -> tuple[Any, np.ndarray]:
    """Rows of the mean over the domain of each unknown whose mean is given."""
    from scipy import sparse

    means = system.problem.means
    if not means:
        return sparse.csr_array((0, system.count)), np.zeros(0)
    places, weights = _quadrature(system.problem)
    mean = system.space.interpolation(places).T @ (weights / weights.sum())
    rows = np.zeros((len(means), system.count))
    for row, name in zip(rows, means, strict=True):
        row[system.slices[system.names.index(name)]] = mean
    return sparse.csr_array(rows), np.array(list(means.values()))


def _quadrature(problem: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points in the domain and weights of an integral over it."""
    names = problem.equation.space
    bounds = [problem.domain[c] for c in names]
    if problem.geometry is None:
        cells, order = _GAUSS[len(names)]
        nodes, shares = np.polynomial.legendre.leggauss(order)
        cuts = [np.linspace(low, high, cells + 1) for low, high in bounds]
        lines = [
            ((c[1:] + c[:-1])[:, None] / 2 + np.diff(c)[:, None] / 2 * nodes).ravel() for c in cuts
        ]
        each = [np.outer(np.diff(c) / 2, shares).ravel() for c in cuts]
        places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(names))
        weights = np.ones(1)
        for line in each:
            weights = np.multiply.outer(weights, line).ravel()
        return places, weights
    from continua.spaces.finite_element import element_space

    size = float(np.sqrt(np.prod([high - low for low, high in bounds]))) / 24
    basis = element_space(names, problem.geometry.mesh(size).triangles(), 2, problem.geometry)
    basis = basis.basis(2)
    places = np.asarray(basis.global_coordinates()).reshape(2, -1).T
    return places, np.asarray(basis.dx).ravel()


def with_ghosts(
    cloud: PointCloud, bounds: Sequence[Bound], unknowns: tuple[str, ...]
) -> tuple[PointCloud, np.ndarray]:
    """A cloud with a point outside for each at which derivatives of all unknowns are given.

    It lies on the normal, as far away as the nearest neighbour; where there is no room for
    it stencils stay one-sided.

    **Arguments:**

    - `cloud`: of a region.
    - `bounds`: conditions at its points.
    - `unknowns`: names of all.

    **Returns:** the cloud, and the points of the boundary that the last of its points are
    for.

    **Reference:** bayona2017role
    """
    from scipy.spatial import KDTree

    sloped = np.zeros((len(unknowns), len(cloud.points)), bool)
    for values in (False, True):
        for bound in bounds:
            if bound.is_value == values:
                sloped[unknowns.index(bound.condition.unknown), bound.rows] = not values
    normal = ~np.isnan(cloud.normals).any(axis=1)
    hosts = np.flatnonzero(sloped.all(axis=0) & normal)
    if not len(hosts):
        return cloud, hosts
    distance = np.asarray(KDTree(cloud.points).query(cloud.points[hosts], k=2)[0])[:, 1]
    ghosts = cloud.points[hosts] + distance[:, None] * cloud.normals[hosts]
    # Ghosts that come near to other points, as in a notch, are left out.
    everything = KDTree(np.concatenate([cloud.points, ghosts]))
    gap = np.asarray(everything.query(ghosts, k=2)[0])[:, 1]
    hosts, ghosts = hosts[gap > _ROOM * distance], ghosts[gap > _ROOM * distance]
    points = np.concatenate([cloud.points, ghosts])
    normals = np.concatenate([cloud.normals, np.full(ghosts.shape, np.nan)])
    return PointCloud(points, cloud.boundary, normals), hosts
