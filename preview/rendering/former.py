"""Former names of resources, by aliases of their own and of the components they belong to.

The engine knows a resource by any of its former URNs, and gives a child those that follow from its parent's (SDK,
`all_aliases` and `inherited_child_alias` in pulumi/resource.py).
"""

from collections.abc import Iterator, Sequence

from preview.rendering.records import STACK_TYPE, Record

# The SDK names former types of Kubernetes' objects by itself; objects of another API version are compared as others.
OF_THE_SDK = "type=kubernetes:"


def former_urns(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """URN → the URNs it had before, of every resource that had any."""
    former: dict[str, tuple[str, ...]] = {}
    # a parent is declared before its children
    for record in sorted(records, key=lambda record: record.urn.count("$")):
        names = dict.fromkeys(_former(record, former.get(record.parent, ())))
        former[record.urn] = tuple(name for name in names if name != record.urn)
    return {urn: names for urn, names in former.items() if names}


def _former(record: Record, of_parent: Sequence[str]) -> Iterator[str]:
    """`of_parent`: the former URNs of its parent."""
    own = [alias for alias in record.options.aliases if not alias.startswith(OF_THE_SDK)]
    for alias in ("", *own):
        if alias.startswith("urn:"):
            yield alias
            continue
        parts: dict[str, str] = dict(part.split("=", 1) for part in alias.split(",") if part)
        type_, name = parts.get("type", record.type), parts.get("name", record.name)
        if "noParent" in parts:
            yield _urn(record, "", type_, name)
        elif "parentUrn" in parts:
            yield _urn(record, parts["parentUrn"], type_, name)
        else:
            yield _urn(record, record.parent, type_, name)
            for parent in of_parent:
                yield _urn(record, parent, type_, _renamed(name, record.parent, parent))


def _renamed(name: str, parent: str, former: str) -> str:
    """The name of a child under the former name of its parent, which it begins with as a rule."""
    now, then = (urn.rpartition("::")[2] for urn in (parent, former))
    return then + name.removeprefix(now) if name.startswith(now) else name


def _urn(record: Record, parent: str, type_: str, name: str) -> str:
    """The URN beside that of `record`, below another parent."""
    stack, project = record.urn.split("::")[:2]
    above = parent.split("::")[2] if parent else ""
    return f"{stack}::{project}::{f'{above}${type_}' if above not in ('', STACK_TYPE) else type_}::{name}"
