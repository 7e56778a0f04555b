"""Training: one `fit` for every method, and the optimisers that it can use."""

from continua.train.averaging import Averaged
from continua.train.checkpoint import load_checkpoint, save_checkpoint
from continua.train.fitting import Fitted, fit
from continua.train.line_search import LineSearch, strong_wolfe
from continua.train.optimisers import SOAP, AbstractOptimiser, Adam, Lion, OptimisticAdam, Row
from continua.train.plan import Stage, Training
from continua.train.quasi_newton import BFGS, LBFGS, SSBroyden
from continua.train.samplers import AbstractSampler, FullBatch, Ramped, Shuffled
from continua.train.schedules import AbstractSchedule, Constant, Cosine, Exponential

__all__ = [
    "BFGS",
    "LBFGS",
    "SOAP",
    "AbstractOptimiser",
    "AbstractSampler",
    "AbstractSchedule",
    "Adam",
    "Averaged",
    "Constant",
    "Cosine",
    "Exponential",
    "Fitted",
    "FullBatch",
    "LineSearch",
    "Lion",
    "OptimisticAdam",
    "Ramped",
    "Row",
    "SSBroyden",
    "Shuffled",
    "Stage",
    "Training",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "strong_wolfe",
]
