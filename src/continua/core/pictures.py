"""Pictures of solutions on grids, drawn from `xarray` datasets."""

from typing import Any

import numpy as np

_WIDTH = 6.4
_MAP, _DIFFERENCE = "viridis", "RdBu_r"


def draw(dataset: Any, reference: Any = None, held_out: float | None = None) -> Any:
    """One figure of all unknowns, beside a reference and their difference where given.

    Curves over one coordinate (with bands of two standard deviations where the dataset
    has `NAME_std`), maps over two, snapshots of maps over three.

    **Arguments:**

    - `dataset`: an `xarray.Dataset` with a variable for each unknown.
    - `reference`: another one on the same grid.
    - `held_out`: a time after which nothing was learned from, marked in curves.

    **Returns:** a matplotlib figure, which belongs to no window.
    """
    names = [n for n in dataset.data_vars if not str(n).endswith("_std")]
    dimensions = dataset[names[0]].dims
    if dimensions[0] in ("series", "sample"):
        dataset = dataset.isel({dimensions[0]: 0})
        reference = None if reference is None else reference.isel({dimensions[0]: 0})
        dimensions = dimensions[1:]
    if len(dimensions) == 1:
        return _curves(dataset, reference, names, dimensions[0], held_out)
    return _maps(dataset, reference, names, dimensions)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, np.ndarray]:
    # Without pyplot: no window, no state that would be shared between figures.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.atleast_2d(figure.subplots(rows, columns, squeeze=False))


def _curves(dataset, reference, names, axis, held_out):
    figure, panels = _figure(len(names), 1, _WIDTH, 2.2 * len(names) + 0.6)
    x = dataset[axis].values
    for panel, name in zip(panels[:, 0], names, strict=True):
        values = dataset[name].values
        (line,) = panel.plot(x, values, label=str(dataset.attrs.get("method", "solution")))
        if f"{name}_std" in dataset:
            width = 2 * dataset[f"{name}_std"].values
            panel.fill_between(x, values - width, values + width, alpha=0.2, color=line.get_color())
        if reference is not None:
            discrete = reference.attrs.get("method") == "data"
            style = {"ls": "", "marker": "o", "ms": 4} if discrete else {"ls": "--", "lw": 1}
            label = str(reference.attrs.get("method", "reference"))
            there = reference[axis].values
            panel.plot(there, reference[name].values, color="black", label=label, **style)
            if np.all(there == np.rint(there)):  # years, say
                panel.xaxis.get_major_locator().set_params(integer=True)
            finite = reference[name].values[np.isfinite(reference[name].values)]
            if finite.size:  # a band or a runaway forecast must not hide the data
                low, high = finite.min(), finite.max()
                room = high - low or 1.0
                panel.set_ylim(low - 0.5 * room, high + 0.7 * room)
        if held_out is not None and np.isfinite(held_out):
            panel.axvline(held_out, color="gray", lw=0.8, ls=":")
        panel.set_xlabel(str(axis))
        panel.set_ylabel(str(name))
    panels[0, 0].legend(fontsize=8)
    return figure


def _maps(dataset, reference, names, dimensions):
    if len(dimensions) == 3:  # time and two space axes: the last time is shown
        last = {dimensions[0]: -1}
        return _maps(
            dataset.isel(last),
            None if reference is None else reference.isel(last),
            names,
            dimensions[1:],
        )
    columns = 1 if reference is None else 3
    figure, panels = _figure(len(names), columns, 3.4 * columns + 0.6, 2.8 * len(names) + 0.2)
    for row, name in zip(panels, names, strict=True):
        values = dataset[name].values
        # The colours are the reference's, so that a bad solution looks bad.
        scale = values if reference is None else reference[name].values
        limits = {"vmin": np.nanmin(scale), "vmax": np.nanmax(scale)}
        label = str(dataset.attrs.get("method", "solution"))
        _map(figure, row[0], dataset, name, values, dimensions, label, cmap=_MAP, **limits)
        if reference is None:
            continue
        _map(
            figure,
            row[1],
            dataset,
            name,
            reference[name].values,
            dimensions,
            "reference",
            cmap=_MAP,
            **limits,
        )
        gap = values - reference[name].values
        size = np.nanmax(np.abs(gap), initial=0.0) or 1e-16
        _map(
            figure,
            row[2],
            dataset,
            name,
            gap,
            dimensions,
            "difference",
            cmap=_DIFFERENCE,
            vmin=-size,
            vmax=size,
        )
    return figure


def _map(figure, panel, dataset, name, values, dimensions, title, **style):
    first, second = (dataset[d].values for d in dimensions)
    image = panel.pcolormesh(first, second, values.T, shading="nearest", rasterized=True, **style)
    panel.set_xlabel(str(dimensions[0]))
    panel.set_ylabel(str(dimensions[1]))
    panel.set_title(f"{name}: {title}", fontsize=9)
    figure.colorbar(image, ax=panel)
