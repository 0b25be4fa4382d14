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

    Tests of rounding, of NaN and of what the pages show are marked `optimised`: there the machine
    code itself counts.
    """
    config, node = request.config, request.node
    as_a_users = config.getoption("--optimised") or node.get_closest_marker("optimised")
    jax.config.update("jax_disable_most_optimizations", not as_a_users)
