"""What who asks the tables has to know of them: what they don't have yet, which of them are old."""

from shopstream.engine import open_engine
from shopstream.errors import ShopstreamError
from shopstream.lake.lag import lag_of, not_landed
from shopstream.lake.model import load_models
from shopstream.lake.plan import descendants
from shopstream.settings import Settings


def events_waiting(settings: Settings) -> int:
    """Events that the tables don't have: not landed yet, or landed and some table has not taken
    them in; 0 where that can't be told. Of those not landed the rejected ones are among them.
    """
    try:
        engine = open_engine(settings, create=False)
        return not_landed(engine) + lag_of(engine).events
    except ShopstreamError:
        return 0


def kept_back(settings: Settings) -> dict[str, list[str]]:
    """Tables whose last build failed its tests, each with those made of it: readers see them as
    they were before. None where that can't be told.
    """
    try:
        with open_engine(settings, create=False).read_builds() as builds:
            failing = builds.failing()
    except ShopstreamError:
        return {}
    models = load_models()
    found = {name: descendants(models, name) for name in failing if name in models}
    return {name: sorted(made) for name, made in found.items()}
