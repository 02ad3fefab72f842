"""Problems of a configuration, in words for the person who wrote it: where, what, which rule, nearest fix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from settings.secret_shapes import mask

# Bytes of a path, of a message and of a word of the command line: a line of a refusal stays below 2,000.
LONGEST_PATH, LONGEST_MESSAGE, LONGEST_USAGE = 300, 1600, 1900
# Refusals that a reader is shown at once.
MOST_PROBLEMS = 50
# Characters of a word that is looked for among the known ones: none of them is nearly as long.
LONGEST_WORD = 100


def sanitize(text: str, most_bytes: int) -> str:
    """A text as it may be shown: no secret, no character that a terminal obeys, and not longer than that.

    Line breaks are shown as such, so that every reason stays on a line of its own.
    """
    text = mask(text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: 2 * most_bytes])
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    return encoded[: most_bytes - len("…".encode())].decode(errors="ignore") + "…"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to mend: `path` as written in the stack file (dots between keys), `message` for the reader.

    Both are made fit to be shown, whatever was put into them.
    """

    path: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", sanitize(self.path, LONGEST_PATH) or '""')
        object.__setattr__(self, "message", sanitize(self.message, LONGEST_MESSAGE))

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Refused(Exception):
    """The configuration cannot be deployed; carries every problem found, in order, and of very many the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = tuple(dict.fromkeys(problems))
        if len(unique) > MOST_PROBLEMS:
            more = Problem("…", f"and {len(unique) - MOST_PROBLEMS} more")
            unique = (*unique[:MOST_PROBLEMS], more)
        self.problems = unique
        super().__init__("\n".join(str(problem) for problem in self.problems))


# All sections of a stack file, and what still is one line.
MOST_KNOWN = 16


def guess(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; letter case is ignored, so that `Nvidia-A10` finds `nvidia-a10`."""
    words = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(word.lower(), words, n=1, cutoff=0.6) if len(word) <= LONGEST_WORD else []
    return words[matches[0]] if matches else None


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the known word closest to `word`, or the list of known words."""
    words = [*known]
    if meant := guess(word, words):
        return f"; did you mean '{meant}'?"
    # of words that differ in letter case alone, the last
    listed = sorted({candidate.lower(): candidate for candidate in words}.values())
    shown = ", ".join(listed[:MOST_KNOWN]) + (", …" if len(listed) > MOST_KNOWN else "")
    return f"; known: {shown}" if listed else ""


# Keys that people look for, and why there are none: LiteLLM 1.109.1, proxy/auth/user_api_key_auth.py (JWT, OAuth2) and
# repositories/user_repository.py (the sixth user of its administration).
_ENTERPRISE = "is of LiteLLM's Enterprise licence, without which it answers 403"
_BEFORE = "let what is in front of the gateway ask for it (an Envoy Gateway SecurityPolicy, oauth2-proxy)"
_NO_PAGES = f"its administration is not served; {_BEFORE} and use gateway.database with virtual keys"
_CHAT = "; where people chat, in gateway.chatUi, they sign in by OIDC"
NOT_OFFERED = {
    ("gateway", "jwt"): f"authentication by JWT {_ENTERPRISE}; use keys, or {_BEFORE}",
    ("gateway", "oauth2"): f"authentication by OAuth2 tokens {_ENTERPRISE}; use keys, or {_BEFORE}",
    ("gateway", "oidc"): f"LiteLLM signs five people in without its Enterprise licence, and {_NO_PAGES}{_CHAT}",
    ("gateway", "sso"): f"LiteLLM signs five people in without its Enterprise licence, and {_NO_PAGES}{_CHAT}",
    ("gateway.chatUi", "replicas"): "it is one pod, because its chats are in a database of files on one claim",
    ("gateway.chatUi.oidc", "clientSecret"): "it is the entry client-secret of gateway.chatUi.existingSecret",
    ("gateway", "adminUi"): f"LiteLLM signs five people in without its Enterprise licence, and {_NO_PAGES}",
    **{
        ("cluster.proxy", key): "the proxy, for http and https, is endpoint"
        for key in ("httpProxy", "httpsProxy", "url")
    },
    **{("images", key): "a registry that has copies of all images is mirror" for key in ("registry", "repository")},
    **{("models.*", key): "replicas: {min, max} scales, and scaling says how" for key in ("autoscaling", "hpa")},
    **{
        ("models.*.scaling", key): "the fewest and the most are replicas: {min, max}"
        for key in ("min", "max", "minReplicas", "maxReplicas")
    },
    ("models.*.replicas", "count"): "a fixed number is min and max alike",
    **{
        ("gateway.expose.tls", key): "an existing Secret is tlsSecret of gateway.expose, without tls"
        for key in ("secret", "secretName", "existingSecret")
    },
}


def not_offered(section: Sequence[object], key: str) -> str:
    """The reason why a section has no such key, where people look for it; else nothing. `*`: any name."""
    words = [str(step) for step in section]
    named = (words, [*words[:1], "*", *words[2:]])
    reason = next((NOT_OFFERED[".".join(path), key] for path in named if (".".join(path), key) in NOT_OFFERED), "")
    return f": {reason}" if reason else ""
