"""Methods whose unknown is the solution field of a given equation."""

from continua.methods.fields.pinn import PINN, Gated, Perceptron, Pirate
from continua.methods.fields.sampling import Adaptive, Collocation
from continua.methods.fields.weighting import GradientNorm, TangentKernel, Uniform

__all__ = [
    "PINN",
    "Adaptive",
    "Collocation",
    "Gated",
    "GradientNorm",
    "Perceptron",
    "Pirate",
    "TangentKernel",
    "Uniform",
]
