"""The offer rules on AWS: `config/rules.toml` in the lake's bucket, read again when it changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shopstream.aws.clients import asked, error_code
from shopstream.rules_file import default_rules, rules_of

if TYPE_CHECKING:
    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names
    from shopstream.domain.offers import RuleSet

RULES = "config/rules.toml"
LOOK_EVERY_S = 60.0
_SAME = ("304", "NotModified")


class LakeRules:
    """The rules in force, the defaults where there is no file."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._bucket = names.lake
        self.place = f"s3://{self._bucket}/{RULES}"
        self._rules: RuleSet | None = None
        self._version = ""
        self._looked_s = 0.0

    def rules(self) -> RuleSet:
        """The rules as they stood at most a minute ago. Raises ConfigError naming what is wrong
        in a file that can't be used: no offer is made by rules that nobody wrote.
        """
        now_s = time.monotonic()
        if self._rules is None or now_s - self._looked_s >= LOOK_EVERY_S:
            self._rules = self._read(self._rules)
            self._looked_s = now_s
        return self._rules

    def _read(self, known: RuleSet | None) -> RuleSet:
        with asked(f"read {self.place}"):
            try:
                if known is not None and self._version:
                    found = self._clients.s3.get_object(
                        Bucket=self._bucket, Key=RULES, IfNoneMatch=self._version
                    )
                else:
                    found = self._clients.s3.get_object(Bucket=self._bucket, Key=RULES)
            except self._clients.s3.exceptions.ClientError as e:
                if known is not None and error_code(e) in _SAME:
                    return known
                if error_code(e) != "NoSuchKey":
                    raise
                self._version = ""
                return default_rules()
            raw = found["Body"].read()
        rules = rules_of(raw, self.place)
        self._version = found["ETag"]
        return rules
