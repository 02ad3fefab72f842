"""Configurations nobody would write: stacks of these tests with values, keys, text and bytes changed at random.

Every strategy is deterministic under `derandomize`. Nothing here knows what is right.
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel, IPvAnyAddress

from settings.schema import StackSettings
from tests.harness import MASTER_KEY, VARIANTS, Config

# What must never be said again, wherever it stood.
PASSWORD = "Pw7hunter2secret"
SECRETS = (
    f"postgres://u:{PASSWORD}@h/db",
    f"redis://:{PASSWORD}@h",
    f"u:{PASSWORD}@mirror.corp",
    f"https://h/x?token={PASSWORD}",
    f"sk-{PASSWORD}",
    f"hf_{PASSWORD}",
    f"DB_PASSWORD={PASSWORD}",
    f"-----BEGIN PRIVATE KEY-----\n{PASSWORD}",
)
NUMBERS = (0, 1, 2, 3, -1, 7, 32, 60, 63, 64, 1000, 4096, 65535, 65536, 86_400, 99_999, 604_800, 2**31 - 1, 2**31,
           2**63, 10**30, 10**400, 0.5, 1.0, 1e308, float("nan"), float("inf"), True)  # fmt: skip
TEXTS = (
    "", " ", "a", "A", "a-", "-a", "a.b", "a/b", "a_b", "a b", "1", "1.36", "1.30", "1.99", "no",
    "none", "null", "~", "ü", "𝕏",
    "x" * 40, "x" * 41, "x" * 63, "x" * 64, "x" * 253, "x" * 254, "x" * 5000, "x" * 70_000,
    "default", "kube-system", "monitoring", "{{x}}", "{{ .Values.x }}", "$(HF_TOKEN)", "$$(A)", "$(A)", "%s", "*",
    "[/x]", "[red]",
    "a\nb", "a\tb", "\x1b[31m", "\x9b", "\x00", "\u202e", "\u2028", "\ufeff", "a\u00a0b",
    "http://h", "https://h:99999", "https://[fd00::1]:8443/x", "http://h/[/x]", "https://[::1", "http://h/{{x}}",
    "oci://r/c", "./c",
    "latest", "v1.0.0", "v0.33.0", "vllm/vllm-openai:v0.33.0", "r/v@sha256:" + "a" * 64, "sha256:" + "a" * 64, "f" * 40,
    "0 20 * * *", "*/5 * * * *", "60 * * * *", "99999999999999999999 * * * *", "Europe/Berlin", "2026-11-28",
    "nvidia-l4", "nvidia-h100", "Qwen/Qwen3-4B", "Qwen/Qwen3-0.6B", "fp8", "auto",
    "--enforce-eager", "--hf-overrides=" + "[" * 20_000, "--max-loras=" + "9" * 5000, "--enable-lora",
    "--dtype=float32", "--port=1",
    '--hf-overrides={"max_position_embeddings": 100000}', "-1", "--", "--x", "--seed=٣",
    *SECRETS,
)  # fmt: skip
# Beginnings and ends of YAML that change what follows.
TOKENS = ("&a ", "*a", "<<: *a", "!!set ", "!!binary ", "!!timestamp ", '!!int ""', "!x ", "--- ",
          "...\n", "\t", "\n", ": ", "- ", "? ",
          "{", "}", "[", "]", ",", "#", "|", ">", "'", '"', "%YAML 1.1\n", "@", "`", "~", "=",
          "\\ud800", "\x00", "\x1b", "\ufeff",
          "[" * 300, "9" * 5000, "x" * 70_000)  # fmt: skip
PREFIX = "llm-stack:"


def _laughs(text: str) -> bytes:
    lines = [f"a: &a {text}"]
    lines += [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(12)]
    return "\n".join(lines).encode()


# Bytes somebody has thought of; the head of each says what it is.
HANDWRITTEN: Mapping[str, bytes] = {
    "nothing": b"",
    "no config": b"config:\n",
    "ten megabytes": b"config: {" + b"a: x, " * 1_750_000 + b"}",
    "a text of ten megabytes": b"config: " + b"x" * 10_000_000,
    "a list of a megabyte": b"config: {llm-stack:models: [" + b"x," * 500_000 + b"]}",
    "a text of a megabyte": b"config: {llm-stack:models: " + b"x" * 1_000_000 + b"}",
    "a key of 300 kB": b"config: {llm-stack:cluster: {" + b"k" * 300_000 + b": 1}}",
    "50,000 unknown keys": b"config: {llm-stack:cluster: {" + b",".join(b"k%d: 1" % n for n in range(49_000)) + b"}}",
    "4,000 unknown sections": b"config:\n" + b"".join(b"  llm-stack:k%d: 1\n" % n for n in range(4_000)),
    "3,000 models": b"config:\n  llm-stack:models:\n"
    + b"".join(b"    m%d: {model: a/b, pool: p}\n" % n for n in range(3000)),
    "3,000 models with a fault each": b"config:\n  llm-stack:models:\n"
    + b"".join(b"    m%d: {modle: a/b, pool: p}\n" % n for n in range(3000)),
    "a deep list": b"config: " + b"[" * 100_000,
    "a deep block": b"".join(b" " * n + b"a:\n" for n in range(1200)),
    "a deep flow": b"config: {llm-stack:models: " + b"{a: " * 500 + b"1" + b"}" * 500 + b"}",
    "laughs": _laughs("[x,x,x,x,x,x,x,x,x]"),
    "laughs in text": _laughs("x" * 60_000),
    "merges": b"a: &a {x: 1}\n" + b"".join(
        f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{','.join(['*' + chr(97 + n)] * 9)}]}}\n".encode() for n in range(12)
    ),
    "many anchors": b"config:\n" + b"".join(b"  k%d: &a%d x\n" % (n, n) for n in range(40_000)),
    "itself": b"config: &a {llm-stack:models: *a}",
    "itself as a key": b"config: &a {? *a : 1}",
    "merged with itself": b"config: &a {<<: *a}",
    "a set": b"config: {llm-stack:models: !!set {a, b}}",
    "pairs": b"config: {llm-stack:models: !!pairs [a: b]}",
    "an ordered map": b"config: {llm-stack:models: !!omap [a: b]}",
    "binary": b"config: {llm-stack:models: !!binary aGVsbG8=}",
    "bad binary": b"config: {llm-stack:models: !!binary '%%%'}",
    "a timestamp": b"config: {llm-stack:models: !!timestamp 2026-99-99}",
    "an empty int": b'config: {llm-stack:models: !!int ""}',
    "an int of words": b"config: {llm-stack:models: !!int abc}",
    "a float of words": b"config: {llm-stack:models: !!float abc}",
    "a bool of words": b"config: {llm-stack:models: !!bool maybe}",
    "python": b"config: !!python/object/apply:os.system [ls]",
    "5,000 digits": b"config: {llm-stack:models: " + b"9" * 5000 + b"}",
    "5,000 digits in a key": b"config: {" + b"9" * 5000 + b": 1}",
    "5,000 octal digits": b"config: {llm-stack:models: 0" + b"7" * 5000 + b"}",
    "a hundred underscores": b"config: {llm-stack:models: 1" + b"_" * 100 + b"}",
    "half a pair": b'config: {llm-stack:models: "\\ud800"}',
    "half a pair as a key": b'config: {llm-stack:cluster: {"\\ud800": 1}}',
    "an escape": b'config: {llm-stack:cluster: {context: "\\e[31mred", identifier: i}}',
    "a bell as a key": b'config: {"llm-stack:\\a": 1}',
    "nul": b"config: \x00",
    "an escaped nul": b'config: {llm-stack:cluster: {context: "\\0"}}',
    "latin 1": "config: {a: ü}".encode("latin-1"),
    "utf-16": "config: {llm-stack:models: ü}".encode("utf-16"),
    "utf-16 cut": "config: {a: b}".encode("utf-16")[:-1],
    "utf-32": "config: {a: b}".encode("utf-32"),
    "a mark": b"\xef\xbb\xbfconfig: {}",
    "two documents": b"config: {}\n---\nconfig: {}\n",
    "a thousand documents": b"--- {}\n" * 1000,
    "a key twice": b"config: {a: 1, a: 2}",
    "a list as a key": b"config: {? [a, b] : 1}",
    "a map as a key": b"config: {? {a: b} : 1}",
    "null as a key": b"config: {llm-stack:models: {~: 1}}",
    "numbers as keys": b"config: {llm-stack:models: {1: 2, 1.5: 3, true: 4}}",
    "tabs": b"config:\n\tllm-stack:models: {}\n",
    "a list": b"- a\n- b\n",
    "a scalar": b"42",
    "config is text": b"config: text",
    "config is a list": b"config: [a]",
    "names nobody serves": b"config: {other:thing: 1, aws:region: x, ':': 1, '': 2, llm-stack: 3, 'llm-stack:': 4}",
    "secure everywhere": b"config: {llm-stack:models: {secure: v1:x}, llm-stack:cluster: {context: {secure: v1:y}}}",
    "secure twice": b"config: {llm-stack:gatewayMasterKey: {secure: {secure: x}}}",
    "binary rubbish": bytes(range(256)) * 40,
    "carriage returns": b"config:\r\n  llm-stack:models: {}\r",
    "nan and inf": b"config: {llm-stack:models: {m: {model: .nan, pool: .inf, contextTokens: -.inf}}}",
}  # fmt: skip


def fields(model: type[BaseModel] = StackSettings, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, annotation) of every field there is; `*` stands for the name of a model, pool or image."""
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        yield here, field.annotation
        for kind, below in _below(field.annotation, here):
            yield from fields(kind, below)


def _below(annotation: Any, path: tuple[str, ...]) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    for kind in _kinds(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind, path
        elif get_origin(kind) is dict:
            yield from _below(get_args(kind)[1], (*path, "*"))


def _kinds(annotation: Any) -> Iterator[Any]:
    """The kinds that an annotation allows, without bounds: of `PositiveInt | None`, int."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (UnionType, Union):
        for member in get_args(annotation):
            yield from _kinds(member)
    elif annotation is not NoneType:
        yield annotation


FIELDS = tuple(fields())
BASES = tuple(VARIANTS.values())
SCALARS = st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.none() | st.booleans()
TREES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=6,
)


def typed(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of the kind a field has, at and beyond its ends, and some of another kind."""
    return st.one_of([_of_kind(kind) for kind in _kinds(annotation)])


def _of_kind(kind: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - a table
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind)) | SCALARS
    if kind is bool:
        return st.booleans() | SCALARS
    if kind is Any:
        return TREES
    if kind in (int, float):
        return st.integers(1, 200) | st.sampled_from(NUMBERS) | SCALARS
    if kind is IPvAnyAddress:
        return st.ip_addresses().map(str) | SCALARS
    if kind is str:
        return st.sampled_from(TEXTS) | st.from_regex(r"[a-z0-9.:/@_-]{1,20}", fullmatch=True)
    if get_origin(kind) is list:
        return st.lists(typed(get_args(kind)[0]), max_size=3) | SCALARS
    if get_origin(kind) is dict:
        keys = st.sampled_from(TEXTS) | st.from_regex(r"[a-zA-Z_./-]{1,12}", fullmatch=True)
        return st.dictionaries(keys, typed(get_args(kind)[1]), max_size=3) | TREES
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _section(kind) | TREES
    raise TypeError(f"a field of a stack file is of a kind that nothing is drawn for: {kind}")


def _section(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """All fields that a section needs, and any of those it may have."""
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    needed = {name: typed(field.annotation) for name, field in known.items() if field.is_required()}
    others = {name: typed(field.annotation) for name, field in known.items() if not field.is_required()}
    return st.fixed_dictionaries(needed, optional=others)


@st.composite
def typed_stacks(draw: st.DrawFn) -> Config:
    """A stack with one to three fields set to something of their own kind."""
    config = deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        path, annotation = draw(st.sampled_from(FIELDS))
        _set(draw, config, path, draw(typed(annotation)))
    return config


def _set(draw: st.DrawFn, config: Config, path: tuple[str, ...], value: Any) -> None:
    here: Any = config
    for position, step in enumerate(path):
        key: Any = step
        if step == "*":
            key = draw(st.sampled_from(sorted(here, key=str))) if here else "x"
        if position == len(path) - 1:
            here[key] = value
        else:
            if not isinstance(here.get(key), dict):
                here[key] = {}
            here = here[key]


@st.composite
def untyped_stacks(draw: st.DrawFn) -> Config:
    """A stack in which any place at all is replaced, removed, renamed or added to."""
    config = deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = config
        for _ in range(draw(st.integers(0, 5))):
            inner = [item for item in (holder.values() if isinstance(holder, dict) else holder) if item and
                     isinstance(item, (dict, list))]  # fmt: skip
            if not inner:
                break
            holder = draw(st.sampled_from(inner))
        if not holder:
            continue
        key = draw(st.sampled_from(sorted(holder, key=str) if isinstance(holder, dict) else range(len(holder))))
        match draw(st.integers(0, 3)):
            case 0:
                holder[key] = draw(TREES)
            case 1:
                del holder[key]
            case 2 if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS))] = holder.pop(key)
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS))] = draw(TREES)
            case _:
                holder.append(draw(TREES))
    return config


def as_yaml(config: Config) -> bytes:
    """A stack file with this configuration; JSON is YAML, and can say everything that was drawn."""
    keyed = {f"{PREFIX}{key}": value for key, value in config.items()}
    # a key in clear is refused before anything else is looked at
    if keyed.get(f"{PREFIX}gatewayMasterKey") == MASTER_KEY:
        keyed[f"{PREFIX}gatewayMasterKey"] = {"secure": "v1:x"}
    if f"{PREFIX}huggingFaceToken" in keyed:
        keyed[f"{PREFIX}huggingFaceToken"] = {"secure": "v1:y"}
    return json.dumps({"config": keyed}).replace("NaN", ".nan").replace("Infinity", ".inf").encode()


TEXT_BASES = tuple(
    yaml.safe_dump({"config": {f"{PREFIX}{key}": value for key, value in base.items()}}, sort_keys=False)
    for base in BASES
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A stack file in whose text something is inserted, cut out or said twice."""
    text = draw(st.sampled_from(TEXT_BASES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:start] + draw(st.sampled_from(TOKENS)) + text[start:]
            case 1:
                text = text[:start] + text[start + draw(st.integers(1, 30)) :]
            case 2:
                text = text[:start] + text[start : start + draw(st.integers(1, 300))] + text[start:]
            case _:
                word = draw(st.sampled_from(TEXTS))
                # a secret is known where it begins a word; within one it is a part of a name
                gap = " " if PASSWORD in word and re.search(r"[\w-]$", text[:start]) else ""
                text = text[:start] + gap + word + text[start:]
    return text.encode("utf-8", "surrogatepass")


RUBBISH = st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
