r"""Exact solutions that take more than a formula."""

from collections.abc import Callable

import numpy as np

_LEVELS = 45.0  # logarithm of what is neglected beside the largest term
_CREEPING = 0.1  # viscosity from which on the transformed value hardly varies
_CHUNK = 4096  # points that are evaluated at once


def burgers(t: np.ndarray, x: np.ndarray, *, nu: float) -> np.ndarray:
    r"""Burgers' equation with `u(0, x) = -sin(pi x)`, by the Cole-Hopf transformation.

        u = -int sin(pi y) exp(-E) dz / int exp(-E) dz,
        y = x - sqrt(4 nu t) z,   E = z^2 + cos(pi y) / (2 pi nu),

    The integrands are entire and fall like `exp(-z^2)`, so that the trapezoidal rule
    converges faster than any exponential; with logarithms of the weights taken against
    the largest one nothing overflows, however small the viscosity.

    **Arguments:**

    - `t`, `x`: times from 0 on and places, of one shape.
    - `nu`: viscosity.

    **Returns:** `(1, *shape)`.

    **Reference:** cole1951quasilinear
    """
    return _cole_hopf(t, x, nu, lambda y, weight, _: -(np.sin(y) * weight).sum(1) / weight.sum(1))


def hamilton_jacobi(t: np.ndarray, x: np.ndarray, *, nu: float) -> np.ndarray:
    r"""`phi_t + phi_x^2/2 = nu phi_xx` with `phi(0, x) = cos(pi x) / pi`, by the same
    transformation.

        phi = -2 nu log(int exp(-E) dz / sqrt(pi)),   E as in `burgers`.

    **Arguments:**

    - `t`, `x`: times from 0 on and places, of one shape.
    - `nu`: viscosity.

    **Returns:** `(1, *shape)`.

    **Reference:** cole1951quasilinear
    """

    def value(y, weight, peak):
        if nu < _CREEPING:
            return -2 * nu * (peak + np.log(weight.sum(1) / np.sqrt(np.pi)))
        # The integral is almost sqrt(pi): what it differs by keeps its digits.
        excess = -weight * np.exp(peak)[:, None] * np.expm1(np.cos(y) / (2 * np.pi * nu))
        return -2 * nu * np.log1p(excess.sum(1) / np.sqrt(np.pi))

    return _cole_hopf(t, x, nu, value)


def _cole_hopf(t, x, nu: float, value: Callable) -> np.ndarray:
    """`value(pi y, weights, logarithm of the largest)` at points, `(1, *shape)`; what the
    weights leave out of `exp(-E) dz` is that largest one."""
    t, x = np.broadcast_arrays(np.asarray(t, float), np.asarray(x, float))
    flat_t, flat_x = t.reshape(-1), x.reshape(-1)
    values = np.empty(flat_t.shape)
    # Terms are smaller than exp(-_LEVELS) of the largest where z lies beyond this range;
    # the step resolves the narrowest peak, of curvature 2 + 2 pi t and less, and the sine.
    reach = np.sqrt(1 / (np.pi * nu) + _LEVELS)
    latest = max(float(flat_t.max(initial=0.0)), 1e-300)
    step = min(0.2 / np.sqrt(1 + np.pi * latest), 0.6 / (np.pi * np.sqrt(4 * nu * latest)))
    z = np.arange(-np.ceil(reach / step), np.ceil(reach / step) + 1) * step
    for begin in range(0, len(values), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        width = np.sqrt(4 * nu * flat_t[part])[:, None]
        y = np.pi * (flat_x[part, None] - width * z)
        weight = -(z**2) - np.cos(y) / (2 * np.pi * nu)
        peak = weight.max(axis=1)
        values[part] = value(y, step * np.exp(weight - peak[:, None]), peak)
    return values.reshape(1, *t.shape)
