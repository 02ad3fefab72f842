"""The shapes of secrets: the one place that recognises them, so that they are refused and never said again.

Shapes are those that issuers publish (secret scanning of GitHub and GitLab), of URLs (RFC 3986, userinfo and query),
and of assignments with a telling name. Ordinary values look like none of them: commits, digests, model ids, host names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

HIDDEN = "<hidden>"
# Longer text is not looked through whole where it is only to be shown.
LONGEST_SHOWN = 65_536


def _any(_: str) -> bool:
    return True


def _random(tail: str) -> bool:
    """Whether characters look drawn and not written: digits among letters, or many of them."""
    return len(tail) >= 16 or (len(tail) >= 8 and re.search(r"\d", tail) is not None)


def _drawn_or_number(tail: str) -> bool:
    return _random(tail) or (len(tail) >= 4 and re.search(r"\d", tail) is not None)


@dataclass(frozen=True)
class Shape:
    """One kind of secret: `kind` completes "holds …"; the group `secret` of `pattern` is what must not be shown."""

    kind: str
    pattern: re.Pattern[str]
    surely: Callable[[str], bool] = _any


def _shape(kind: str, pattern: str, surely: Callable[[str], bool] = _any) -> Shape:
    return Shape(kind, re.compile(pattern), surely)


_START = r"(?<![A-Za-z0-9])"
SHAPES = (
    _shape("a private key", r"(?P<secret>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?s:.*))"),
    _shape("a password in a URL", r"[A-Za-z][A-Za-z0-9+.-]{0,30}://(?P<secret>[^\s/?#@\"']{1,2048})@"),
    # databases' clients take a slash in a password
    _shape(
        "a password in a URL",
        r"(?i:postgres|postgresql|mysql|mariadb|mongodb|redis|rediss|amqp|amqps)(?:\+\w{1,20})?://(?P<secret>[^\s@\"']{1,2048})@",
    ),
    # without a scheme: u:password@host, but not repository:tag@sha256:…
    _shape(
        "a password before a host",
        r"(?:^|[\s\"'=,])[A-Za-z0-9._%+-]{1,64}:(?P<secret>[^\s/@:\"']{1,256})@(?!sha\d+:)(?=[A-Za-z0-9\[])",
    ),
    _shape(
        "a secret in a query",
        r"[?&;#](?i:[\w.-]{0,40}(?:token|secret|passw(?:or)?d|pwd|credential|signature|api_?key)|key|sig|auth)=(?P<secret>[^\s&#\"']{1,2048})",
    ),
    _shape(
        "a password or key",
        r"(?:(?i:password|passwd|passphrase|secret|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|"
        r"(?:access|auth|api|refresh|bearer|hf|hub)[_-]?token)|TOKEN)[\"']?\s{0,3}[=:]\s{0,3}[\"']?"
        r"(?!\$|<|%|\*\*\*|os\.environ/|(?i:none|null|true|false)\b)(?P<secret>[^\s\"',;&}]{4,2048})",
    ),
    _shape("a bearer token", r"(?i:bearer)\s{1,3}(?P<secret>[A-Za-z0-9._~+/=-]{12,})"),
    _shape("a password", r"(?i:authorization:?\s{1,3}basic|\bbasic)\s{1,3}(?P<secret>[A-Za-z0-9+/]{12,}={0,2})"),
    _shape("a token of Hugging Face", _START + r"(?P<secret>(?:hf|api_org)_(?P<tail>[A-Za-z0-9]{8,}))", _random),
    _shape("a token of Hugging Face", _START + r"(?P<secret>hf_[A-Za-z]{1,20}_(?P<tail>[0-9a-f]{8,}))"),
    _shape("an API key", r"(?<![A-Za-z0-9_-])(?P<secret>sk-(?P<tail>[A-Za-z0-9_-]{4,}))", _drawn_or_number),
    _shape("an API key", _START + r"(?P<secret>(?:sk|rk|pk)[-_](?:live|test|proj|ant|or)[-_]\w[\w-]{7,})"),
    _shape("a token of GitHub", _START + r"(?P<secret>gh[pousr]_[A-Za-z0-9]{8,})"),
    _shape("a token of GitHub", _START + r"(?P<secret>github_pat_\w{8,})"),
    _shape("a token of GitLab", _START + r"(?P<secret>gl(?:pat|dt|rt|cbt|ptt)-[\w-]{8,})"),
    _shape("a token of Slack", _START + r"(?P<secret>xox[abeoprs]-[\w-]{8,})"),
    _shape("a key of AWS", r"(?<![A-Z0-9])(?P<secret>(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,16})(?![A-Z0-9])"),
    _shape("a key of Google", _START + r"(?P<secret>AIza[\w-]{20,})"),
    _shape("a key of NVIDIA", _START + r"(?P<secret>nvapi-[\w-]{8,})"),
    _shape("a token of ModelScope", _START + r"(?P<secret>ms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{4,})"),
    _shape("a token of Docker Hub", _START + r"(?P<secret>dckr_(?:pat|oat)_[\w-]{8,})"),
    _shape("a token of npm or PyPI", _START + r"(?P<secret>(?:npm_|pypi-)(?P<tail>[A-Za-z0-9_-]{16,}))", _random),
    _shape("a token of Vault", _START + r"(?P<secret>hv[sbr]\.[\w-]{16,})"),
    _shape("a key of age", r"(?P<secret>AGE-SECRET-KEY-[A-Z0-9]{8,})"),
    _shape("a JSON Web Token", _START + r"(?P<secret>eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?)"),
)
# What one of the shapes has at least; most texts have none of it, and are passed over quickly.
_HINT = re.compile(
    r"@|-----BEGIN|[?&;#]|sk-|[srp]k[-_]|hf_|api_org_|gh[pousr]_|github_pat_|gl[a-z]{2,3}-|xox|A[A-Z]{3}|AIza|nvapi-|ms-"
    r"|dckr_|npm_|pypi-|hv[sbr]\.|eyJ|(?i:bearer|basic|passw|passphrase|secret|credential|key|token)"
)


def recognise(text: str) -> str | None:
    """The kind of secret that a text seems to hold, to complete "holds …"; None for ordinary text."""
    if not _HINT.search(text):
        return None
    for shape in SHAPES:
        if any(_sure(shape, match) for match in shape.pattern.finditer(text)):
            return shape.kind
    return None


def mask(text: str) -> str:
    """`text` for display: whatever looks like a secret is hidden, and what is very long is cut."""
    text = text[:LONGEST_SHOWN]
    if not _HINT.search(text):
        return text
    for shape in SHAPES:
        text = shape.pattern.sub(lambda match, shape=shape: _hidden(shape, match), text)
    return text


def _sure(shape: Shape, match: re.Match[str]) -> bool:
    groups = match.groupdict()
    return groups["secret"] != HIDDEN and shape.surely(groups.get("tail") or groups["secret"])


def _hidden(shape: Shape, match: re.Match[str]) -> str:
    if not _sure(shape, match):
        return match[0]
    start, end = (position - match.start() for position in match.span("secret"))
    return match[0][:start] + HIDDEN + match[0][end:]
