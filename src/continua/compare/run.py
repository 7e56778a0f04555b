"""The run folder: its layout is a promise.

`config.toml` (the resolved settings), `records.jsonl`, `solution.nc`, `metrics.jsonl`,
`checkpoints/`, `plots/`, `report.html`; and what `resume` and `report` need: `problem.json`
and `method.json` with their arrays, `reference.nc`, `cases/` of a comparison.
"""

import pathlib
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


def write_problem(folder: pathlib.Path, problem: Any, reference: Any = None) -> None:
    """Keep the problem, and the values of its reference on its grid.

    **Arguments:**

    - `folder`: the run folder.
    - `problem`: of any kind.
    - `reference`: a `StoredReference`, or `None`.
    """
    save_tree(folder / "problem", problem)
    if reference is None:
        return
    import xarray

    names, grid = tuple(problem.equation.coordinates), problem.evaluation_grid()
    dataset = xarray.Dataset(
        {
            u: (names, values)
            for u, values in zip(problem.equation.unknowns, reference.stored, strict=True)
        },
        coords={c: np.asarray(grid[c]) for c in names},
        attrs={"method": "reference", "error": reference.error, "evidence": reference.evidence},
    )
    dataset.to_netcdf(folder / "reference.nc", engine="h5netcdf")


def read_problem(folder: str | pathlib.Path) -> Any:
    """The problem of a run."""
    return load_tree(pathlib.Path(folder) / "problem")
