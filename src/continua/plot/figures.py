"""Figures of comparisons, drawn from plain rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_COLUMNS = {"seconds": "seconds_run", "evaluations": "evaluations"}
_MARKERS = {"classical": "o", "learned": "*", "trivial": "x"}


def work_precision(rows: Sequence[Mapping[str, Any]], metric: str) -> Any:
    """Error against the seconds of a solve, and against evaluations.

    Classical methods are curves from cheap to dear. A learned method has two marks for
    each seed, joined by a line: one more solve (left), and everything from nothing to
    the first solution (right). Trivial predictors are lines across.

    **Arguments:**

    - `rows`: records as dictionaries, of one problem.
    - `metric`: the error to show.

    **Returns:** a matplotlib figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    good = [r for r in rows if r["metric"] == metric and _positive(r["value"])]
    for i, method in enumerate(dict.fromkeys(r["method"] for r in good)):
        mine = [r for r in good if r["method"] == method]
        _method(left, right, method, mine, f"C{i}")
    for panel, label in zip((left, right), _COLUMNS, strict=True):
        if any(r[_COLUMNS[label]] > 0 for r in good if r["kind"] != "trivial"):
            panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
    left.set_ylabel(metric.replace("_", " "))
    handles, labels = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    return figure


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def _method(left, right, method: str, rows, colour: str) -> None:
    kind = rows[0]["kind"]
    if kind == "trivial":
        for panel in (left, right):
            panel.axhline(rows[0]["value"], color="gray", ls=":", lw=1)
        left.plot([], [], color="gray", ls=":", label=f"{method} (trivial)")
        return
    for panel, column in zip((left, right), _COLUMNS.values(), strict=True):
        there = sorted((r for r in rows if r[column] > 0), key=lambda r: r[column])
        x, y = [r[column] for r in there], [r["value"] for r in there]
        line = "-" if kind == "classical" else ""
        size = 5 if kind == "classical" else 11
        panel.plot(x, y, ls=line, marker=_MARKERS[kind], ms=size, color=colour, label=method)
    if kind == "learned":
        for r in rows:
            ends = [max(r["seconds_run"], 1e-7), r["seconds_total"]]
            left.plot(ends, [r["value"]] * 2, color=colour, lw=1, alpha=0.6)
            left.plot(ends[1:], [r["value"]], marker="|", ms=11, color=colour)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """Loss against seconds of training.

    **Arguments:**

    - `curves`: for each label the rows of a `metrics.jsonl`.

    **Returns:** a matplotlib figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    panel = figure.subplots()
    for label, rows in curves.items():
        seconds = np.array([r["seconds"] for r in rows], float)
        loss = np.array([r["loss"] for r in rows], float)
        panel.plot(seconds, loss, label=label, lw=1.2)
    panel.set_yscale("log")
    panel.set_xlabel("seconds of training")
    panel.set_ylabel("loss")
    panel.grid(alpha=0.3)
    if curves:
        panel.legend(fontsize=8)
    return figure
