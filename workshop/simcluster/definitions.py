"""Makes a cluster know other projects' kinds."""

from workshop.kubernetes import is_ready
from workshop.simcluster.api import Api, wait_until

DEFINITION = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
ESTABLISH_TIMEOUT_S = 60


def install_definitions(api: Api) -> None:
    """All definitions of other projects' kinds, and waits until they are served."""
    from workshop.simcluster.crds import definitions  # noqa: PLC0415 - reads 1 MB, which `status` need not

    wanted = definitions()
    present = {item["metadata"]["name"] for item in api.items(*DEFINITION)}
    for definition in wanted:
        if definition["metadata"]["name"] not in present:
            api.create(definition)
    wait_until(
        lambda: all(is_ready(item, "Established") for item in api.items(*DEFINITION)),
        ESTABLISH_TIMEOUT_S,
        "definitions of custom resources are not established",
    )
