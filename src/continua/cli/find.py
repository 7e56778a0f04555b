"""A problem from what was typed: a name of the library, or a file."""

import pathlib
from typing import Any

from continua.core.errors import InputError, suggest
from continua.problems import PROBLEMS, get, load


def find(name: str) -> Any:
    """A problem of the library by its name, or from a file.

    **Arguments:**

    - `name`: a name of `PROBLEMS`, or a path that ends in .toml, .csv, .ts, .nc, .h5 or
      .hdf5, or the folder of a data set.

    **Raises:** `InputError` where it is neither, or the file is bad.
    """
    if name in PROBLEMS:
        return get(name)
    if pathlib.Path(name).suffix or pathlib.Path(name).exists():
        return load(name)
    raise InputError(
        f"unknown problem '{name}'",
        where="problem",
        fix=f"{suggest(name, PROBLEMS)} A file must end in .toml, .csv, .ts, .nc, .h5 or .hdf5",
    )
