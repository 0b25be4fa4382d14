"""The command line: which commands there are, each imported when it is called."""

import importlib
import sys

COMMANDS = {
    "train": ("jaxconv.cli.train.command", "train", "Train a ConvNet on real handwritten digits."),
    "lecture": (
        "jaxconv.cli.lecture.command",
        "lecture",
        "The lecture, each listing run and checked.",
    ),
    "calibrate": (
        "jaxconv.cli.calibrate.command",
        "calibrate",
        "Fit the engine's cost model to measurements on this machine.",
    ),
    "explain": (
        "jaxconv.cli.explain",
        "explain",
        "Show the method chosen for each convolution of a function, and why.",
    ),
    "bench": (
        "jaxconv.cli.bench.command",
        "bench",
        "Time jaxconv beside lax and PyTorch on layers of published networks.",
    ),
}
"""Name to (module, function, line of help). A module may import heavy things: it is loaded only
when its command is called."""

HELP = "Convolutions for JAX in PyTorch's words, fast on a CPU."


def usage() -> str:
    """The overview of the commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, _, text) in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: python -m jaxconv COMMAND [OPTIONS]",
            "",
            HELP,
            "",
            "Commands:",
            *lines,
            "",
            "python -m jaxconv COMMAND --help lists a command's options.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; those of the process by default.

    Returns:
        The exit code: 0, 2 for a user's mistake, 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(version("jaxconv"))
        except PackageNotFoundError:
            print("not installed")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        print(
            f"jaxconv: the command must be one of {', '.join(COMMANDS)}; got {name}. "
            "See python -m jaxconv --help.",
            file=sys.stderr,
        )
        return 2
    return _run(name, arguments[1:])


def _run(name: str, arguments: list[str]) -> int:
    from jaxconv.cli.errors import UserError

    module, function, _ = COMMANDS[name]
    try:
        import rich  # noqa: F401
        import typer

        command = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "jaxconv":
            raise
        print(
            f"jaxconv {name}: needs the package {error.name}, which is not installed. "
            "Install it with pip install 'jaxconv[cli]'.",
            file=sys.stderr,
        )
        return 2
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(command)
    try:
        return app(arguments, prog_name=f"python -m jaxconv {name}", standalone_mode=False) or 0
    except UserError as error:
        message = str(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        # What the parser of options finds wrong; older typers take the class from click.
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        message = f"{name}: {told().rstrip('.')}. See python -m jaxconv {name} --help."
    print(f"jaxconv {message}", file=sys.stderr)
    return 2
