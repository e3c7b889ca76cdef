"""The same net in three other libraries: what `peers.py` times beside netcore, and what the usual stack trains.

Plain SGD on cross-entropy with the penalty reg · ΣW², batches of shuffled rows, one thread, the type of the rows given.
A net takes rows and classes, then hidden size, number of classes, batch size, reg and a seed; weights begin as each
library has them. PyTorch and JAX are imported by who makes such a net: they come with the extra `peers`.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from netcore.core import init_params

Rows = NDArray[np.float32]
Classes = NDArray[np.integer[Any]]


class Net(Protocol):
    """A net, and the rows that it is trained on."""

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch; give the mean loss."""

    def probabilities(self, X: Rows) -> Rows:
        """Give the probability of each class, shape (N, C)."""


MakeNet = Callable[[Rows, Classes, int, int, int, float, int], Net]


class ScikitLearn:
    """scikit-learn's; its penalty is 1/2 alpha ΣW² over the rows of a batch."""

    def __init__(  # as all of them
        self, X: Rows, y: Classes, hidden_size: int, classes: int, batch: int, reg: float, seed: int
    ) -> None:
        self._rows, self._classes = (X, y), np.arange(classes)
        self._net = MLPClassifier(
            (hidden_size,), solver="sgd", momentum=0.0, alpha=2 * reg * batch, batch_size=batch, random_state=seed
        )

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch; the learning rate is taken over at the first one only, and is the optimiser's from then."""
        self._net.learning_rate_init = learning_rate
        if hasattr(self._net, "_optimizer"):
            self._net._optimizer.learning_rate = learning_rate  # noqa: SLF001  # there is no other way
        self._net.partial_fit(*self._rows, classes=self._classes)
        return float(self._net.loss_)

    def probabilities(self, X: Rows) -> Rows:
        """Give the probability of each class."""
        p2: Rows = self._net.predict_proba(X)
        return p2


class PyTorch:
    """PyTorch's, eager or with the forward pass and the loss compiled."""

    def __init__(
        self,
        X: Rows,
        y: Classes,
        hidden_size: int,
        classes: int,
        batch: int,
        reg: float,
        seed: int,
        *,
        compiled: bool = False,
    ) -> None:
        import torch  # noqa: PLC0415
        from torch.nn import Linear, ReLU, Sequential  # noqa: PLC0415

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._torch, self._batch = torch, batch
        self._X, self._y = torch.from_numpy(np.array(X)), torch.from_numpy(np.array(y, np.int64))
        self._net = Sequential(Linear(X.shape[1], hidden_size), ReLU(), Linear(hidden_size, classes))
        weights, biases = ([p for p in self._net.parameters() if p.ndim == n] for n in (2, 1))
        self._sgd = torch.optim.SGD([{"params": weights, "weight_decay": 2 * reg}, {"params": biases}], lr=1.0)
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
        """Give the probability of each class."""
        with self._torch.no_grad():
            p2: Rows = self._net(self._torch.from_numpy(np.array(X))).softmax(dim=1).numpy()
        return p2


class Jax:
    """JAX's: an epoch is one compiled scan over the batches, its parameters donated; compiled anew for each shape."""

    def __init__(self, X: Rows, y: Classes, hidden_size: int, classes: int, batch: int, reg: float, seed: int) -> None:
        import jax  # noqa: PLC0415

        self._jax, self._batch, self._reg = jax, batch, reg
        self._X, self._y = jax.numpy.asarray(X), jax.numpy.asarray(y)
        params = init_params(np.random.default_rng(seed), X.shape[1], hidden_size, classes)
        self._params, self._key = tuple(map(jax.numpy.asarray, params)), jax.random.key(seed)

    def epoch(self, learning_rate: float) -> float:
        """Train one epoch."""
        self._key, key = self._jax.random.split(self._key)
        run, _ = _jax_functions()
        self._params, loss = run(self._params, key, self._X, self._y, learning_rate, self._reg, self._batch)
        return float(loss)

    def probabilities(self, X: Rows) -> Rows:
        """Give the probability of each class."""
        _, probabilities = _jax_functions()
        return np.asarray(probabilities(self._params, X))


@cache
def _jax_functions() -> Any:  # noqa: ANN401  # JAX's own
    """Give what trains an epoch and what predicts, as one set for all nets: what is compiled for a shape stays."""
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
    """Give the libraries that are not installed."""
    return [name for name, module in (("JAX", "jax"), ("PyTorch", "torch")) if find_spec(module) is None]
