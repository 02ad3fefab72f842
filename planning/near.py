"""The entry of a catalogue that was meant, or the way to add one: never one of another kind, generation or size.

A person who typed a card or a model that is not there has no use for its nearest spelling. Pure functions.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches

ADD = " (docs/adding-a-model.md)"
ADD_MODEL = (
    f"; `python -m catalog models` lists those known, `python -m catalog add` makes an entry of a config.json{ADD}"
)
ADD_GPU = f"; `python -m catalog gpus` lists those known, an entry of yours adds another{ADD}"
# Words that say for what a model is; without one it writes text.
KINDS = (
    "asr",
    "audio",
    "coder",
    "embed",
    "embedding",
    "guard",
    "math",
    "ocr",
    "omni",
    "rerank",
    "reranker",
    "tts",
    "vl",
)
# Numbers of formats and dates: variants of one and the same model differ in them.
VARIANT = re.compile(r"(nv|mx)?fp\d+|int\d+|w\d+a\d+|\d+bit|bf16|\d{4,8}")
# Names alike, as a share; and how many are offered.
LEAST_LIKENESS, MOST_OFFERED, LONGEST_NAME = 0.6, 3, 100


def near_model(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a model of the same kind, generation and size, else the way to add it.

    What an organisation without an entry calls so is likely a fine-tune: then the entry to begin with.
    """
    words = [*known]
    if len(name) > LONGEST_NAME:
        return ADD_MODEL
    key = _model_key(name)
    same = [word for word in words if _model_key(word) == key]
    organisation, slash, own = name.partition("/")
    organisations = {word.partition("/")[0].lower() for word in words}
    if slash and not get_close_matches(organisation.lower(), organisations, n=1, cutoff=0.7):
        bases = [word for word in same if _likeness(own, word.partition("/")[2]) >= LEAST_LIKENESS]
        base = min(bases, key=len, default=None)
        return (
            f"; if it is a fine-tune of {base}, an entry with like: {base} is all it needs{ADD}" if base else ADD_MODEL
        )
    return _did_you_mean({word: _likeness(name, word) for word in same}, LEAST_LIKENESS) or ADD_MODEL


def near_gpu(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a card with the letters and numbers that were written, else the way to add it."""
    words, parts = [*known], _numbered(name)
    if len(name) > LONGEST_NAME:
        return ADD_GPU
    if not parts:
        return _did_you_mean({word: _likeness(name, word) for word in words if not _numbered(word)}, 0.6) or ADD_GPU
    written = set(_words(name))
    more = {word: -len(set(_words(word)) - written) for word in words if parts <= _numbered(word)}
    return _did_you_mean(more, min(more.values(), default=0)) or ADD_GPU


def _likeness(name: str, word: str) -> float:
    """Share of the letters that both have in the same order, in whichever case."""
    return SequenceMatcher(None, name.lower(), word.lower()).ratio()


def _did_you_mean(scores: Mapping[str, float], least: float) -> str:
    """The words with the highest score, if that is enough."""
    best = max(scores.values(), default=least)
    nearest = sorted(word for word, score in scores.items() if score >= max(best - 0.01, least))[:MOST_OFFERED]
    quoted = " or ".join(f"'{word}'" for word in nearest)
    return f"; did you mean {quoted}?" if quoted else ""


def _words(name: str) -> list[str]:
    """Letters and numbers of a name in small letters, apart where three letters or more meet a number."""
    return re.findall(r"[a-z]*\d+(?:\.\d+)?[a-z]*|[a-z]+", re.sub(r"([a-z]{3,})(\d)", r"\1 \2", name.lower()))


def _model_key(name: str) -> tuple[frozenset[str], tuple[float, ...]]:
    """(kinds, numbers of generation and size) of a repository."""
    words = [word for word in _words(name.rpartition("/")[2]) if not VARIANT.fullmatch(word)]
    kinds = {kind for word in words for kind in get_close_matches(word, KINDS, n=1, cutoff=0.85)}
    numbers = [float(number) for word in words for number in re.findall(r"\d+(?:\.\d+)?", word)]
    return frozenset(kind.removesuffix("ding").removesuffix("er") for kind in kinds), tuple(sorted(numbers))


def _numbered(name: str) -> frozenset[str]:
    """Words of the name of a card that have a number: h100, 4090, 80gb."""
    return frozenset(word for word in _words(name) if any(sign.isdigit() for sign in word))
