r"""A deep network over the rows of a series, made of linear equations.

    x = W u + b;   h = S(norm(x)),   g = gelu(h),   x <- x + P g * sigmoid(Q g),

`S` a layer of `continua.nets.state_space`, once a block. Everything but `S` looks at one row.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.core.errors import InputError, suggest
from continua.nets.linear import Linear
from continua.nets.state_space import LSSL, S4D, S5, AbstractStateSpace

LAYERS: dict[str, Any] = {"s5": S5, "s4d": S4D, "lssl": LSSL}


class RowNorm(eqx.Module):
    """Features of each row to mean 0 and variance 1, then scaled and shifted.

    **Arguments:**

    - `size`: features.

    **Reference:** ba2016layer
    """

    scale: Float[Array, " H"]
    shift: Float[Array, " H"]

    def __init__(self, size: int):
        self.scale, self.shift = jnp.ones(size), jnp.zeros(size)

    def __call__(self, x: Float[Array, "H T"]) -> Float[Array, "H T"]:
        centred = x - jnp.mean(x, axis=0)
        scaled = centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=0) + 1e-5)
        return self.scale[:, None] * scaled + self.shift[:, None]


class StateSpaceBlock(eqx.Module):
    """Norm, linear equation, GELU, gated linear map, and what came in added.

    **Arguments:**

    - `layer`: the linear equation.
    - `size`: features.
    - `norm`: whether there is one.

    **Reference:** gu2022parameterization
    """

    norm: RowNorm | None
    layer: AbstractStateSpace
    gate: Linear

    def __init__(self, layer: AbstractStateSpace, size: int, *, norm: bool = True, key):
        self.norm = RowNorm(size) if norm else None
        self.layer = layer
        self.gate = Linear(size, 2 * size, uniform=True, key=key)

    def __call__(
        self, x: Float[Array, "H T"], steps: Float[Array, " T"] | None, mode: str, rate=1.0
    ) -> Float[Array, "H T"]:
        normed = x if self.norm is None else self.norm(x)
        return x + self.mixed(self.layer(normed, steps, mode=mode, rate=rate))

    def mixed(self, h: Float[Array, "H *T"]) -> Float[Array, "H *T"]:
        """The gated map of the layer's output.

        **Arguments:**

        - `h`: of one row or of all.
        """
        value, gate = jnp.split(self.gate(jax.nn.gelu(h)), 2)
        return value * jax.nn.sigmoid(gate)


class SequenceModel(eqx.Module):
    """From rows of `in_size` features to rows of `width` features.

    **Arguments:**

    - `in_size`, `width`: features of the rows before, and of all layers, 64.
    - `depth`: blocks, 4.
    - `states`: of a layer, 64.
    - `layer`: `"s5"`, `"s4d"` or `"lssl"`.
    - `norm`: whether the features of a row are normed in every block.
    - `dt`: range of the steps of a row, `(0.001, 0.1)`: how far back it remembers is
      between `1 / dt` rows.
    - `mode`: `"convolution"`, `"scan"`, `"recurrence"`, or `"auto"`, the one
      that `fastest` tells.

    **Raises:** `InputError` for unknown names.

    **Reference:** gu2022parameterization
    """

    encoder: Linear
    blocks: tuple[StateSpaceBlock, ...]
    layer: str = eqx.field(static=True)
    mode: str = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        *,
        width: int = 64,
        depth: int = 4,
        states: int = 64,
        layer: str = "s5",
        norm: bool = True,
        dt: tuple[float, float] = (0.001, 0.1),
        mode: str = "auto",
        key,
    ):
        modes = ("auto", "convolution", "scan", "recurrence")
        for value, known, where in ((layer, LAYERS, "layer"), (mode, modes, "mode")):
            if value not in known:
                raise InputError(
                    f"unknown {where} '{value}'",
                    where=f"SequenceModel.{where}",
                    fix=suggest(value, tuple(known)),
                )
        first, *keys = jax.random.split(key, 1 + 2 * depth)
        self.encoder = Linear(in_size, width, uniform=True, key=first)
        make = LAYERS[layer]
        self.blocks = tuple(
            StateSpaceBlock(make(width, states=states, dt=dt, key=a), width, norm=norm, key=b)
            for a, b in zip(keys[::2], keys[1::2], strict=True)
        )
        self.layer, self.mode = layer, mode

    def __call__(
        self, u: Float[Array, "C T"], steps: Float[Array, " T"] | None = None, *, rate=1.0
    ) -> Float[Array, "width T"]:
        """Rows of features, each of what came before it.

        **Arguments:**

        - `u`: the rows.
        - `steps`: how long every row lasts, in units of the common row; 1 each.
        - `rate`: multiplies all steps.
        """
        x, mode = self.encoder(u), self.mode
        if mode == "auto":
            mode = fastest(self.layer, even=steps is None)
        for block in self.blocks:
            x = block(x, steps, mode, rate)
        return x

    def start(self) -> tuple:
        """The states before the first row."""
        return tuple(block.layer.start() for block in self.blocks)

    def step(self, states: tuple, u: Float[Array, " C"], rate=1.0) -> tuple:
        """The states after one more row, and its features.

        **Arguments:**

        - `states`: from `start` or the last step.
        - `u`: the row.
        - `rate`: how long it lasts.
        """
        x, after = self.encoder(u), []
        for block, state in zip(self.blocks, states, strict=True):
            normed = x if block.norm is None else block.norm(x[:, None])[:, 0]
            state, h = block.layer.step(state, normed, rate)
            x = x + block.mixed(h)
            after.append(state)
        return tuple(after), x


# By the seconds of value and gradient of one layer (width 32, 64 states, 1,000 to 64,000 rows)
# in the record of `continua bench state_space`. "lssl" was not timed on uneven rows: by scan it
# keeps a matrix a row.
_EVEN = {"s5": "scan", "s4d": "convolution", "lssl": "convolution"}
_UNEVEN = {"s5": "scan", "s4d": "recurrence", "lssl": "recurrence"}


def fastest(layer: str, *, even: bool, platform: str | None = None) -> str:
    """The mode that took the least time for a step of training.

    **Arguments:**

    - `layer`: as `SequenceModel`.
    - `even`: whether all rows last equally long.
    - `platform`: `"cpu"` or another, where a scan of diagonal equations is taken for its
      few rounds; that of the process by default.
    """
    if even:
        return _EVEN[layer]
    platform = jax.default_backend() if platform is None else platform
    return _UNEVEN[layer] if platform == "cpu" or layer == "lssl" else "scan"
