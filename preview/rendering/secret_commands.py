"""Shell commands that put entries into a Secret: one that makes it, one that adds to it what it lacks.

A value that programs of the stack agree on among themselves is drawn. A value that somebody else decides (the password
of a Redis that is there already, a database URL, a token) is never made up: the command reads it from a variable of the
shell, and does nothing while that is empty.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from catalog import load_catalog
from planning.gateway.teams import VARIABLE as TEAM_KEY
from planning.plan.stores import SERVING_ROLE

# Who has to accept a value decides what it may be: (app.kubernetes.io/name, variable) of programs that take any, as
# servers do.
ACCEPTED_BY = frozenset(
    {
        ("litellm", "LITELLM_MASTER_KEY"),
        ("litellm", "LITELLM_SALT_KEY"),
        ("litellm", "POSTGRES_PASSWORD"),
        ("open-webui", "WEBUI_ADMIN_PASSWORD"),
        ("open-webui", "WEBUI_SECRET_KEY"),
        ("postgres", "OWNER_PASSWORD"),
        ("postgres", "SERVING_PASSWORD"),
        ("redis", "REDIS_PASSWORD"),
    }
)
# LiteLLM wants its master key and those of teams to begin like this; the others do not mind.
DRAWN = "sk-$(openssl rand -hex 24)"
# Entries whose value is always somebody else's, and what it is, for the message of the shell.
FOREIGN = {
    "database-url": "postgresql://USER:PASSWORD@HOST:5432/NAME of your Postgres",
    "token": "your token of the model hub",
}
# Entries whose value nobody chooses: the role of Postgres that serves.
SAME_EVERYWHERE = {"username": SERVING_ROLE}
PULL_ENTRY = ".dockerconfigjson"
TLS_ENTRIES = {"tls.crt", "tls.key"}
WIDTH = 88


def takes_any(app: str, variable: str) -> bool:
    """Whether a program takes any value of this variable for its key."""
    if app == "litellm-teams" and variable.startswith(TEAM_KEY):
        return True
    return (app, variable) in {*ACCEPTED_BY, ("vllm", load_catalog().vllm.health.api_key_env)}


@dataclass(frozen=True)
class Entries:
    """Entries of one Secret: those whose value may be drawn, and those whose value is somebody else's."""

    drawn: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


def create(name: str, namespace: str, entries: Entries) -> str:
    """The command that makes the Secret with all entries."""
    here = f"{name} -n {namespace}"
    foreign = set(entries.given)
    if foreign == TLS_ENTRIES:
        return f"kubectl create secret tls {here} --cert=<FILE> --key=<FILE>"
    if foreign == {PULL_ENTRY}:
        password = _variable("registry-password", "the password of your registry")
        lines = ["--docker-server=<HOST> --docker-username=<USER>", f'--docker-password="{password}"']
        return " \\\n  ".join([f"kubectl create secret docker-registry {here}", *lines])
    foreign_values = {key: SAME_EVERYWHERE.get(key) or _variable(key) for key in entries.given}
    values = {**dict.fromkeys(entries.drawn, DRAWN), **foreign_values}
    literals = [f'  --from-literal={key}="{value}"' for key, value in sorted(values.items())]
    kind = " --type=kubernetes.io/basic-auth" if "username" in entries.given else ""
    return " \\\n".join([f"kubectl create secret generic {here}{kind}", *literals])


def add(name: str, namespace: str, entries: Entries) -> str:
    """The command that adds what the Secret lacks, and leaves what it has; empty where nothing can be added."""
    here = f"{name} -n {namespace}"
    if not set(entries.given).isdisjoint({*TLS_ENTRIES, PULL_ENTRY}):
        return ""
    commands = []
    if entries.drawn:
        body = _body("stringData", {"$entry": DRAWN})
        commands.append(
            f"have=$(kubectl get secret {here} -o jsonpath='{{.data}}') &&\n"
            f"for entry in {_folded(entries.drawn)}; do\n"
            f'  case $have in *"\\"$entry\\":"*) ;; *) kubectl patch secret {here} \\\n'
            f'    --type merge -p "{body}" ;; esac\n'
            "done"
        )
    for key in sorted(SAME_EVERYWHERE.keys() & set(entries.given)):
        body = _body("stringData", {key: SAME_EVERYWHERE[key]})
        commands.append(f'kubectl patch secret {here} --type merge -p "{body}"')
    for key in (key for key in entries.given if key not in SAME_EVERYWHERE):
        value = f"$(printf %s \"${name_of(key)}\" | base64 | tr -d '\\n')"
        patch = f'kubectl patch secret {here} \\\n  --type merge -p "{_body("data", {key: value})}"'
        commands.append(f': "{_variable(key)}" &&\n{patch}')
    return "\n".join(commands)


def _body(field: str, values: Mapping[str, str]) -> str:
    """JSON inside double quotes of a shell. Values are expanded by it, and consist of what needs no escape in JSON."""
    pairs = ",".join(f'\\"{key}\\":\\"{value}\\"' for key, value in values.items())
    return f'{{\\"{field}\\":{{{pairs}}}}}'


def name_of(key: str) -> str:
    """The variable of the shell that holds the value of an entry."""
    return "".join(sign if sign.isalnum() else "_" for sign in key).strip("_").upper()


def _variable(key: str, meaning: str = "") -> str:
    """Expands to the value of the variable; where that is empty, the shell says what is missing and stops."""
    return f"${{{name_of(key)}:?{meaning or FOREIGN.get(key) or f'{key}, which somebody else decides'}}}"


def _folded(words: Iterable[str]) -> str:
    """Words over as many lines as it takes."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n  ".join(lines)
