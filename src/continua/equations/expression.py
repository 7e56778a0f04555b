"""Text of conditions as JAX functions of a point."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import sympy
from jaxtyping import Array, Float

from continua.equations.compile import fold_numbers
from continua.equations.parse import Scope, coordinate_symbol, parameter_symbol, parse_expression


@dataclasses.dataclass(frozen=True)
class Expression:
    """A formula in coordinates and parameters; a value that a file can hold.

    **Arguments:**

    - `text`: in the grammar of `equations.parse`.
    - `coordinates`, `parameters`: the names that it may use.
    """

    text: str
    coordinates: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    def __call__(
        self, point: Float[Array, " d"], parameters: Mapping[str, Any]
    ) -> Float[Array, ""]:
        function = _compiled(self.text, self.coordinates, self.parameters)
        value = function(
            *(point[i] for i in range(len(self.coordinates))),
            *(parameters[name] for name in self.parameters),
        )
        return jnp.asarray(value, point.dtype)


@functools.lru_cache(maxsize=512)
def _compiled(text: str, coordinates: tuple[str, ...], parameters: tuple[str, ...]):
    scope = Scope(coordinates, (), parameters)
    arguments = [
        *map(coordinate_symbol, coordinates),
        *map(parameter_symbol, parameters),
    ]
    formula = fold_numbers(parse_expression(text, scope, where="condition"))
    # The tree comes from the checked grammar, never from text that SymPy would run.
    modules = [{"erf": jax.scipy.special.erf}, "jax"]
    return sympy.lambdify(arguments, formula, modules=modules)
