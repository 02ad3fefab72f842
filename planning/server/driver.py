"""The driver that nodes need for the images of the servers on them."""

from collections.abc import Sequence

from catalog.devices import Drivers
from catalog.load import Catalog
from planning.plan.pools import DriverNeed, PoolPlan
from planning.server.servers import Draft
from planning.stack.engines import running

ON = ("1", "true")


def _is_published(server: Draft, catalog: Catalog) -> bool:
    """Whether its image is of those who publish vLLM, of whatever tag: that of its rules then, built as they build."""
    repository = server.image.upstream.partition("@")[0].rpartition(":")[0]
    return server.settings.image is None or repository in {image.repository for image in catalog.images.values()}


def driver_need(pool: PoolPlan, inside: Sequence[Draft], catalog: Catalog) -> DriverNeed | None:
    """Drivers that every server on the pool runs on; of an image of one's own nobody but its maker knows."""
    gpu = catalog.gpus.get(pool.gpu)
    if gpu is None:
        return None
    asked: list[tuple[Drivers, bool]] = []
    for server in inside:
        devices = running(server, catalog).vllm.devices.get(gpu.vendor)
        if devices and devices.drivers and _is_published(server, catalog):
            switched = server.env.get(devices.drivers.switch, "").strip().lower() in ON
            asked.append((devices.drivers, switched))
    labels = catalog.vendors[gpu.vendor].driver_labels
    if not asked or not labels:
        return None
    oldest = max(drivers.oldest for drivers, _ in asked)
    known = sorted({older for drivers, _ in asked for older in drivers.older if older < oldest})
    older = [
        number
        for number in known
        if all(number >= drivers.oldest or (switched and number in drivers.older) for drivers, switched in asked)
    ]
    return DriverNeed(labels, oldest, tuple(older))
