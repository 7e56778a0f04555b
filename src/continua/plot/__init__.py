"""Pictures from records and arrays: curves of error against cost, training, forecasts."""

from continua.plot.figures import training_curves, work_precision
from continua.plot.files import data_uri, save_figure

__all__ = ["data_uri", "save_figure", "training_curves", "work_precision"]
