"""What holds for all tests."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Binary values are named by their argument: gzip writes the time into its bytes, and workers
    that run in parallel must agree on the names of tests.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return argname
    return None
