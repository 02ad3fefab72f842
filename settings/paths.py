"""Paths that a stack file may name: they begin at the folder of Pulumi.yaml, so that every checkout has the file."""

YAML, JSON = (".yaml", ".yml"), (".json",)


def unfit_path(name: str, ends: tuple[str, ...] = YAML) -> str:
    """The reason why nothing is read from a file of this name; empty where something is."""
    if name.startswith(("/", "~")):
        return f"'{name}' must begin at the folder of Pulumi.yaml, so that every checkout has it"
    return "" if name.endswith(ends) else f"'{name}' must end in {' or '.join(ends)}"
