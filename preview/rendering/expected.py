"""The shape of something that a stack expects to find on its cluster."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """One thing that must exist, and `command` that creates it where one command can.

    `keys`: entries of a Secret or ConfigMap, access modes of a StorageClass, listeners of a Gateway, kinds of an API.

    `drawn`: those of its keys whose value may be made up. `add`: the command for a Secret that exists already.
    """

    kind: str
    name: str
    namespace: str = ""
    keys: tuple[str, ...] = ()
    note: str = ""
    command: str = ""
    drawn: tuple[str, ...] = ()
    add: str = ""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind} {self.name}{where}{f': {self.note}' if self.note else ''}"
