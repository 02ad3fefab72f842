"""Makes a cluster know other projects' kinds."""

from typing import Any

from workshop.simcluster.api import Api, wait_until

ESTABLISH_TIMEOUT_S = 60


def install_definitions(api: Api) -> None:
    """All definitions of other projects' kinds, and waits until they are served."""
    from workshop.simcluster.crds import definitions  # noqa: PLC0415 - reads 1 MB, which `status` need not

    wanted = definitions()
    present = {item["metadata"]["name"] for item in api.items("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    missing = [item for item in wanted if item["metadata"]["name"] not in present]
    for definition in missing:
        api.create(definition)

    def served() -> bool:
        found = api.items("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        return all(_established(item) for item in found)

    wait_until(served, ESTABLISH_TIMEOUT_S, "definitions of custom resources are not established")


def _established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)
