"""Options of the test suite, and hypothesis' profile: the same examples every time."""

import hypothesis


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz", type=int, default=0, metavar="N",
        help="try N random examples, new ones each time, where CI tries its fixed few",
    )  # fmt: skip


def pytest_configure(config):
    number = config.getoption("--fuzz")
    shared = {"deadline": None, "database": None, "print_blob": True}
    shared["suppress_health_check"] = list(hypothesis.HealthCheck)
    hypothesis.settings.register_profile("ci", max_examples=15, derandomize=True, **shared)
    hypothesis.settings.register_profile("fuzz", max_examples=max(1, number), **shared)
    hypothesis.settings.load_profile("fuzz" if number else "ci")
