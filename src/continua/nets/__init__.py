"""Networks: equinox modules of arrays and a key, for one sample each."""

from continua.nets.compiled import compiled
from continua.nets.embedding import Chain, FourierFeatures, PeriodicEmbedding, Rescale
from continua.nets.fixed import Fixed, count_parameters, trainable
from continua.nets.fno import FNO, grid_coordinates
from continua.nets.linear import FactorisedLinear, Linear, glorot_normal
from continua.nets.mlp import MLP, ModifiedMLP, PirateNet, VectorField
from continua.nets.recurrent import GRUCell
from continua.nets.spectral import SpectralConv

__all__ = [
    "FNO",
    "MLP",
    "Chain",
    "FactorisedLinear",
    "Fixed",
    "FourierFeatures",
    "GRUCell",
    "Linear",
    "ModifiedMLP",
    "PeriodicEmbedding",
    "PirateNet",
    "Rescale",
    "SpectralConv",
    "VectorField",
    "compiled",
    "count_parameters",
    "glorot_normal",
    "grid_coordinates",
    "trainable",
]
