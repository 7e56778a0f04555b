"""Precision of a run: set for a block, recorded with every result, never globally."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from continua.core.errors import InputError, suggest

PRECISIONS = {"float64": jnp.float64, "float32": jnp.float32}


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Run a block in `"float64"` or `"float32"`, matrix products at full precision.

    **Raises:** `InputError` for another name.
    """
    if name not in PRECISIONS:
        raise InputError(
            f"unknown precision '{name}'",
            where="precision",
            fix=suggest(name, PRECISIONS),
        )
    with (
        jax.enable_x64(name == "float64"),
        jax.default_matmul_precision("highest"),
    ):
        yield


def current_precision() -> str:
    """The name of the precision that new arrays are made in now."""
    return str(jnp.zeros(()).dtype)
