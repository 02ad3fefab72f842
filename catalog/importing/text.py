"""An entry as YAML for a catalogue file of one's own."""

from collections.abc import Mapping, Sequence

import yaml

WIDTH = 120
# Mappings that are written on lines of their own within braces, as in models.yaml.
BRACED = ("architecture", "context", "checkpoint", "serving")
HEAD = "# A catalogue file of your own: catalog: {files: [this file]} in the stack file."


def as_yaml(name: str, entry: Mapping[str, object], unknown: Sequence[str]) -> str:
    """The file: one model, and as comments what its files do not say."""
    lines = [HEAD, "models:", f"  {_plain(name)}:"]
    for key, value in entry.items():
        if key in BRACED and isinstance(value, Mapping):
            lines += _braced(key, value)
        elif isinstance(value, list):
            lines += [f"    {key}:", *(f"      - {_plain(each)}" for each in value)]
        else:
            lines.append(f"    {key}: {_plain(value)}")
    lines += [f"    # unknown: {each}" for each in unknown]
    return "\n".join(lines) + "\n"


def _braced(key: str, value: Mapping[str, object]) -> list[str]:
    line = f"    {key}: {_flow(value)}"
    if len(line) <= WIDTH:
        return [line]
    lines, current = [f"    {key}:", "      {"], "       "
    # YAML goes on in the next line after any comma within braces
    for word in _flow(value)[1:-1].split(", "):
        piece = f" {word},"
        if len(current) + len(piece) > WIDTH and current.strip():
            lines.append(current)
            current = "       "
        current += piece
    return [*lines, current, "      }"]


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _plain(value)


def _plain(value: object) -> str:
    """One value, quoted where YAML would take it for something else."""
    if isinstance(value, str):
        return yaml.safe_dump(value, width=10**6, allow_unicode=True, default_flow_style=True).splitlines()[0]
    return yaml.safe_dump(value).splitlines()[0]
