"""The training run as a picture: loss, what the first layer has learnt, mistaken digits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxconv.cli.train.data import SIDE, pixel_order
from jaxconv.cli.train.model import Parameters

MISTAKES = 12


def draw(
    path: Path,
    *,
    losses: Sequence[float],
    steps_per_epoch: int,
    parameters: Parameters,
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    permuted: bool,
    title: str,
) -> None:
    """Writes the picture.

    Args:
        path: File; its suffix chooses the format.
        losses: Loss of each step.
        steps_per_epoch: Steps in an epoch.
        parameters: The trained network.
        images: Test images (N, 1, 28, 28).
        labels: Their digits.
        predictions: What they were taken for.
        permuted: Whether the pixels were shuffled; they are shown in their old places.
        title: Line above the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7.2), layout="constrained", dpi=120)
    figure.suptitle(title, fontsize=11)
    parts = figure.subfigures(3, 1, height_ratios=[3.2, 1.9, 3.2], squeeze=False)
    top, middle, bottom = parts[:, 0]
    _losses(top.subplots(), np.asarray(losses), steps_per_epoch)
    if "conv1" in parameters:
        middle.suptitle("the kernels of the first layer, 5x5 (blue negative, red positive)", size=9)
        _pictures(middle, np.asarray(parameters["conv1"]["weight"])[:, 0], 6)
    else:
        middle.suptitle("weights of the first layer's first 12 units, one a pixel", size=9)
        weights = np.asarray(parameters["linear1"]["weight"])[:12].reshape(-1, 1, SIDE, SIDE)
        _pictures(middle, (_in_place(weights) if permuted else weights)[:, 0], 12)
    wrong = np.flatnonzero(labels != predictions)
    bottom.suptitle(f"{min(len(wrong), MISTAKES)} of {len(wrong)} mistaken digits", size=9)
    shown = wrong[:: max(len(wrong) // MISTAKES, 1)][:MISTAKES]
    pictures = _in_place(images[shown]) if permuted else images[shown]
    names = [f"{labels[i]} taken for {predictions[i]}" for i in shown]
    _digits(bottom, pictures[:, 0], names)
    figure.savefig(path)


def _losses(axis: Any, losses: np.ndarray, steps_per_epoch: int) -> None:
    epochs = np.arange(1, len(losses) + 1) / steps_per_epoch
    axis.plot(epochs, losses, color="#c9d6e8", linewidth=0.7, label="each step")
    width = min(steps_per_epoch, len(losses))
    if width:
        mean = np.convolve(losses, np.ones(width) / width, "valid")
        axis.plot(epochs[width - 1 :], mean, color="#1f6feb", label=f"mean of {width} steps")
    axis.set_yscale("log")
    axis.set_xlabel("epoch", fontsize=9)
    axis.set_ylabel("training loss", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    axis.grid(color="#eeeeee")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _pictures(figure: Any, pictures: np.ndarray, columns: int) -> None:
    limit = float(np.abs(pictures).max())
    for axis, picture in zip(figure.subplots(1, columns), pictures, strict=False):
        axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_axis_off()


def _digits(figure: Any, pictures: np.ndarray, names: Sequence[str]) -> None:
    axes = figure.subplots(2, MISTAKES // 2).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, picture, name in zip(axes, pictures, names, strict=False):
        axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(name, fontsize=8)


def _in_place(images: np.ndarray) -> np.ndarray:
    """Undoes ``Digits.permuted``."""
    flat = np.empty_like(images.reshape(len(images), -1))
    flat[:, pixel_order()] = images.reshape(len(images), -1)
    return flat.reshape(images.shape)
