"""How far images are apart."""

import numpy as np

_LEAST = 1e-12  # of a mean squared error: 120 decibels


def peak_signal_to_noise(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The ratio of the peak, 1, to the error of each image, in decibels: `-10 log10 E (a - b)^2`.

    **Arguments:**

    - `found`, `exact`: images `(*n, H, W)`, brightness from 0 to 1.

    **Returns:** `(*n,)`, 120 at the most.
    """
    gap = np.asarray(found, float) - np.asarray(exact, float)
    return -10 * np.log10(np.maximum(np.mean(gap**2, axis=(-2, -1)), _LEAST))
