"""Pictures of solutions on grids, drawn from `xarray` datasets."""

from typing import Any

import numpy as np

_WIDTH = 6.4
_ROWS = 7  # panels of curves above each other, at the most
_SMALL = (4.8, 3.6)  # inches
_LINES = 40  # series in one panel, at the most
_APART = 100.0  # ratio of sizes above which curves do not share an axis
_MAP, _DIFFERENCE = "viridis", "RdBu_r"
_BESIDE = ("_std", "_paths")  # ends of the names of what is drawn with an unknown


def draw(dataset: Any, reference: Any = None, held_out: float | None = None) -> Any:
    """One figure of all unknowns, beside a reference and their difference where given.

    Curves over one coordinate (with bands of two standard deviations where the dataset
    has `NAME_std`, and thin lines where it has `NAME_paths`), maps over two; over three
    the first, the middle and the last map, beside a reference the last. Points without a
    value, as outside of a region, stay white. Of further coordinates the middle is shown.
    Answers for whole series, over their numbers: how often each class was taken for each, or
    a number against the true one. Several series of a reference are drawn all together,
    beside those of the dataset.

    **Arguments:**

    - `dataset`: an `xarray.Dataset` with a variable for each unknown.
    - `reference`: another one on the same grid.
    - `held_out`: a time after which nothing was learned from, marked in curves.

    **Returns:** a matplotlib figure, which belongs to no window.
    """
    names = _names(dataset)
    dimensions = dataset[names[0]].dims
    if dimensions == ("series",) and reference is not None:
        return _answers(dataset.sel(series=reference["series"]), reference, names)
    if reference is not None and reference.sizes.get("series", 1) > 1:
        return _laws(dataset, reference, names)
    if dimensions[0] in ("series", "sample", "video") and len(dimensions) > 1:
        dataset = dataset.isel({dimensions[0]: 0})
        reference = None if reference is None else reference.isel({dimensions[0]: 0})
        dimensions = dimensions[1:]
    while len(dimensions) > 3:
        dataset, reference = (d if d is None else _middle(d) for d in (dataset, reference))
        dimensions = dimensions[:-1]
    if len(dimensions) == 1:
        return _curves(dataset, reference, names, dimensions[0], held_out)
    return _maps(dataset, reference, names, dimensions)


def thumbnail(dataset: Any) -> Any:
    """One small panel of 4 by 3: what a solution looks like at a glance.

    All unknowns over one coordinate, each over its own size where these lie far apart;
    bodies `x1, y1, ...` by their orbits, and `x, y, z` by the plane of the first and last.
    Over more coordinates a map of the first unknown, at the last time.

    **Arguments:**

    - `dataset`: as of `draw`.

    **Returns:** a matplotlib figure, which belongs to no window.
    """
    names = _names(dataset)
    figure, panels = _figure(1, 1, *_SMALL)
    panel, dimensions = panels[0, 0], dataset[names[0]].dims
    if len(dimensions) == 1:
        orbits = _orbits(dataset, names)
        if orbits:
            _plane(panel, dataset, orbits)
        else:
            _together(panel, dataset, names, dimensions[0])
        return figure
    while len(dataset[names[0]].dims) > 3:
        dataset = _middle(dataset)
    dimensions, title = dataset[names[0]].dims, ""
    if len(dimensions) == 3:
        dataset, dimensions, title = _at(dataset, dimensions, -1)
    values = dataset[names[0]].values
    _map(figure, panel, dataset, names[0], values, dimensions, title, cmap=_MAP)
    return figure


def _label(dataset: Any, name: Any) -> str:
    """A name with its unit, where the dataset has one for it."""
    unit = dataset[name].attrs.get("units", "")
    return f"{name} ({unit})" if unit else str(name)


def _names(dataset: Any) -> list[str]:
    return [str(n) for n in dataset.data_vars if not str(n).endswith(_BESIDE)]


def _orbits(dataset: Any, names: list[str]) -> list[tuple[str, str]]:
    """The pairs of unknowns that are drawn against each other, none where time is better."""
    if any(f"{n}_std" in dataset for n in names):
        return []
    if names == ["x", "y", "z"]:
        return [("x", "z")]
    pairs = [(n, f"y{n[1:]}") for n in names if n.startswith("x")]
    return pairs if {n for pair in pairs for n in pair} == {*names} else []


def _plane(panel, dataset, orbits) -> None:
    for first, second in orbits:
        x, y = dataset[first].values, dataset[second].values
        (line,) = panel.plot(x, y, lw=1)
        panel.plot(x[-1:], y[-1:], marker="o", ms=4, color=line.get_color())
    panel.set_xlabel(orbits[0][0][0])
    panel.set_ylabel(orbits[0][1][0])
    if orbits[0][1].startswith("y"):  # places, not states
        panel.set_aspect("equal", adjustable="datalim")


def _together(panel, dataset, names, axis) -> None:
    x = dataset[axis].values
    sizes = [float(np.nanmax(np.abs(dataset[n].values))) or 1.0 for n in names]
    apart = max(sizes) > _APART * min(sizes)
    for name, size in zip(names, sizes, strict=True):
        scale = size if apart else 1.0
        label = f"{name} / {size:.2g}" if apart else _label(dataset, name)
        (line,) = panel.plot(x, dataset[name].values / scale, lw=1.2, label=label)
        _beside(panel, dataset, name, x, line.get_color(), scale)
    if np.all(x == np.rint(x)):  # years, say
        panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel(_label(dataset, axis))
    if len(names) == 1:
        panel.set_ylabel(_label(dataset, names[0]))
    else:
        panel.legend(fontsize=7, ncols=1 + (len(names) - 1) // 8)


def _beside(panel, dataset, name, x, colour, scale=1.0) -> None:
    """The band of two standard deviations and the paths of an unknown that has them."""
    if f"{name}_std" in dataset:
        middle, width = dataset[name].values / scale, 2 * dataset[f"{name}_std"].values / scale
        panel.fill_between(x, middle - width, middle + width, alpha=0.2, color=colour, lw=0)
    if f"{name}_paths" in dataset:
        paths = dataset[f"{name}_paths"].values / scale
        panel.plot(x, paths.T, color=colour, lw=0.5, alpha=0.5)


def _middle(dataset):
    """What is left in the middle of the last coordinate."""
    last = dataset[_names(dataset)[0]].dims[-1]
    return dataset.isel({last: dataset.sizes[last] // 2})


def _at(dataset, dimensions, index: int) -> tuple[Any, tuple, str]:
    """What is left at one value of the first coordinate, and that value as text."""
    first = dimensions[0]
    told = f"{first} = {float(dataset[first].values[index]):.3g}"
    return dataset.isel({first: index}), dimensions[1:], told


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, np.ndarray]:
    # Without pyplot: no window, no state that would be shared between figures.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.atleast_2d(figure.subplots(rows, columns, squeeze=False))


def _curves(dataset, reference, names, axis, held_out):
    columns = 1 + (len(names) - 1) // _ROWS
    rows = -(-len(names) // columns)
    figure, grid = _figure(rows, columns, _WIDTH * columns, 2.2 * rows + 0.6)
    panels = grid.T.reshape(-1)
    for panel in panels[len(names) :]:
        panel.remove()
    x = dataset[axis].values
    for panel, name in zip(panels, names, strict=False):
        values = dataset[name].values
        (line,) = panel.plot(x, values, label=str(dataset.attrs.get("method", "solution")))
        _beside(panel, dataset, name, x, line.get_color())
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
        panel.set_xlabel(_label(dataset, axis))
        panel.set_ylabel(_label(dataset, name))
    panels[0].legend(fontsize=8)
    return figure


def _answers(dataset, reference, names):
    """Classes of series, true and found, by their counts; numbers against each other."""
    figure, panels = _figure(1, 1, *_SMALL)
    panel, method = panels[0, 0], str(dataset.attrs.get("method", "solution"))
    if len(names) == 1:
        exact, found = reference[names[0]].values, dataset[names[0]].values
        deviation = dataset.get(f"{names[0]}_std")
        bars = None if deviation is None else 2 * deviation.values
        panel.errorbar(exact, found, yerr=bars, ls="", marker="o", ms=4, lw=0.8)
        panel.axline((exact.mean(), exact.mean()), slope=1, color="black", lw=0.8, ls="--")
        panel.set_xlabel(f"{_label(dataset, names[0])}, true")
        panel.set_ylabel(f"{_label(dataset, names[0])}, {method}")
        return figure
    exact, found = (np.stack([d[n].values for n in names]) for d in (reference, dataset))
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (exact.argmax(axis=0), found.argmax(axis=0)), 1)
    panel.imshow(counts, cmap="Blues", vmin=0)
    if len(names) <= _ROWS:
        for (i, j), count in np.ndenumerate(counts):
            colour = "white" if 2 * count > counts.max() else "black"
            panel.text(j, i, str(count), ha="center", va="center", color=colour)
    panel.set_xticks(range(len(names)), names, rotation=45 if len(names) > 4 else 0)
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel(f"{method}, most probable class")
    panel.set_ylabel("true class")
    return figure


def _laws(dataset, reference, names):
    """Series of the data and of the dataset, side by side on the same axes."""
    figure, panels = _figure(len(names), 2, _WIDTH + 1.0, 2.2 * len(names) + 0.6)
    for row, name in zip(panels, names, strict=True):
        for panel, source in zip(row, (reference, dataset), strict=True):
            time = source[name].dims[-1]
            for series in source[name].values[:_LINES]:
                there = np.isfinite(series)
                panel.plot(source[time].values[there], series[there], lw=0.6, alpha=0.6)
            panel.set_title(str(source.attrs.get("method", "solution")), fontsize=9)
            panel.set_xlabel(_label(dataset, time))
            panel.set_ylabel(_label(dataset, name))
        row[1].set_ylim(row[0].get_ylim())
    return figure


def _maps(dataset, reference, names, dimensions):
    if len(dimensions) == 3:
        if reference is None:
            return _snapshots(dataset, names, dimensions)
        other = _at(reference, dimensions, -1)[0]
        dataset, dimensions, _ = _at(dataset, dimensions, -1)
        return _maps(dataset, other, names, dimensions)
    columns = 1 if reference is None else 3
    figure, panels = _figure(len(names), columns, 3.4 * columns + 0.6, 2.8 * len(names) + 0.2)
    for row, name in zip(panels, names, strict=True):
        values = dataset[name].values
        # The colours are the reference's, so that a bad solution looks bad.
        limits = _limits(values if reference is None else reference[name].values)
        label = str(dataset.attrs.get("method", "solution"))
        _map(figure, row[0], dataset, name, values, dimensions, label, cmap=_MAP, **limits)
        if reference is None:
            continue
        exact = reference[name].values
        _map(figure, row[1], dataset, name, exact, dimensions, "reference", cmap=_MAP, **limits)
        gap = values - exact
        size = np.nanmax(np.abs(gap), initial=0.0) or 1e-16
        style = {"cmap": _DIFFERENCE, "vmin": -size, "vmax": size}
        _map(figure, row[2], dataset, name, gap, dimensions, "difference", **style)
    return figure


def _snapshots(dataset, names, dimensions):
    """The first, the middle and the last map of each unknown, in the same colours."""
    indices = sorted({0, dataset.sizes[dimensions[0]] // 2, dataset.sizes[dimensions[0]] - 1})
    columns = len(indices)
    figure, panels = _figure(len(names), columns, 3.4 * columns + 0.6, 2.8 * len(names) + 0.2)
    for row, name in zip(panels, names, strict=True):
        limits = _limits(dataset[name].values)
        for panel, index in zip(row, indices, strict=True):
            at, left, title = _at(dataset, dimensions, index)
            _map(figure, panel, at, name, at[name].values, left, title, cmap=_MAP, **limits)
    return figure


def _limits(values) -> dict[str, float]:
    finite = values[np.isfinite(values)]
    return {"vmin": finite.min(), "vmax": finite.max()} if finite.size else {}


def _map(figure, panel, dataset, name, values, dimensions, title, **style):
    first, second = (dataset[d].values for d in dimensions)
    image = panel.pcolormesh(first, second, values.T, shading="nearest", rasterized=True, **style)
    panel.set_xlabel(_label(dataset, dimensions[0]))
    panel.set_ylabel(_label(dataset, dimensions[1]))
    panel.set_title(f"{name}: {title}" if title else name, fontsize=9)
    figure.colorbar(image, ax=panel)
