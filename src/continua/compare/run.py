"""The run folder: its layout is a promise.

`config.toml` (the resolved settings), `records.jsonl`, `solution.nc`, `metrics.jsonl`,
`checkpoints/`, `plots/`, `report.html`; and what `resume` and `report` need: `problem.json`
and `methods.json` with their arrays, `reference.nc`; of a comparison `cases/`, and `data/`
for training data that its cases share.
"""

import pathlib
import shutil
import tomllib
from typing import Any

import numpy as np

from continua.compare.record import machine, versions
from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree


def write_config(folder: pathlib.Path, **settings: Any) -> None:
    """Write `config.toml`: the settings, versions and machine; `None` is left out.

    **Arguments:**

    - `folder`: the run folder.
    - `settings`: text, numbers, booleans and lists of text.
    """
    rows = {**settings, "versions": versions(), "machine": machine()}
    lines = [f"{name} = {_toml(value)}" for name, value in rows.items() if value is not None]
    temporary = folder / "config.toml.tmp"
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(folder / "config.toml")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[\n" + "".join(f"  {_toml(v)},\n" for v in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'


def read_config(folder: str | pathlib.Path) -> dict[str, Any]:
    """The settings of a run.

    **Raises:** `InputError` where there is no run, or its settings are damaged.
    """
    path = pathlib.Path(folder) / "config.toml"
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(
            "there is no run here (no config.toml)",
            where=str(folder),
            fix="give the folder that was named by --out",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"damaged settings ({error})", where=str(path)) from error


def claim_folder(folder: pathlib.Path, *, overwrite: bool = False) -> None:
    """Make a run folder, and see that it is free and can be written.

    **Arguments:**

    - `folder`: the run folder.
    - `overwrite`: whether an earlier run there is thrown away.

    **Raises:** `InputError` where it cannot be written, or holds a run, finished or
    interrupted.
    """
    make_writable(folder)
    if not (folder / "config.toml").exists():
        return
    if overwrite:
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
        for name in ("checkpoints", "plots", "cases", "data"):
            shutil.rmtree(folder / name, ignore_errors=True)
        return
    finished = (folder / "records.jsonl").exists()
    raise InputError(
        f"the folder holds {'a finished' if finished else 'an interrupted'} run",
        where=str(folder),
        fix="choose another folder or add --overwrite"
        if finished
        else f"go on with `continua resume {folder}`, or add --overwrite",
    )


RUN_FILES = (
    "config.toml",
    "records.jsonl",
    "metrics.jsonl",
    "solution.nc",
    "solution.json",
    "solution.npz",
    "problem.json",
    "problem.npz",
    "methods.json",
    "methods.npz",
    "reference.nc",
    "report.html",
    "cases.json",
)


def make_writable(folder: pathlib.Path) -> None:
    """Make a folder and see that files can be put there.

    **Raises:** `InputError` where they cannot.
    """
    probe = folder / ".continua-write"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write into the run folder ({error.strerror})",
            where=str(folder),
            fix="choose another folder with --out",
        ) from error


def write_inputs(folder: pathlib.Path, problem: Any, *methods: Any) -> None:
    """Keep the problem and the methods, for `resume` and `report`.

    **Arguments:**

    - `folder`: the run folder.
    - `problem`, `methods`: values.
    """
    save_tree(folder / "problem", problem)
    save_tree(folder / "methods", list(methods))


def read_inputs(folder: str | pathlib.Path) -> tuple[Any, list[Any]]:
    """The problem and the methods of a run."""
    folder = pathlib.Path(folder)
    return load_tree(folder / "problem"), load_tree(folder / "methods")


def write_reference(folder: pathlib.Path, problem: Any, reference: Any) -> None:
    """Write the values of a reference on the problem's grid to `reference.nc`.

    **Arguments:**

    - `folder`: the run folder.
    - `problem`: an `EquationProblem`.
    - `reference`: with `values`, `error` and `evidence`.
    """
    import xarray

    grid = problem.evaluation_grid()
    names = tuple(grid)
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    values = np.asarray(reference.values(*mesh))
    if problem.kind == "inverse":
        names_of = (problem.unknown,)
    else:
        stochastic = problem.kind == "stochastic"
        names_of = problem.quantities if stochastic else problem.equation.unknowns
    variables = zip(names_of, values, strict=True)
    dataset = xarray.Dataset(
        {u: (names, v) for u, v in variables},
        coords={c: np.asarray(grid[c]) for c in names},
        attrs={
            "method": "reference",
            "error": float(reference.error),
            "evidence": str(reference.evidence),
        },
    )
    dataset.to_netcdf(folder / "reference.nc", engine="h5netcdf")
