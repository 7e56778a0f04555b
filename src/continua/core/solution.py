"""What a solve returns: a function of the coordinates, and everything known about it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from continua.core.cost import Cost
from continua.core.errors import InputError
from continua.core.precision import precision
from continua.core.results import Result
from continua.core.serialise import load_tree, save_tree


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number recovered from data, with its standard deviation (`nan` if unknown)."""

    value: float
    std: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Solution:
    """A solution of a problem, callable at any point.

    `solution(t, x)` evaluates the unknowns; scalars and arrays broadcast. With one
    unknown the result has the broadcast shape, with more a leading axis of unknowns.

    **Arguments:**

    - `method`: the name of the method that made it.
    - `unknowns`, `coordinates`: names, in the order of the equation.
    - `grid`: the problem's evaluation grid, a 1-d array a coordinate.
    - `evaluator`: maps points `(n, d)` to values `(n, c)`.
    - `result`, `cost`: how the solve ended and what it cost.
    - `parameters`: unknown parameters recovered from data.
    - `equations`: the learned equations as text, where there are any.
    - `stats`: steps, rejections, points and the like.
    - `history`: rows of the training curve.
    - `spread`: standard deviations, same signature as `evaluator`.
    - `precision`: the precision in which it was made and is evaluated.
    """

    method: str
    unknowns: tuple[str, ...]
    coordinates: tuple[str, ...]
    grid: Mapping[str, np.ndarray]
    evaluator: Callable[[Any], Any]
    result: Result = Result()
    cost: Cost = Cost()
    parameters: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    equations: tuple[str, ...] = ()
    stats: Mapping[str, float] = dataclasses.field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    spread: Callable[[Any], Any] | None = None
    precision: str = "float64"

    def __call__(self, *coordinates) -> np.ndarray:
        """The unknowns at points given by one array a coordinate (they broadcast).

        **Raises:** `InputError` for a wrong number of coordinates.
        """
        values = self.values(*coordinates)
        return values[0, ...] if len(self.unknowns) == 1 else values

    def values(self, *coordinates) -> np.ndarray:
        """As a call, always with a leading axis of unknowns: `(c, *shape)`."""
        return self._evaluate(self.evaluator, coordinates)

    def deviation(self, *coordinates) -> np.ndarray:
        """Standard deviations `(c, *shape)`.

        **Raises:** `InputError` where the method gives no uncertainty.
        """
        if self.spread is None:
            raise InputError(
                f"{self.method} gives no uncertainty",
                where="solution.deviation",
                fix="use a method with an ensemble or a posterior",
            )
        return self._evaluate(self.spread, coordinates)

    def _evaluate(self, evaluator, coordinates) -> np.ndarray:
        if len(coordinates) != len(self.coordinates):
            raise InputError(
                f"got {len(coordinates)} coordinates, expected "
                f"{len(self.coordinates)} ({', '.join(self.coordinates)})",
                where="solution(...)",
                fix="give one scalar or array for each",
            )
        arrays = np.broadcast_arrays(*(np.asarray(c, float) for c in coordinates))
        points = np.stack([a.reshape(-1) for a in arrays], axis=-1)
        with precision(self.precision):
            values = np.asarray(evaluator(points), float)
        return np.moveaxis(values, -1, 0).reshape(values.shape[-1], *arrays[0].shape)

    def at_grid(self, **grid):
        """The solution as an `xarray.Dataset` on a product grid.

        **Arguments:** one 1-d array a coordinate, the problem's grid by default.

        **Returns:** a Dataset with a variable for each unknown (and `NAME_std` where
        the method gives uncertainty), coordinates by their names in the problem.
        """
        import xarray

        axes = {c: np.atleast_1d(np.asarray(grid.get(c, self.grid[c]))) for c in self.coordinates}
        mesh = np.meshgrid(*axes.values(), indexing="ij")
        values = self.values(*mesh)
        variables = {u: (self.coordinates, v) for u, v in zip(self.unknowns, values, strict=True)}
        if self.spread is not None:
            for u, v in zip(self.unknowns, self.deviation(*mesh), strict=True):
                variables[f"{u}_std"] = (self.coordinates, v)
        return xarray.Dataset(variables, coords=axes, attrs={"method": self.method})

    def error(self, reference, **grid) -> dict[str, float]:
        """Errors against a reference on the problem's grid or a given one.

        `relative_l2 = |u - u_ref|_2 / |u_ref|_2` over all unknowns and points (the
        absolute norm where the reference vanishes), `max` is the largest absolute
        difference, `relative_l2_final` is taken at the last time, and
        `relative_l2_NAME` for each unknown of a system.

        **Arguments:**

        - `reference`: a `Reference` or another `Solution`, callable in the same way.
        - `grid`: one 1-d array a coordinate, to replace the problem's.
        """
        axes = [np.atleast_1d(grid.get(c, self.grid[c])) for c in self.coordinates]
        mesh = np.meshgrid(*axes, indexing="ij")
        return error_metrics(self.values(*mesh), reference.values(*mesh), self.unknowns)

    def save(self, folder: str | pathlib.Path) -> None:
        """Write the solution into a folder: `solution.json`, `solution.npz` (what the
        evaluator is made of) and `solution.nc` (values on the problem's grid)."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_tree(folder / "solution", self)
        self.at_grid().to_netcdf(folder / "solution.nc", engine="h5netcdf")

    @staticmethod
    def load(folder: str | pathlib.Path) -> "Solution":
        """Read back what `save` wrote.

        **Raises:** `InputError` where files are missing or damaged.
        """
        tree = load_tree(pathlib.Path(folder) / "solution")
        if not isinstance(tree, Solution):
            raise InputError("holds no solution", where=str(folder))
        return tree

    def plot(self, reference=None, path: str | pathlib.Path | None = None):
        """Draw the solution (with its difference to a reference, where given).

        **Returns:** the matplotlib figure; written to `path` where given.
        """
        from continua.core.pictures import draw

        figure = draw(
            self.at_grid(), None if reference is None else reference_grid(self, reference)
        )
        if path is not None:
            figure.savefig(path, dpi=150, bbox_inches="tight")
        return figure


def error_metrics(values, exact, unknowns: tuple[str, ...]) -> dict[str, float]:
    """The errors of `Solution.error` from arrays `(c, t, ...)`; NaN gives infinity.

    Points where neither has a value do not count: they lie outside of a region.
    """
    outside = np.isnan(values).all(axis=0) & np.isnan(exact).all(axis=0)
    if outside.all():
        raise InputError("there is no point at which both have values", where="solution.error")
    values, exact = (np.where(outside, 0.0, a) for a in (values, exact))

    def relative(a, b) -> float:
        difference, size = np.linalg.norm(np.ravel(a - b)), np.linalg.norm(np.ravel(b))
        error = difference / size if size > 0 else difference
        return float(error) if np.isfinite(error) else float("inf")

    worst = np.max(np.abs(values - exact))
    metrics = {
        "relative_l2": relative(values, exact),
        "max": float(worst) if np.isfinite(worst) else float("inf"),
        "relative_l2_final": relative(values[:, -1], exact[:, -1]),
    }
    if len(unknowns) > 1:
        for i, name in enumerate(unknowns):
            metrics[f"relative_l2_{name}"] = relative(values[i], exact[i])
    return metrics


def reference_grid(solution: Solution, reference):
    """A reference on a solution's grid, as an `xarray.Dataset`."""
    import xarray

    mesh = np.meshgrid(*(solution.grid[c] for c in solution.coordinates), indexing="ij")
    values = reference.values(*mesh)
    return xarray.Dataset(
        {u: (solution.coordinates, v) for u, v in zip(solution.unknowns, values, strict=True)},
        coords={c: solution.grid[c] for c in solution.coordinates},
        attrs={"method": "reference"},
    )
