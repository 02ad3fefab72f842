"""The gateway's own API for who holds its master key: one request at a time, and what its answers mean.

Stands beside the scripts that use it. No message of it shows a key.
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# One request: a database that fails over holds it for 14 s. How many of a list come at once, at most 100.
ANSWER_S, PAGE = 60, 100
LONGEST_SAID = 500
Row = Mapping[str, Any]


class Later(Exception):
    """Another try may help."""


class Denied(Later):
    """The gateway refused a request; somebody may have been faster, so what is there is looked at once more."""


class Refused(Exception):
    """No try helps."""


def say(text: str) -> None:
    """A line of the log."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@dataclass
class Gateway:
    """LiteLLM's API. `hidden`: values that no message may show."""

    url: str
    master_key: str
    hidden: tuple[str, ...]

    def call(self, path: str, body: object = None, key: str | None = None) -> Any:
        """The decoded answer of a POST with a body, or a GET without. Raises `Later` or `Denied`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key or self.master_key}", "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 - the gateway's own URL
        shown = path.partition("?")[0]
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            kind = Denied if 400 <= error.code < 500 and error.code not in (408, 429) else Later
            said = self.clean(error.read().decode("utf-8", "replace"))
            raise kind(f"{shown} was answered with {error.code}: {said}") from None
        except (OSError, ValueError) as error:
            raise Later(f"{shown}: {self.clean(str(error))}") from None

    def clean(self, text: str) -> str:
        """A text without any value of a key."""
        for value in self.hidden:
            text = text.replace(value, "[key]")
        return text[:LONGEST_SAID]

    def pages(self, path: str, size: str, name: str) -> list[Row]:
        """All entries of a list that comes in pages."""
        rows: list[Row] = []
        number = total = 1
        while number <= total:
            answer = self.call(f"{path}&page={number}&{size}={PAGE}")
            rows += answer[name]
            number, total = number + 1, answer["total_pages"]
        return rows
