"""Metrics of arrays that no single error tells: attractors, laws of random paths, images."""

from continua.metrics.attractor import (
    correlation_dimension,
    lyapunov_spectrum,
    power_spectrum_distance,
    prediction_error,
    state_space_divergence,
)
from continua.metrics.images import peak_signal_to_noise
from continua.metrics.paths import (
    autocorrelation_distance,
    marginal_distance,
    signature_distance,
    signatures,
    two_sample_p_value,
)

__all__ = [
    "autocorrelation_distance",
    "correlation_dimension",
    "lyapunov_spectrum",
    "marginal_distance",
    "peak_signal_to_noise",
    "power_spectrum_distance",
    "prediction_error",
    "signature_distance",
    "signatures",
    "state_space_divergence",
    "two_sample_p_value",
]
