"""Replacement of pods by an update, from the GPUs that are really spare: never a surge pod that cannot be scheduled."""

from math import ceil

from planning.plan.servers import Rollout


def plan_rollout(
    *, gpus_per_replica: int, max_replicas: int, gpus_free: int, load_s: int, cpu_slots: int = 0
) -> Rollout:
    """Surge and unavailability for one server.

    `gpus_free`: GPUs of the pool that nothing else can claim (its own included). For CPU servers
    (`gpus_per_replica` 0) `cpu_slots` is how many of its pods fit. `load_s`: seconds a replacement needs to serve.

    A surge pod fits while at most `room` replicas run. maxUnavailable is the percentage that Kubernetes rounds down to
    0 up to `room` replicas and to at least 1 above, so a full pool is updated in place and a roomy one without a gap.
    """
    slots = gpus_free // gpus_per_replica if gpus_per_replica else cpu_slots
    room = slots - 1
    if room >= max_replicas:
        return Rollout(1, 0, 0, f"room for {slots} replicas, at most {max_replicas} run: a new pod starts first")
    if room < 1:
        spare = "GPUs are" if gpus_per_replica else "node is"
        return Rollout(0, 1, load_s, f"no {spare} spare: pods are replaced in place, one at a time")
    percent = ceil(100 / (room + 1))
    # from ten replicas on, a whole percentage may round up to one pod a little before the pool is full
    first = ceil(100 / percent) - 1
    return Rollout(
        1,
        f"{percent}%",
        0,
        f"a new pod starts first while at most {first} replicas run; with more the pool is full and one is "
        "replaced in place",
    )
