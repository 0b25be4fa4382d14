"""What the training command prints: a bar, a row an epoch, accuracy, the worst confusions."""

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jaxconv.cli.train.loop import Block, Epoch

WORST = 5
HEADER = f"{'epoch':>6} {'loss':>8} {'train':>8} {'test':>8} {'images/s':>10}"


def progress_bar(console: Console) -> Progress:
    """A bar with the loss and the images a second, removed when training ends."""
    return Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[news]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=5,
    )


def news(block: Block) -> str:
    """The text beside the bar."""
    return f"loss {block.loss:.4f}  {block.images_per_second:,.0f} images/s"


def print_epoch(console: Console, epoch: Epoch) -> None:
    """One row."""
    console.print(
        f"{epoch.epoch:>6} {epoch.loss:>8.4f} {epoch.train_accuracy:>8.2%} "
        f"{epoch.test_accuracy:>8.2%} {epoch.images_per_second:>10,.0f}",
        highlight=False,
    )


def worst_pairs(labels: np.ndarray, predictions: np.ndarray) -> list[tuple[int, int, int]]:
    """(digit, taken for, times) of the commonest mistakes, at most ``WORST`` of them."""
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predictions), 1)
    np.fill_diagonal(confusion, 0)
    # A stable order: more mistakes first, then the smaller digits.
    order = np.argsort(-confusion.ravel(), kind="stable")[:WORST]
    pairs = ((int(i // 10), int(i % 10), int(confusion.ravel()[i])) for i in order)
    return [pair for pair in pairs if pair[2]]


def print_result(console: Console, labels: np.ndarray, predictions: np.ndarray) -> None:
    """Test accuracy and the worst pairs."""
    correct = int((labels == predictions).sum())
    console.print()
    console.print(
        Text.assemble(
            "test accuracy ",
            (f"{correct / len(labels):.2%}", "bold"),
            f"  ({correct:,} of {len(labels):,} digits)",
        )
    )
    pairs = worst_pairs(labels, predictions)
    if not pairs:
        return
    table = Table(title="worst pairs", box=None, title_justify="left", pad_edge=False)
    table.add_column("digit", justify="right")
    table.add_column("taken for", justify="right")
    table.add_column("times", justify="right")
    table.add_column("of", justify="right", style="dim")
    for digit, taken_for, times in pairs:
        table.add_row(str(digit), str(taken_for), str(times), str(int((labels == digit).sum())))
    console.print(table)
