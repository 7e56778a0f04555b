r"""What rows before a row do to it: convolutions by transforms, and scans.

y_k = sum_{j <= k} K_j u_{k-j},   x_k = a_k x_{k-1} + b_k.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


def causal_convolution(
    kernel: Inexact[Array, "*h T"], u: Inexact[Array, "*h T"]
) -> Inexact[Array, "*h T"]:
    """`y_k = sum_{j <= k} K_j u_{k-j}` by transforms of at least twice the length.

    **Arguments:**

    - `kernel`, `u`: of one length, along the last axis.
    """
    length = u.shape[-1]
    padded = _smooth(2 * length - 1)
    if jnp.iscomplexobj(kernel) or jnp.iscomplexobj(u):
        product = jnp.fft.fft(kernel, padded) * jnp.fft.fft(u, padded)
        return jnp.fft.ifft(product)[..., :length]
    product = jnp.fft.rfft(kernel, padded) * jnp.fft.rfft(u, padded)
    return jnp.fft.irfft(product, padded)[..., :length]


def _smooth(n: int) -> int:
    """The least even number from `n` on with no factor but 2, 3 and 5."""
    n += n % 2
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2


def parallel_scan(
    factors: Inexact[Array, "T *n"], pushes: Inexact[Array, "T *n"]
) -> Inexact[Array, "T *n"]:
    """`x_k = a_k x_{k-1} + b_k` of numbers, in a logarithmic number of rounds.

    **Arguments:**

    - `factors`, `pushes`: `a` and `b`, rows first.

    **Reference:** smith2023simplified
    """

    def joined(one, two):
        return two[0] * one[0], two[0] * one[1] + two[1]

    return jax.lax.associative_scan(joined, (factors, pushes))[1]
