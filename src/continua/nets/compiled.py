"""Compiled calls of models."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax


def compiled(model: Any, call: Callable | None = None) -> Callable:
    """A function of inputs alone that runs a model as one compiled program.

    **Arguments:**

    - `model`: a tree; what in it is no array is part of the program.
    - `call`: `(model, *inputs)` to outputs; by default the model is called.
    """
    call = call or (lambda model, *inputs: model(*inputs))
    arrays, rest = eqx.partition(model, eqx.is_array)
    program = jax.jit(lambda arrays, *inputs: call(eqx.combine(arrays, rest), *inputs))
    return functools.partial(program, arrays)
