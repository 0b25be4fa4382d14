"""The ``train`` command: options, their checks, and what is written afterwards."""

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from jaxconv.cli.errors import UserError, check_picture, check_writable


class ModelOption(StrEnum):
    """Which network is trained."""

    cnn = "cnn"
    mlp = "mlp"


def train(
    model: Annotated[
        ModelOption, typer.Option(help="Convolutional, or fully connected with as many parameters.")
    ] = ModelOption.cnn,
    permute: Annotated[
        bool, typer.Option("--permute", help="Shuffle all pixels, every image alike.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training digits.")] = 12,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Adam's first learning rate.")] = 0.003,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Of the parameters and the order of images."),
    ] = 0,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Other digits: x_train, y_train, x_test, y_test."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write the trained parameters.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw loss, kernels and mistakes.")
    ] = None,
) -> None:
    """Train a small ConvNet on 4,000 real handwritten digits, and test it on 1,000 others."""
    # Everything a user can get wrong is checked before the work begins.
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UserError(f"train: --learning-rate must be above 0; got {learning_rate}.")
    check_writable("train", "--save", save)
    check_writable("train", "--plot", plot)
    if plot:
        check_picture("train", "--plot", plot)

    from rich.console import Console

    from jaxconv.cli.train import report
    from jaxconv.cli.train.data import bundled_digits, load_digits
    from jaxconv.cli.train.loop import Epoch, Trainer
    from jaxconv.cli.train.model import MODELS, count

    console = Console()
    with console.status("reading the digits"):
        digits = load_digits(data) if data else bundled_digits()
    if batch_size > len(digits.y_train):
        raise UserError(
            f"train: --batch-size must not exceed the training digits; got {batch_size} for "
            f"{len(digits.y_train)} digits."
        )
    if permute:
        digits = digits.permuted()

    trainer = Trainer(
        MODELS[model],
        digits,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    title = f"{model}, {count(trainer.parameters):,} parameters{', permuted pixels' * permute}"
    console.print(title, style="bold", highlight=False)
    console.print(
        f"{digits.source}: {len(digits.y_train):,} to train, {len(digits.y_test):,} to test\n",
        highlight=False,
    )
    console.print(report.HEADER, style="dim")
    began, interrupted = time.perf_counter(), False
    try:
        with report.progress_bar(console) as bar:
            total = epochs * trainer.steps_per_epoch * batch_size
            task = bar.add_task("", total=total, epoch=1, news="compiling")
            for news in trainer.train():
                if isinstance(news, Epoch):
                    report.print_epoch(console, news)
                else:
                    bar.update(
                        task,
                        completed=news.images,
                        epoch=news.epoch,
                        news=report.news(news),
                    )
    except KeyboardInterrupt:
        interrupted = True
        console.print(f"interrupted after {len(trainer.losses):,} steps")

    predictions = trainer.predict(digits.x_test)
    report.print_result(console, digits.y_test, predictions)
    console.print(f"{time.perf_counter() - began:.1f} s", style="dim", highlight=False)
    if save:
        named = {
            f"{layer}.{name}": np.asarray(value)
            for layer, arrays in trainer.parameters.items()
            for name, value in arrays.items()
        }
        with save.open("wb") as file:
            np.savez(file, **named)  # pyright: ignore[reportArgumentType]
        console.print(f"parameters: {save}", highlight=False)
    if plot:
        from jaxconv.cli.train.plot import draw

        draw(
            plot,
            losses=trainer.losses,
            steps_per_epoch=trainer.steps_per_epoch,
            parameters=trainer.parameters,
            images=digits.x_test,
            labels=digits.y_test,
            predictions=predictions,
            permuted=permute,
            title=f"{title}: {digits.source}",
        )
        console.print(f"picture: {plot}", highlight=False)
    if interrupted:
        raise typer.Exit(130)
