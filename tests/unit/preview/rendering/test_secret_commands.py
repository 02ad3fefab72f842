"""The printed commands, run by real shells against a kubectl that keeps Secrets in a file.

That the API server merges `stringData` and `data` into what is there was tried on a real one, not here.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from preview.rendering.secret_commands import Entries, add, create

SHELLS = [name for name in ("bash", "sh", "zsh") if shutil.which(name)]
# Knows the four ways in which the commands call it; a merge patch replaces entries and keeps the others.
KUBECTL = """
import base64, json, os, sys
from pathlib import Path

place = Path(os.environ["FAKE_SECRETS"])
words = sys.argv[1:]
secrets = json.loads(place.read_text())
verb, kind, rest = words[0], words[1], words[2:]
encode = lambda text: base64.b64encode(text.encode()).decode()
if (verb, kind) == ("create", "secret"):
    assert rest[0] == "generic", rest
    name, options = rest[1], rest[2:]
    assert options[:2] == ["-n", "here"], options
    assert name not in secrets, "AlreadyExists"
    options = [option for option in options if option != "--type=kubernetes.io/basic-auth"]
    pairs = (option.removeprefix("--from-literal=").split("=", 1) for option in options[2:])
    secrets[name] = {key: encode(value) for key, value in pairs}
elif (verb, kind) == ("get", "secret"):
    name, *options = rest
    assert options == ["-n", "here", "-o", "jsonpath={.data}"], options
    if name not in secrets:
        sys.exit("NotFound")
    sys.stdout.write(json.dumps(secrets[name], separators=(",", ":")))
else:
    assert (verb, kind) == ("patch", "secret"), words
    name, *options = rest
    assert options[:5] == ["-n", "here", "--type", "merge", "-p"], options
    patch = json.loads(options[5])
    secrets[name].update(patch.get("data", {}))
    secrets[name].update({key: encode(value) for key, value in patch.get("stringData", {}).items()})
place.write_text(json.dumps(secrets))
"""
ENTRIES = Entries(("master-key", "vllm-a"), ("database-url", "redis-password"))
GIVEN = {"DATABASE_URL": 'postgresql://u:p"w\\d$x%s@h/db', "REDIS_PASSWORD": "two words"}


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path):
    """A function that runs a command in a shell with these variables and Secrets: exit code, Secrets after, stderr."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!{sys.executable}\n{KUBECTL}")
    kubectl.chmod(0o755)
    place = tmp_path / "secrets.json"

    def run(command: str, secrets: dict[str, Any], **variables: str) -> tuple[int, dict[str, Any], str]:
        place.write_text(json.dumps({name: _encoded(data) for name, data in secrets.items()}))
        path = f"{tmp_path}:{os.environ['PATH']}"
        environment = {"PATH": path, "FAKE_SECRETS": str(place), **variables}
        done = subprocess.run(
            [request.param, "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        after = {name: _decoded(data) for name, data in json.loads(place.read_text()).items()}
        return done.returncode, after, done.stderr

    return run


def _encoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def _decoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def masked(data: dict[str, str]) -> dict[str, str]:
    """The entries with a word for each value that was drawn; a value drawn twice would be seen."""
    drawn = [value for value in data.values() if re.fullmatch(r"sk-[0-9a-f]{48}", value)]
    assert len(set(drawn)) == len(drawn)
    return {key: "drawn" if value in drawn else value for key, value in data.items()}


def test_a_new_secret_gets_every_entry(shell):
    """What is ours is drawn, each value by itself; what is somebody else's is taken from the shell, byte by byte."""
    code, secrets, errors = shell(create("keys", "here", ENTRIES), {}, **GIVEN)
    assert (code, errors) == (0, "")
    assert masked(secrets["keys"]) == {
        "master-key": "drawn",
        "vllm-a": "drawn",
        "database-url": GIVEN["DATABASE_URL"],
        "redis-password": GIVEN["REDIS_PASSWORD"],
    }


def test_adding_keeps_what_is_there(shell):
    """Only the entries that the Secret lacks are drawn; those it has, ours and foreign ones, stay as they are."""
    before = {"master-key": "sk-mine", "other": "theirs"}
    code, secrets, errors = shell(add("keys", "here", ENTRIES), {"keys": before}, **GIVEN)
    assert (code, errors) == (0, "")
    assert masked(secrets["keys"]) == {
        "master-key": "sk-mine",
        "other": "theirs",
        "vllm-a": "drawn",
        "database-url": GIVEN["DATABASE_URL"],
        "redis-password": GIVEN["REDIS_PASSWORD"],
    }


def test_adding_twice_changes_nothing(shell):
    """The command can be given again: no key that clients hold is drawn anew."""
    entries = Entries(("master-key", "vllm-a"))
    _, first, _ = shell(add("keys", "here", entries), {"keys": {}})
    code, second, _ = shell(add("keys", "here", entries), first)
    assert (code, first.keys(), second) == (0, {"keys"}, first)
    assert masked(first["keys"]) == {"master-key": "drawn", "vllm-a": "drawn"}


@pytest.mark.parametrize("value", [{}, {"REDIS_PASSWORD": ""}])
@pytest.mark.parametrize("command", [create, add])
def test_a_foreign_value_is_never_made_up(shell, command, value):
    """Without the password of the Redis that exists, nothing is written, and the shell says what is missing."""
    before = {} if command is create else {"keys": {"redis-password": "right"}}
    code, secrets, errors = shell(command("keys", "here", Entries((), ("redis-password",))), before, **value)
    assert (code != 0, secrets) == (True, before)
    assert "REDIS_PASSWORD: redis-password, which somebody else decides" in errors


@pytest.mark.parametrize(
    ("command", "before"), [(create, {}), (add, {"pg": {}}), (add, {"pg": {"username": "litellm", "password": "mine"}})]
)
def test_the_role_of_a_database_is_the_same_everywhere(shell, command, before):
    """Its name is written without anybody's help, its password drawn unless it is there."""
    code, secrets, errors = shell(command("pg", "here", Entries(("password",), ("username",))), before)
    assert (code, errors) == (0, "")
    assert masked(secrets["pg"]) == {"username": "litellm", "password": before.get("pg", {}).get("password", "drawn")}
    # as CloudNativePG's documentation asks for it
    assert ("--type=kubernetes.io/basic-auth" in command("pg", "here", Entries(("password",), ("username",)))) == (
        command is create
    )


def test_nothing_is_drawn_for_a_secret_that_cannot_be_read(shell):
    """Where kubectl fails, nobody knows what is there, so nothing is written."""
    code, secrets, errors = shell(add("keys", "here", Entries(("a",))), {"else": {}})
    assert (code != 0, secrets, errors.strip()) == (True, {"else": {}}, "NotFound")


def test_many_entries_stay_readable():
    """Lines are short enough for a report, however many servers there are."""
    text = add("keys", "here", Entries(tuple(f"vllm-model-number-{n}" for n in range(20))))
    assert [line for line in text.splitlines() if len(line) > 98] == []


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (Entries((), ("tls.crt", "tls.key")), "kubectl create secret tls s -n here --cert=<FILE> --key=<FILE>"),
        (Entries(), "kubectl create secret generic s -n here"),
        (
            Entries((), (".dockerconfigjson",)),
            (
                "kubectl create secret docker-registry s -n here \\\n"
                "  --docker-server=<HOST> --docker-username=<USER> \\\n"
                '  --docker-password="${REGISTRY_PASSWORD:?the password of your registry}"'
            ),
        ),
    ],
)
def test_other_types_of_secrets(entries, expected):
    """Certificates and pull secrets have commands of their own, and nothing is added to one that exists."""
    assert (create("s", "here", entries), add("s", "here", entries)) == (expected, "")


def test_the_fake_is_read_by_the_shell():
    """At least bash is there, or nothing above was run."""
    assert "bash" in SHELLS
    assert Path(shutil.which("bash") or "").is_file()
