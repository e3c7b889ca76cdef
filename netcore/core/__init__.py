"""THE NET: arrays in, arrays out. It needs NumPy alone, and uses no file, no clock and no global state.

Read in this order: `params` (what is learned), `net` (the equations), `sgd` (how it is learned), `gradcheck` (how the
equations are checked). The derivation, with the same names, is in docs/derivation.md.
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
