"""What a user did wrong, told in one sentence and exit code 2, and the checks made beforehand."""

import os
from pathlib import Path


class UserError(Exception):
    """A mistake in the command line or in a file that it names; shown without a traceback."""


def check_writable(command: str, option: str, path: Path | None) -> None:
    """Checks before the work that a file can be written after it.

    Raises:
        UserError: If the file's folder is missing or not writable, or the path is a folder.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise UserError(f"{command}: {option} must name a file; got the folder {path}.")
    if not folder.is_dir():
        raise UserError(
            f"{command}: the folder of {option} must exist; got {path}. Create {folder} first."
        )
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UserError(f"{command}: {option} must be writable; got {path}.")


def make_folder(command: str, option: str, folder: Path) -> None:
    """Makes a folder for results, before the work rather than after it.

    Raises:
        UserError: If it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{command}: {option} must name a folder; got the file {folder}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{command}: the folder of {option} must be writable; got {error}."
        ) from None


def check_picture(command: str, option: str, path: Path) -> None:
    """Checks before the work that matplotlib can write a picture with this suffix.

    Raises:
        UserError: If it cannot.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lstrip(".").lower() not in known:
        raise UserError(
            f"{command}: {option} must end in one of {', '.join('.' + k for k in known)}; "
            f"got {path}."
        )
