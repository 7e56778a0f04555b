r"""Large linear inverse problems without matrices, by LSQR.

    min_v |J v - d|^2 + lambda |L v - p|^2,   v = V z / sqrt(a + lambda mu),

`L'L = V mu V'` on a product grid, `a` the largest eigenvalue of `J'J`: in these coordinates
rough parts of the field, which the operator hardly sees, have all the same weight.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from continua.methods.classical.linear_inverse import Linearised

_LONGEST = 3000  # axis of which eigenvectors are taken
_LSQR = 1e-10  # relative residual at which LSQR ends


class Waves:
    """Eigenvectors of `L'L` on a product grid, products of those of its axes.

    **Arguments:**

    - `grid`: nodes of each axis; one of more than 3000 nodes is left as it is.
    - `order`: of the penalty.
    """

    def __init__(self, grid: Any, order: int):
        self.shape = tuple(len(axis) for axis in grid.values())
        pairs = [_eigen(axis, order) for axis in grid.values()]
        self.vectors = [vectors for _, vectors in pairs]
        total = functools.reduce(np.add.outer, [values for values, _ in pairs])
        self.weights = np.ones(total.size) if order == 0 else total.reshape(-1)

    def field(self, parts: np.ndarray) -> np.ndarray:
        """Flat fields from their parts."""
        return self._along(parts, 1)

    def parts(self, field: np.ndarray) -> np.ndarray:
        """Parts of flat fields."""
        return self._along(field, 0)

    def _along(self, values: np.ndarray, side: int) -> np.ndarray:
        found = values.reshape(self.shape)
        for number, vectors in enumerate(self.vectors):
            if vectors is not None:
                found = np.moveaxis(np.tensordot(vectors, found, axes=(side, number)), 0, number)
        return found.reshape(-1)


def _eigen(axis: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Eigenvalues and vectors of `L'L` of one axis."""
    count = len(axis)
    if order == 0 or count > _LONGEST:
        return np.zeros(count), None
    rough = np.diff(np.eye(count), axis=0) / np.diff(axis)[:, None]
    if order == 2:
        rough = np.diff(rough, axis=0) / ((axis[2:] - axis[:-2]) / 2)[:, None]
    values, vectors = np.linalg.eigh(rough.T @ rough)
    return np.maximum(values, 0.0), vectors


class Iterated:
    """A linear problem without its matrix: a solve by LSQR for each weight, each from the
    one before it.

    **Arguments:**

    - `model`: the operator and the penalty.
    - `iterations`: most of LSQR.
    - `away`: how far the field already is from the prior mean; not at all.
    """

    resolution: ClassVar[float] = 1e-4

    def __init__(self, model: Linearised, iterations: int, away: np.ndarray | None = None):
        self.model, self.iterations, self.count = model, iterations, model.data.size
        self.pull = -model.rough(np.zeros(model.products.unknowns) if away is None else away)
        self.step, self.finished = np.zeros(model.products.unknowns), True
        self.waves = Waves(model.products.problem.grid, model.products.order)
        self.strength = model.strength() or 1.0

    def parameters(self) -> np.ndarray:
        """Weights worth looking at, from how strongly the operator acts on what it sees."""
        seen = self.model.adjoint(self.model.data)
        strength = [np.linalg.norm(f(seen)) for f in (self.model.forward, self.model.rough)]
        return (strength[0] / max(strength[1], 1e-300)) ** 2 * np.geomspace(1e-6, 1e4, 31)

    def residual(self, parameter: Any) -> np.ndarray:
        """`|A u - y|^2`, for one weight or many."""
        return self._each(parameter, lambda u: self.model.data - self.model.forward(u))

    def roughness(self, parameter: Any) -> np.ndarray:
        """`|L u|^2`, for one weight or many."""
        return self._each(parameter, self.model.rough)

    def solve(self, parameter: float) -> np.ndarray:
        """The minimum for a weight, in coordinates where the penalty is diagonal.

        **Arguments:**

        - `parameter`: `lambda`.
        """
        from scipy.sparse import linalg

        model, root = self.model, np.sqrt(parameter)
        scale = np.sqrt(self.strength + parameter * self.waves.weights)

        def forward(z):
            v = self.waves.field(z / scale)
            return np.concatenate([model.forward(v), root * model.rough(v)])

        def adjoint(w):
            back = model.adjoint(w[: self.count]) + root * model.rough_adjoint(w[self.count :])
            return self.waves.parts(back) / scale

        shape = (self.count + len(self.pull), len(self.step))
        stack = linalg.LinearOperator(shape, matvec=forward, rmatvec=adjoint, dtype=float)  # pyright: ignore
        data = np.concatenate([model.data, root * self.pull])
        options: dict[str, Any] = {"atol": _LSQR, "btol": _LSQR, "iter_lim": self.iterations}
        found = linalg.lsqr(stack, data, x0=self.waves.parts(self.step) * scale, **options)
        self.step, self.finished = self.waves.field(found[0] / scale), found[1] != 7
        return self.step

    def _each(self, parameter: Any, vector: Callable) -> np.ndarray:
        flat = np.ravel(np.asarray(parameter, float))
        found = [np.sum(vector(self.solve(p)) ** 2) for p in flat]
        return np.asarray(found).reshape(np.shape(parameter))
