"""Who visits the shop: people with a place, a device and a taste, some of whom come back."""

from random import Random

import msgspec

SHOPPERS_MAX = 50_000
"""After so many all visitors are people who have been here before: memory stays bounded."""
_RETURNING = 0.45

_DEVICES = (
    ("mobile", ("Safari", "Chrome", "Samsung Internet", "Firefox")),
    ("desktop", ("Chrome", "Firefox", "Edge", "Safari")),
    ("tablet", ("Safari", "Chrome")),
)
_REFERRERS = (
    "",
    "https://www.google.com/",
    "https://www.google.com/search?q=gifts",
    "https://duckduckgo.com/",
    "https://www.instagram.com/",
    "https://news.example.com/best-buys",
    "https://mail.example.com/",
)


class Shopper:
    """A person. `text` is the JSON that all of their clicks share."""

    __slots__ = ("favourite", "guest", "text", "user_id", "visits")

    def __init__(self, user_id: str, text: str, favourite: str, *, guest: bool) -> None:
        self.user_id = user_id
        self.text = text
        self.favourite = favourite
        self.guest = guest
        self.visits = 0


class Crowd:
    """All shoppers so far. `arrive` gives the next visitor: a new one or one who returns."""

    def __init__(self, random: Random, places: list[str], categories: list[str]) -> None:
        self._random = random
        self._places = [msgspec.json.encode(place).decode() for place in places]
        self._categories = categories
        self._people: list[Shopper] = []

    def arrive(self) -> Shopper:
        u = self._random.random
        people = self._people
        if people and (len(people) >= SHOPPERS_MAX or u() < _RETURNING):
            # The recent ones are likelier to return.
            shopper = people[-1 - int(len(people) * u() ** 2)]
        else:
            shopper = self._new(len(people) + 1)
            people.append(shopper)
        shopper.visits += 1
        return shopper

    def _new(self, number: int) -> Shopper:
        u = self._random.random
        share = u()
        device, browsers = _DEVICES[0 if share < 0.58 else 1 if share < 0.93 else 2]
        browser = browsers[int(len(browsers) * u() ** 2)]
        place = self._places[int(len(self._places) * u() ** 1.5)]
        user_id = f"u{number:06d}"
        consent = "true" if u() < 0.7 else "false"
        text = (
            f'"user_id":"{user_id}","device_type":"{device}","browser":"{browser}",'
            f'"location":{place},"consent":{{"marketing":{consent}}},'
        )
        favourite = self._categories[int(len(self._categories) * u())]
        return Shopper(user_id, text, favourite, guest=u() < 0.12)

    def session_text(self, shopper: Shopper, session_id: str) -> str:
        """The JSON that all clicks of one visit share."""
        referrer = _REFERRERS[int(len(_REFERRERS) * self._random.random())]
        kind = "new" if shopper.visits == 1 else "returning"
        said = f'"referrer_url":"{referrer}",' if referrer else ""
        return f'"session_id":"{session_id}","user_type":"{kind}",{said}{shopper.text}'


def place_names(seed: int, count: int = 200) -> list[str]:
    """Names of towns, the same for the same seed and version of Faker."""
    from faker import Faker

    fake = Faker("en_GB", use_weighting=False)
    fake.seed_instance(seed)
    return [f"{fake.city()}, GB" for _ in range(count)]
