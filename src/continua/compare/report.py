"""One self-contained page from the records of one or several runs, and nothing else."""

import html
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from continua.compare.analysis import Summary, number_text, seconds_text, summarise, verdict
from continua.compare.page import PAGE
from continua.compare.record import Record, read_records
from continua.compare.run import read_config, read_inputs
from continua.compare.score import main_metric
from continua.core.errors import InputError
from continua.core.pictures import draw
from continua.plot import data_uri, save_figure, training_curves, work_precision


def write_report(folders: Sequence[str | pathlib.Path], path: str | pathlib.Path) -> pathlib.Path:
    """Write the page of one or several run folders.

    **Arguments:**

    - `folders`: of runs (`solve`, `fit` or `compare`).
    - `path`: the HTML file.

    **Returns:** its path.

    **Raises:** `InputError` where a folder holds no finished run.
    """
    sections = [_section(pathlib.Path(folder)) for folder in folders]
    title = "Continua: " + ", ".join(dict.fromkeys(name for name, _ in sections))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(text for _, text in sections)
    temporary = path.with_suffix(".tmp")
    page = PAGE.replace("$TITLE", html.escape(title)).replace("$BODY", body)
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _section(folder: pathlib.Path) -> tuple[str, str]:
    config, records = read_config(folder), read_records(folder / "records.jsonl")
    if not records:
        raise InputError("the run has no records yet", where=str(folder), fix="resume it first")
    problem, _ = read_inputs(folder)
    metric = main_metric(problem)
    if not any(r.metric == metric for r in records):
        metric = next((r.metric for r in records if r.metric != "failure"), metric)
    summaries = summarise(records, metric)
    parts = [
        f"<section><h2>{html.escape(problem.title or problem.name)}</h2>",
        _equation(problem),
        _verdict(summaries, metric),
        _table(summaries, metric, problem),
        _recovered(records),
        _figures(folder, records, problem, metric),
        _costs(records, metric),
        _provenance(config, records, folder),
        "</section>",
    ]
    return problem.title or problem.name, "\n".join(parts)


def _equation(problem) -> str:
    lines = []
    if getattr(problem, "equation", None) is not None:
        lines = [html.escape(text) for text in problem.equation.expressions]
    values = ", ".join(f"{k} = {v:.6g}" for k, v in getattr(problem, "parameters", {}).items())
    unknown = ", ".join(getattr(problem, "unknown_parameters", {}))
    rows = "".join(f"<code>{line}</code><br>" for line in lines)
    if values:
        rows += f"<small>{html.escape(values)}</small><br>"
    if unknown:
        rows += f"<small>to be recovered: {html.escape(unknown)}</small><br>"
    notes = html.escape(getattr(problem, "notes", "") or "")
    return f"<p>{rows}<small>{notes}</small></p>"


def _verdict(summaries: Sequence[Summary], metric: str) -> str:
    first, *others = verdict(summaries, metric)
    rest = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in others)
    return f'<div class="verdict"><p>{html.escape(first)}</p><ul>{rest}</ul></div>'


def _number(value: float | int, text: str | None = None) -> str:
    """A cell that sorts by its value."""
    shown = html.escape(text if text is not None else f"{value:.3g}")
    key = f"{value:.17g}" if math.isfinite(value) else ("1e308" if value > 0 else "1e309")
    return f'<td data-sort="{key}">{shown}</td>'


def _seconds(value: float) -> str:
    return _number(value, seconds_text(value))


_HEAD = (
    "method",
    "kind",
    "error (median [range])",
    "first solution",
    "one more solve",
    "error-matched classical solve",
    "classical error in equal time",
    "breakeven (solves)",
    "seeds",
)


def _table(summaries: Sequence[Summary], metric: str, problem) -> str:
    rows = []
    for s in summaries:
        cells = [f"<td>{html.escape(s.method)}</td><td>{s.kind}</td>"]
        if s.error is None or s.seconds_total is None or s.seconds_run is None:
            cells.append(_number(math.inf, f"failed: {s.message[:160]}") + "<td></td>" * 5)
        else:
            cells.append(_number(s.error.median, str(s.error)))
            cells.append(_seconds(s.seconds_total.median) + _seconds(s.seconds_run.median))
            cells.append(_classical(s))
        cells.append(_number(s.seeds, f"{s.seeds - s.failures} of {s.seeds}"))
        rows.append("<tr>" + "".join(cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    caption = f"Error: {metric.replace('_', ' ')}. Click a heading to sort."
    return (
        f'<table class="sortable"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _classical(s: Summary) -> str:
    matched = (
        "<td></td>"
        if s.matched is None
        else _number(
            s.matched.seconds_run, f"{s.matched.method}, {seconds_text(s.matched.seconds_run)}"
        )
    )
    equal = (
        "<td></td>"
        if s.equal_time is None
        else _number(s.equal_time.value, number_text(s.equal_time.value))
    )
    if math.isnan(s.breakeven):
        return matched + equal + "<td></td>"
    text = "never" if math.isinf(s.breakeven) else f"{s.breakeven:.0f}"
    return matched + equal + _number(s.breakeven, text)


def _recovered(records: Sequence[Record]) -> str:
    rows = []
    for r in records:
        if r.metric.startswith("parameter ") and not r.setting:
            name = r.metric.removeprefix("parameter ")
            std = next(
                (
                    d.value
                    for d in records
                    if (d.method, d.seed, d.setting) == (r.method, r.seed, r.setting)
                    and d.metric == f"deviation {name}"
                ),
                math.nan,
            )
            deviation = "" if math.isnan(std) else f"{std:.2g}"
            rows.append(
                f"<tr><td>{html.escape(r.method)}</td>{_number(r.seed, str(r.seed))}"
                f"<td>{html.escape(name)}</td>{_number(r.value, f'{r.value:.6g}')}"
                f"{_number(std, deviation)}</tr>"
            )
    if not rows:
        return ""
    head = "".join(f"<th>{n}</th>" for n in ("method", "seed", "parameter", "value", "deviation"))
    return (
        "<details><summary>Recovered parameters and terms</summary>"
        f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></details>"
    )


def _figures(folder: pathlib.Path, records, problem, metric: str) -> str:
    rows = [r.row() for r in records]
    pictures = []
    if any(r["kind"] == "classical" and r["metric"] == metric for r in rows):
        pictures.append(("Error against cost", "work_precision", work_precision(rows, metric)))
    pictures += _solutions(folder, problem)
    curves = _training(folder)
    if curves:
        pictures.append(("Training", "training", training_curves(curves)))
    text = []
    for title, name, figure in pictures:
        save_figure(figure, folder / "plots" / f"{name}.png")
        text.append(
            f'<figure><img alt="{html.escape(title)}" src="{data_uri(figure)}">'
            f"<figcaption>{html.escape(title)}</figcaption></figure>"
        )
    return "\n".join(text)


def _case_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The run itself, and the cases of a comparison that belong to it."""
    listed = folder / "cases.json"
    found = [folder]
    if listed.exists():
        found += [folder / name for name in json.loads(listed.read_text())]
    return found


def _solutions(folder: pathlib.Path, problem) -> list[tuple[str, str, Any]]:
    """A picture of the first solution of each method, beside reference or data."""
    import xarray

    reference = _reference(folder, problem)
    pictures, seen = [], set()
    for case in _case_folders(folder):
        path = case / "solution.nc"
        if not path.exists():
            continue
        with xarray.open_dataset(path, engine="h5netcdf") as file:
            dataset = file.load()
        method = str(dataset.attrs.get("method", "solution"))
        if method in seen or method in ("Mean", "Persistence"):
            continue
        seen.add(method)
        figure = draw(dataset, reference, getattr(problem, "split", None))
        pictures.append((method, f"solution_{method}", figure))
    return pictures


def _reference(folder: pathlib.Path, problem):
    import numpy as np
    import xarray

    path = folder / "reference.nc"
    if path.exists():
        with xarray.open_dataset(path, engine="h5netcdf") as file:
            return file.load()
    if problem.kind == "video":
        return problem.truth()
    if problem.kind != "series":
        return None
    kind = {"method": "data"}
    if problem.task in ("classify", "regress"):
        shown = list(problem.tested or problem.learned)
        targets = np.array([problem.targets[i] for i in shown])
        truths = {n: (targets == n).astype(float) for n in problem.classes} or {"target": targets}
        variables = {name: (("series",), values) for name, values in truths.items()}
        return xarray.Dataset(variables, coords={"series": np.array(shown, float)}, attrs=kind)
    if problem.task == "generate":
        parts = [_as_dataset(s, problem) for s in problem.held_out() or problem.training()]
        return xarray.concat(parts, "series", join="outer").assign_attrs(kind)
    data = _as_dataset(problem.series[0], problem).assign_attrs(kind)
    return data if len(problem.series) == 1 else data.expand_dims("series")


def _as_dataset(series, problem):
    import numpy as np
    import xarray

    columns = zip(problem.variables, np.asarray(series.y).T, strict=True)
    variables = {name: (("t",), column) for name, column in columns}
    return xarray.Dataset(variables, coords={"t": np.asarray(series.t)})


def _training(folder: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for case in _case_folders(folder):
        path = case / "metrics.jsonl"
        if not path.exists():
            continue
        rows = [json.loads(line) for line in path.read_text().splitlines() if line]
        if rows:
            label = "-".join(case.name.split("-")[:2]) if case != folder else "training"
            curves[label] = rows
    return curves


_COSTS = (
    "seconds_data",
    "seconds_compile",
    "seconds_tune",
    "seconds_train",
    "seconds_run",
    "seconds_total",
)


def _costs(records: Sequence[Record], metric: str) -> str:
    rows = []
    for r in records:
        if r.metric != metric:
            continue
        cells = "".join(_seconds(getattr(r, name)) for name in _COSTS)
        rows.append(
            f"<tr><td>{html.escape(r.method)}</td><td>{html.escape(r.setting)}</td>"
            f"{_number(r.seed, str(r.seed))}{_number(r.value, number_text(r.value))}{cells}"
            f"{_number(r.evaluations, str(r.evaluations))}"
            f"{_number(r.parameters, str(r.parameters))}"
            f"{_number(r.peak_memory, f'{r.peak_memory / 2**20:.0f} MiB')}</tr>"
        )
    names = ("method", "setting", "seed", "error", "data", "compile", "tuning", "training")
    names += ("one solve", "total", "evaluations", "parameters", "peak memory")
    head = "".join(f"<th>{n}</th>" for n in names)
    return (
        "<details><summary>Costs of every case</summary>"
        f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></details>"
    )


def _provenance(config: dict[str, Any], records: Sequence[Record], folder: pathlib.Path) -> str:
    evidence = ""
    path = folder / "reference.nc"
    if path.exists():
        import xarray

        with xarray.open_dataset(path, engine="h5netcdf") as file:
            evidence = f"Reference: {file.attrs['evidence']} (error {file.attrs['error']:.1e}). "
    first = records[0]
    digests = sorted({r.digest for r in records if r.digest})
    text = (
        f"{evidence}Precision {first.precision}. {first.versions}. {first.machine}. "
        f"Cases: {', '.join(digests)}."
    )
    settings = html.escape(json.dumps(config, indent=1))
    return (
        f"<details><summary>Reference, versions and settings</summary><p>{html.escape(text)}</p>"
        f"<pre>{settings}</pre></details>"
    )
