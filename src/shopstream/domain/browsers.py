"""What a user agent tells: the browser's name and the kind of device.

Small on purpose: the names that most shops see, told by the marks that browsers put there for it
(MDN, "Browser detection using the user agent"). What it doesn't know is absent, not guessed.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from shopstream.events import DeviceType

AGENT_CHARS_MAX = 512
"""Only the beginning of a user agent is looked at, so that the memory of them is bounded."""

# The first mark found names the browser: Edge calls itself Chrome too, and Chrome Safari.
BROWSER_MARKS: tuple[tuple[str, str], ...] = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("Trident/", "Internet Explorer"),
)
_TABLET = re.compile(r"iPad|Tablet|Kindle|Silk/|Android(?!.*Mobile)")
_MOBILE = re.compile(r"Mobi|iPhone|iPod|Android")
_DESKTOP = re.compile(r"Windows NT|Macintosh|X11|CrOS")


class Agent(NamedTuple):
    """None for what the user agent doesn't tell."""

    browser: str | None
    device: DeviceType | None


def agent_of(user_agent: str) -> Agent:
    """The browser and device that `user_agent` names."""
    return _agent_of(user_agent[:AGENT_CHARS_MAX])


@lru_cache(maxsize=4096)
def _agent_of(text: str) -> Agent:
    browser = next((name for mark, name in BROWSER_MARKS if mark in text), None)
    device: DeviceType | None = None
    if _TABLET.search(text):
        device = "tablet"
    elif _MOBILE.search(text):
        device = "mobile"
    elif _DESKTOP.search(text):
        device = "desktop"
    return Agent(browser, device)


# What senders write where the kind of device belongs; Segment's mobile SDKs name the system.
DEVICE_WORDS: dict[str, DeviceType] = {
    "mobile": "mobile",
    "phone": "mobile",
    "smartphone": "mobile",
    "ios": "mobile",
    "android": "mobile",
    "tablet": "tablet",
    "ipad": "tablet",
    "desktop": "desktop",
}
