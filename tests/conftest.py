"""Options of the test suite, how programs are compiled in it, and hypothesis' profile."""

import hypothesis
import jax
import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz", type=int, default=0, metavar="N",
        help="try N random examples, new ones each time, where CI tries its fixed few",
    )  # fmt: skip
    parser.addoption(
        "--optimised", action="store_true",
        help="compile every test's programs as a user's are, which takes two thirds longer",
    )  # fmt: skip


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "optimised: the programs of this test are compiled as a user's are"
    )
    number = config.getoption("--fuzz")
    shared = {"deadline": None, "database": None, "print_blob": True}
    shared["suppress_health_check"] = list(hypothesis.HealthCheck)
    hypothesis.settings.register_profile("ci", max_examples=15, derandomize=True, **shared)
    hypothesis.settings.register_profile("fuzz", max_examples=max(1, number), **shared)
    hypothesis.settings.load_profile("fuzz" if number else "ci")


@pytest.fixture(autouse=True)
def compilation(request):
    """Leave out LLVM's optimisation, two fifths of the suite's time, where a test is of our code.

    Where the machine code itself may count (rounding, NaN, what XLA has miscompiled before, random
    convolutions, what the pages show) tests are marked `optimised`. No program is shared.
    """
    config, node = request.config, request.node
    quick = not (config.getoption("--optimised") or node.get_closest_marker("optimised"))
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.config.update("jax_disable_most_optimizations", quick)
        jax.clear_caches()
