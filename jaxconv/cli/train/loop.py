"""The training loop: a block of steps is one compiled scan; Python sees blocks, never examples."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxconv.cli.train.data import Digits
from jaxconv.cli.train.model import Model, Parameters

BLOCK_STEPS = 20
"""Steps in one compiled scan; between two of them the progress bar moves and Ctrl-C is heard."""
TEST_BATCH = 1000


@dataclass(frozen=True)
class Block:
    """What is known after a block of steps.

    Attributes:
        epoch: Current epoch, from 1.
        images: Images trained on so far.
        loss: Mean loss over the block.
        images_per_second: Speed of the block; the first one includes compilation.
    """

    epoch: int
    images: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch: losses and accuracies are means over the epoch's images."""

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    images_per_second: float


class Trainer:
    """Trains one model on one set of digits.

    ``parameters`` are always those after the last finished block, so that an interrupted run
    can still be reported and saved.
    """

    def __init__(
        self,
        model: Model,
        digits: Digits,
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
    ):
        """Initialises the parameters and the optimiser from the seed."""
        self.model, self.epochs, self.batch_size = model, epochs, batch_size
        self.images, self.labels = jnp.asarray(digits.x_train), jnp.asarray(digits.y_train)
        self.x_test, self.y_test = digits.x_test, digits.y_test
        self.steps_per_epoch = len(digits.y_train) // batch_size

        # A cosine from the learning rate down to zero over the whole run.
        steps = self.steps_per_epoch * epochs
        self.optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
        init_key, self.key = jax.random.split(jax.random.key(seed))
        self.parameters: Parameters = model.init(init_key)
        self.state = self.optimiser.init(self.parameters)
        self.losses: list[float] = []

        self.run_block = jax.jit(self._block)
        self.logits = jax.jit(lambda parameters, images: model.apply(parameters, images, None))

    def _loss(self, parameters: Parameters, images: Any, labels: Any, key: jax.Array) -> Any:
        logits = self.model.apply(parameters, images, key)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, (logits.argmax(-1) == labels).mean()

    def _block(self, parameters: Any, state: Any, images: Any, labels: Any, block: Any):
        """Scans over the batches of one block: their indices (steps, batch) and random keys."""

        def step(carry: Any, batch: Any) -> Any:
            parameters, state = carry
            indices, key = batch
            value_and_grad = jax.value_and_grad(self._loss, has_aux=True)
            (loss, accuracy), gradient = value_and_grad(
                parameters, images[indices], labels[indices], key
            )
            updates, state = self.optimiser.update(gradient, state, parameters)
            return (optax.apply_updates(parameters, updates), state), (loss, accuracy)

        (parameters, state), metrics = jax.lax.scan(step, (parameters, state), block)
        return parameters, state, metrics

    def train(self) -> Iterator[Block | Epoch]:
        """Trains, and says after each block and after each epoch how it went."""
        images_seen = 0
        for epoch in range(1, self.epochs + 1):
            order_key, dropout_key = jax.random.split(jax.random.fold_in(self.key, epoch))
            order = jax.random.permutation(order_key, len(self.labels))
            # Examples that do not fill a batch sit this epoch out; the next order is another.
            order = order[: self.steps_per_epoch * self.batch_size]
            order = order.reshape(self.steps_per_epoch, self.batch_size)
            keys = jax.random.split(dropout_key, self.steps_per_epoch)
            losses, accuracies = [], []
            began = time.perf_counter()
            for first in range(0, self.steps_per_epoch, BLOCK_STEPS):
                start = time.perf_counter()
                steps = slice(first, first + BLOCK_STEPS)
                block = (order[steps], keys[steps])
                self.parameters, self.state, metrics = jax.block_until_ready(
                    self.run_block(self.parameters, self.state, self.images, self.labels, block)
                )
                losses.append(np.asarray(metrics[0]))
                accuracies.append(np.asarray(metrics[1]))
                self.losses += losses[-1].tolist()
                block_images = block[0].size
                images_seen += block_images
                speed = block_images / (time.perf_counter() - start)
                yield Block(epoch, images_seen, float(losses[-1].mean()), speed)
            seconds = time.perf_counter() - began
            yield Epoch(
                epoch,
                float(np.concatenate(losses).mean()),
                float(np.concatenate(accuracies).mean()),
                float((self.predict(self.x_test) == self.y_test).mean()),
                order.size / seconds,
            )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The digit that each image is taken for, (N,)."""
        batches = range(0, len(images), TEST_BATCH)
        logits = [self.logits(self.parameters, images[i : i + TEST_BATCH]) for i in batches]
        return np.concatenate([np.asarray(part.argmax(-1)) for part in logits])
