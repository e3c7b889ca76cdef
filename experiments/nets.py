"""The same net in scikit-learn, PyTorch and JAX, for `peers.py` and `usual.py`.

Plain SGD on the cross-entropy with the penalty reg · ΣW², batches of shuffled rows, one thread, the data type of the
rows. Each library draws its own initial weights. PyTorch and JAX come with the extra `peers`; they are imported when
such a net is made.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from netcore.core import init_params

Rows = NDArray[np.float32]
Classes = NDArray[np.integer[Any]]


class Net(Protocol):
    """A net with the rows that it is trained on."""

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch and return the mean loss."""

    def probabilities(self, X: Rows) -> Rows:
        """Return the probability of each class, shape (N, C)."""


class Size(NamedTuple):
    """What a net is made with, besides its rows."""

    hidden_size: int
    classes: int
    batch: int
    reg: float
    seed: int = 0


MakeNet = Callable[[Rows, Classes, Size], Net]


class ScikitLearn:
    """scikit-learn's `MLPClassifier`; its penalty is 1/2 alpha ΣW², divided by the rows of a batch.

    The learning rate of the first epoch is used throughout: `partial_fit` reads it at its first call only, there is no
    public way to change it later, and `fit` with a warm start takes a third longer for the smallest nets.
    """

    def __init__(self, X: Rows, y: Classes, size: Size) -> None:
        self._rows, self._classes = (X, y), np.arange(size.classes)
        its: dict[str, Any] = {"batch_size": size.batch, "random_state": size.seed, "alpha": 2 * size.reg * size.batch}
        self._net = MLPClassifier((size.hidden_size,), solver="sgd", momentum=0.0, **its)

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch."""
        self._net.learning_rate_init = learning_rate
        self._net.partial_fit(*self._rows, classes=self._classes)
        return float(self._net.loss_)

    def probabilities(self, X: Rows) -> Rows:
        """Return the probability of each class."""
        p2: Rows = self._net.predict_proba(X)
        return p2


class PyTorch:
    """PyTorch's modules, eager or with the forward pass and the loss compiled."""

    def __init__(self, X: Rows, y: Classes, size: Size, *, compiled: bool = False) -> None:
        import torch  # noqa: PLC0415
        from torch.nn import Linear, ReLU, Sequential  # noqa: PLC0415

        torch.set_num_threads(1)
        torch.manual_seed(size.seed)
        self._torch, self._batch = torch, size.batch
        self._X, self._y = torch.from_numpy(np.array(X)), torch.from_numpy(np.array(y, np.int64))
        layers = Linear(X.shape[1], size.hidden_size), ReLU(), Linear(size.hidden_size, size.classes)
        self._net = Sequential(*layers)
        weights, biases = ([p for p in self._net.parameters() if p.ndim == n] for n in (2, 1))
        self._sgd = torch.optim.SGD([{"params": weights, "weight_decay": 2 * size.reg}, {"params": biases}], lr=1.0)
        self._loss = torch.compile(self._forward) if compiled else self._forward

    def _forward(self, X: Any, y: Any) -> Any:  # noqa: ANN401  # tensors
        return self._torch.nn.functional.cross_entropy(self._net(X), y)

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch."""
        for group in self._sgd.param_groups:
            group["lr"] = learning_rate
        total = self._torch.zeros(())
        for rows in self._torch.randperm(len(self._X)).split(self._batch):
            self._sgd.zero_grad()
            loss = self._loss(self._X[rows], self._y[rows])
            loss.backward()
            self._sgd.step()
            total += len(rows) * loss.detach()
        return float(total) / len(self._X)

    def probabilities(self, X: Rows) -> Rows:
        """Return the probability of each class."""
        with self._torch.no_grad():
            p2: Rows = self._net(self._torch.from_numpy(np.array(X))).softmax(dim=1).numpy()
        return p2


class Jax:
    """JAX: an epoch is one compiled scan over the batches, with donated parameters; each shape is compiled once."""

    def __init__(self, X: Rows, y: Classes, size: Size) -> None:
        import jax  # noqa: PLC0415

        self._jax, self._batch, self._reg = jax, size.batch, size.reg
        self._X, self._y = jax.numpy.asarray(X), jax.numpy.asarray(y)
        params = init_params(np.random.default_rng(size.seed), X.shape[1], size.hidden_size, size.classes)
        self._params, self._key = tuple(map(jax.numpy.asarray, params)), jax.random.key(size.seed)

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch."""
        self._key, key = self._jax.random.split(self._key)
        run, _ = _jax_functions()
        self._params, loss = run(self._params, key, self._X, self._y, learning_rate, self._reg, self._batch)
        return float(loss)

    def probabilities(self, X: Rows) -> Rows:
        """Return the probability of each class."""
        _, probabilities = _jax_functions()
        return np.asarray(probabilities(self._params, X))


@cache
def _jax_functions() -> Any:  # noqa: ANN401  # JAX's own
    """Return the functions that train an epoch and predict: one pair for all nets, to keep what is compiled."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    def scores(params: Any, X: Any) -> Any:  # noqa: ANN401
        W1, b1, W2, b2 = params
        return jax.nn.relu(X @ W1 + b1) @ W2 + b2

    def loss(params: Any, X: Any, y: Any) -> Any:  # noqa: ANN401
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores(params, X)), y[:, None], axis=1))

    def run(params: Any, key: Any, X: Any, y: Any, learning_rate: float, reg: float, batch: int) -> Any:  # noqa: ANN401
        def step(params: Any, rows: Any) -> Any:  # noqa: ANN401
            value, gradient = jax.value_and_grad(loss)(params, X[rows], y[rows])
            decays = (2 * reg, 0, 2 * reg, 0)
            stepped = (p - learning_rate * (g + d * p) for p, g, d in zip(params, gradient, decays, strict=True))
            return tuple(stepped), len(rows) * value

        order, whole = jax.random.permutation(key, len(X)), len(X) // batch * batch
        params, losses = jax.lax.scan(step, params, order[:whole].reshape(-1, batch))
        total = losses.sum()
        if whole < len(X):  # the short last batch
            params, last = step(params, order[whole:])
            total += last
        return params, total / len(X)

    compiled = jax.jit(run, static_argnames="batch", donate_argnames="params")
    return compiled, jax.jit(lambda params, X: jax.nn.softmax(scores(params, X)))


NETS: dict[str, MakeNet] = {
    "JAX": Jax,
    "PyTorch": PyTorch,
    "PyTorch, compiled": partial(PyTorch, compiled=True),
    "scikit-learn": ScikitLearn,
}


def missing() -> list[str]:
    """Return the libraries that are not installed."""
    return [name for name, module in (("JAX", "jax"), ("PyTorch", "torch")) if find_spec(module) is None]
