"""Names that clients ask for models by, apart from those that objects may have, and a key for one that is no key.

Segments of letters, digits, points, dashes and underscores, with slashes between them: what LiteLLM (`*`), a regular
expression or an address reads otherwise is in none, but for the point, which queries write in brackets.
"""

import re
from collections.abc import Container
from typing import Annotated

from pydantic import StringConstraints

from settings.scalars import LABEL

_SEGMENT = "[A-Za-z0-9]+([._-]{1,3}[A-Za-z0-9]+)*"
PUBLIC_NAME = f"^{_SEGMENT}(/{_SEGMENT}){{0,3}}$"
LONGEST, LONGEST_KEY = 120, 40
PublicName = Annotated[str, StringConstraints(pattern=PUBLIC_NAME, max_length=LONGEST)]


def with_key(name: str, taken: Container[str]) -> str | None:
    """The refusal of a key that only clients could use, with one that may be; None where no such is near."""
    key = re.sub(r"[^a-z0-9]+", "-", name.lower())[:LONGEST_KEY].strip("-")
    if not re.fullmatch(PUBLIC_NAME, name) or len(name) > LONGEST or not re.fullmatch(LABEL, key) or key in taken:
        return None
    return f'"{name}" is no name of an object; write {key}: {{publicName: {name}, …}}, and clients ask for {name}'
