"""Networks: equinox modules of arrays and a key, for one sample each."""

from continua.nets.activations import softplus
from continua.nets.compiled import compiled
from continua.nets.convolution import Conv, FramePainter, FrameReader, GroupNorm
from continua.nets.embedding import Chain, FourierFeatures, PeriodicEmbedding, Rescale
from continua.nets.fixed import Fixed, OwnRate, count_parameters, trainable
from continua.nets.fno import FNO, grid_coordinates
from continua.nets.hippo import discretise, hippo
from continua.nets.linear import FactorisedLinear, Linear, glorot_normal
from continua.nets.mlp import MLP, ModifiedMLP, PirateNet, VectorField, lipswish
from continua.nets.plrnn import ShallowPLRNN
from continua.nets.recurrent import GRUCell
from continua.nets.sequence_model import SequenceModel
from continua.nets.spectral import SpectralConv
from continua.nets.state_space import LSSL, S4D, S5

__all__ = [
    "FNO",
    "LSSL",
    "MLP",
    "S4D",
    "S5",
    "Chain",
    "Conv",
    "FactorisedLinear",
    "Fixed",
    "FourierFeatures",
    "FramePainter",
    "FrameReader",
    "GRUCell",
    "GroupNorm",
    "Linear",
    "ModifiedMLP",
    "OwnRate",
    "PeriodicEmbedding",
    "PirateNet",
    "Rescale",
    "SequenceModel",
    "ShallowPLRNN",
    "SpectralConv",
    "VectorField",
    "compiled",
    "count_parameters",
    "discretise",
    "glorot_normal",
    "grid_coordinates",
    "hippo",
    "lipswish",
    "softplus",
    "trainable",
]
