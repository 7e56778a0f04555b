r"""Exact solutions that take more than a formula."""

import numpy as np

_LEVELS = 45.0  # logarithm of what is neglected beside the largest term
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
        weight = np.exp(weight - weight.max(axis=1, keepdims=True))
        values[part] = -(np.sin(y) * weight).sum(axis=1) / weight.sum(axis=1)
    return values.reshape(1, *t.shape)
