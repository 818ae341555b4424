"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A shell that starts the tests in its background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's matter: busy with other tests, it fails none of them.
settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any_machine")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Binary values are named by their argument: gzip writes the time into its bytes, and workers
    that run in parallel must agree on the names of tests.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return argname
    return None
