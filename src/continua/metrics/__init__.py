"""Metrics of arrays that no single error tells: laws of random paths."""

from continua.metrics.paths import (
    autocorrelation_distance,
    marginal_distance,
    signature_distance,
    signatures,
    two_sample_p_value,
)

__all__ = [
    "autocorrelation_distance",
    "marginal_distance",
    "signature_distance",
    "signatures",
    "two_sample_p_value",
]
