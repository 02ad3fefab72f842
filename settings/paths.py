"""Paths that a stack file may name: they begin at the folder of Pulumi.yaml, so that every checkout has the file."""

YAML = (".yaml", ".yml")


def unfit_path(name: str) -> str:
    """The reason why no entries are read from a file of this name; empty where they are."""
    if name.startswith(("/", "~")):
        return f"'{name}' must begin at the folder of Pulumi.yaml, so that every checkout has it"
    return "" if name.endswith(YAML) else f"'{name}' must end in {' or '.join(YAML)}"
