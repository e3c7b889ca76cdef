"""The net: arrays in, arrays out. NumPy is all it needs; no file, clock or global state is touched here.

Read in this order: `params` (what is learned), `net` (the equations), `training` (how it is learned), `gradcheck`
(how the equations are checked). The mathematics, beside these names, is in docs/derivation.md.
"""

from netcore.core.gradcheck import numerical_gradient, relative_error
from netcore.core.net import loss, loss_and_gradients, predict, probabilities, scores
from netcore.core.params import Params, init_params
from netcore.core.sgd import Epoch, TrainConfig, epochs, sgd_step

__all__ = [
    "Epoch",
    "Params",
    "TrainConfig",
    "epochs",
    "init_params",
    "loss",
    "loss_and_gradients",
    "numerical_gradient",
    "predict",
    "probabilities",
    "relative_error",
    "scores",
    "sgd_step",
]
