"""Notices of a change: who notices it and for how long, from both documents and the objects' differences.

Pure, like the comparison. Everything here is about requests and people; what happens to objects is the
comparison's (`preview.reporting.compare`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from preview.reporting.compare import POD_TEMPLATE, RESTART, Action, Change
from preview.reporting.fields import ABSENT
from preview.reporting.server_notices import of_servers, start_s
from preview.reporting.sides import Document, Notice, Rank, Sides, identity
from preview.reporting.team_notices import of_teams
from preview.reporting.wording import count, gib, minutes

ROUTES = ("HTTPRoute", "Ingress", "Route")
EVERYBODY = "everybody"
REMOVED = (Action.DELETE, Action.REPLACE)
# What stops for a while when the operator of a chart is upgraded. Servers and the gateway serve on in each case.
UPGRADED = {
    "cloudnative-pg": "the instances of Postgres restart one after the other, and none takes over meanwhile",
    "gpu-operator": "no pod with a GPU can start while its device plugin restarts; a new driver has GPU pods evicted, "
    "node by node (driver.upgradePolicy)",
    "keda": "nothing is scaled, and nothing wakes from zero, while it restarts",
    "kube-prometheus-stack": "no alert fires and no metric is there to scale by while Prometheus restarts",
    "lws": "a replica over several nodes that fails is not made anew while it restarts",
    "prometheus-adapter": "nothing is scaled while it restarts",
}


# The value of the GPU Operator that is off where pods claim their GPUs, and what its maker says of a change.
DEPLOYS_POLICY = "values.clusterPolicy"
OTHER_WAY = (
    "it gives out GPUs in another way, by claims or by its device plugin, which NVIDIA does not support in place: "
    "scale the servers to zero, uninstall it, then update (docs/claims.md)"
)


def collect_notices(sides: Sides) -> tuple[Notice, ...]:
    """Everything that somebody may notice, the worst first; nothing where nothing changes."""
    noticed = [
        Notice(Rank.STOPS, "the update stops", f"`{change.thing}`: {note}")
        for change in sides.changes
        if change.blocked
        for note in change.notes
        if note != RESTART
    ]
    if sides.before is None:
        noticed += _weights(sides, {})
    elif moved := _moved(sides.changes):
        noticed += _everything_moves(sides, moved)
    elif _other_cluster(sides.before, sides.after):
        noticed += _everything_is_made_anew(sides)
    else:
        noticed += _step_by_step(sides, sides.before)
    return tuple(sorted(dict.fromkeys(noticed), key=lambda notice: notice.rank))


def _step_by_step(sides: Sides, before: Document) -> Iterator[Notice]:
    yield from of_servers(sides, before)
    yield from _gateway(sides)
    yield from _limits(before, sides.after)
    yield from _keys(sides)
    yield from of_teams(before, sides.after)
    yield from _operators(sides.changes)
    yield from _weights(sides, before["models"])
    yield from _on_call(before.get("alerts"), sides.after.get("alerts"))


def _moved(changes: Sequence[Change]) -> tuple[str, str] | None:
    """(old, new) namespace when the gateway or a server comes back in another one."""
    gone, come = (
        {identity(change): change.thing.entry.get("namespace") for change in changes if change.action is action}
        for action in (Action.DELETE, Action.ADD)
    )
    pairs = {(gone[key], come[key]) for key in gone.keys() & come.keys() if key[0] in POD_TEMPLATE}
    return next(((str(old), str(new)) for old, new in sorted(pairs) if old != new), None)


def _everything_moves(sides: Sides, moved: tuple[str, str]) -> Iterator[Notice]:
    old, new = moved
    need: dict[str, int] = {}
    for model in sides.after["models"].values():
        need[model["pool"]] = need.get(model["pool"], 0) + model["gpus"] * max(1, model["replicas"]["min"])
    twice = " and ".join(f"{count(gpus, 'GPU')} of pool {pool}" for pool, gpus in need.items() if gpus)
    held = (
        f"; {twice} are needed twice meanwhile, and where they are not free the update waits in vain" if twice else ""
    )
    yield Notice(
        Rank.FAILS,
        EVERYBODY,
        f"the whole stack is made anew in namespace `{new}` before it is deleted in `{old}`{held}. Addresses inside "
        f"the cluster change to `{new}`, and Secrets that were made by hand must be there, too",
    )
    yield from _weights(sides, {})


def _other_cluster(before: Document, after: Document) -> bool:
    identifiers = [(document.get("cluster") or {}).get("identifier") for document in (before, after)]
    return None not in identifiers and identifiers[0] != identifiers[1]


def _everything_is_made_anew(sides: Sides) -> Iterator[Notice]:
    slowest = max((start_s(model) for model in sides.after["models"].values()), default=0)
    yield Notice(
        Rank.FAILS,
        EVERYBODY,
        "`cluster.identifier` is another, so Pulumi takes the cluster for another one: it replaces every object. If it "
        "is the same cluster, give it its old identifier",
        slowest,
    )
    yield from _weights(sides, {})


def _gateway(sides: Sides) -> Iterator[Notice]:
    before, after = ((side or {}).get("gateway") or {} for side in (sides.before, sides.after))
    drain = after.get("drain_s")
    for change in sides.changes:
        kind, name = identity(change)
        owner = str(change.thing.entry.get("component") or "")
        if not owner.startswith("LlmGateway/"):
            continue
        if kind in POD_TEMPLATE and name.endswith("-redis"):
            if change.action is not Action.CHANGE or RESTART in change.notes:
                effect = "requests and tokens of the current minute are counted anew: what Redis held is gone"
                yield Notice(Rank.DIFFERS, "clients with limits", effect)
        elif kind in POD_TEMPLATE:
            if change.action is Action.CHANGE and RESTART in change.notes:
                streams = f"streams that run have {minutes(drain)} to end" if drain else "streams that run are drained"
                effect = f"the gateway's pods are replaced one by one, a new one first; {streams}"
                yield Notice(Rank.NOBODY, "nobody", effect)
            elif change.action is not Action.CHANGE:
                yield Notice(Rank.FAILS, EVERYBODY, f"the gateway is {change.action}")
        # not of the page to chat with; a Route has a path at the end of its name
        elif kind in ROUTES and change.action in REMOVED and name.startswith(after.get("name", name)):
            yield from _route(sides, kind)
    yield from _gateway_replicas(before, after)
    hosts = before.get("host"), after.get("host")
    if before and hosts[0] and hosts[0] != hosts[1]:
        there = f"https://{hosts[1]}" if hosts[1] else "inside the cluster only"
        yield Notice(
            Rank.FAILS, "clients outside of the cluster", f"https://{hosts[0]} no longer answers; it is {there}"
        )


def _gateway_replicas(before: Document, after: Document) -> Iterator[Notice]:
    """Another number of replicas; documents of former versions have one number."""
    (low, high), (fewest, most) = (
        (side.get("replicas", 0), side.get("max_replicas", side.get("replicas", 0))) for side in (before, after)
    )
    if not low or not fewest or (low, high) == (fewest, most):
        return
    was, now = (str(a) if a == b else f"{a}–{b}" for a, b in ((low, high), (fewest, most)))
    drain = after.get("drain_s")
    fewer = f"; streams of pods that go have {minutes(drain)} to end" if drain and (fewest < low or most < high) else ""
    yield Notice(Rank.NOBODY, "nobody", f"the gateway runs with {now} replicas, no longer {was}{fewer}")


def _route(sides: Sides, kind: str) -> Iterator[Notice]:
    come = [c.thing.entry["kind"] for c in sides.changes if c.action is Action.ADD and c.thing.entry["kind"] in ROUTES]
    if come:
        effect = f"traffic comes by {come[0]}, no longer by {kind}: its address is another, and DNS has to follow"
        yield Notice(Rank.FAILS, "clients outside of the cluster", effect)
    else:
        yield Notice(Rank.FAILS, "clients outside of the cluster", f"the {kind} goes: the gateway cannot be reached")


def _limits(before: Document, after: Document) -> Iterator[Notice]:
    """Limits of models that both sides have; lower ones are noticed by those who ask more than that."""
    old, new = ((side.get("gateway") or {}).get("limits") or {} for side in (before, after))
    for name in sorted(old.keys() & new.keys()):
        for unit in ("requests", "tokens"):
            was, now = old[name][unit], new[name][unit]
            if was == now:
                continue
            shown = [f"{number:,}" if number is not None else "any number of" for number in (now, was)]
            effect = f"`{name}` takes {shown[0]} {unit} per minute, no longer {shown[1]}"
            if now is not None and (was is None or now < was):
                yield Notice(Rank.DIFFERS, f"users of `{name}`", f"{effect}; the gateway refuses what is beyond")
            else:
                yield Notice(Rank.NOBODY, "nobody", effect)


def _keys(sides: Sides) -> Iterator[Notice]:
    restarted = max((model["update_gap_s"] for model in sides.after["models"].values()), default=0)
    if "gatewayMasterKey" in sides.rekeyed:
        gap = f", the slowest for about {minutes(restarted)}" if restarted else ""
        yield Notice(
            Rank.FAILS,
            EVERYBODY,
            "`gatewayMasterKey` is encrypted anew. If its value is another, clients with the old key get 401, and "
            f"every server restarts{gap}: their keys are derived from it",
        )
    if "huggingFaceToken" in sides.rekeyed:
        yield Notice(Rank.NOBODY, "nobody", "`huggingFaceToken` is encrypted anew; only downloads use it")
    for change in sides.changes:
        if not str(change.thing.entry.get("component") or "").startswith("LlmGateway/"):
            continue
        for old, new in _secret_moves(change, "LITELLM_MASTER_KEY"):
            effect = f"the master key is read from {new}, no longer from {old}: clients need the one that is there"
            yield Notice(Rank.FAILS, EVERYBODY, effect)
        for old, new in _secret_moves(change, "DATABASE_URL"):
            effect = (
                f"keys, teams and budgets come from {new}, no longer from {old}: what only the old one has gets 401"
            )
            yield Notice(Rank.FAILS, "holders of virtual keys", effect)


def _secret_moves(change: Change, variable: str) -> Iterator[tuple[str, str]]:
    """(old, new) place that an environment variable of the gateway's pods comes from, or that its URL leads to."""
    if change.thing.entry["kind"] not in POD_TEMPLATE:
        return
    places: tuple[list[str], list[str]] = [], []
    for field in change.fields:
        _, variable_found, rest = field.path.partition(f".env[{variable}]")
        if variable_found and rest in ("", ".value", ".valueFrom", ".valueFrom.secretKeyRef.name"):
            for side, value in zip(places, (field.old, field.new), strict=True):
                side.extend([_place(value)] if value is not ABSENT else [])
    old, new = (side[0] if side else "nowhere" for side in places)
    if old != new:
        yield old, new


def _place(value: Any) -> str:
    match value:
        case {"valueFrom": {"secretKeyRef": {"name": str(name)}}} | {"secretKeyRef": {"name": str(name)}}:
            return f"Secret {name}"
        case {"value": str(url)} | str(url) if "@" in url:
            return url.rpartition("@")[2].partition(":")[0]
        case str(name):
            return f"Secret {name}"
        case _:
            return "elsewhere"


def _operators(changes: Sequence[Change]) -> Iterator[Notice]:
    for change in changes:
        if change.thing.entry["kind"] != "Release":
            continue
        name, body = change.thing.entry["name"], change.thing.body
        chart = str(body.get("chart", name)).rpartition("/")[2]
        effect = UPGRADED.get(chart, "what it does pauses while it restarts")
        match change.action:
            case Action.ADD:
                yield Notice(
                    Rank.OPERATORS, "whoever operates the cluster", f"{chart} {body.get('version')} is installed"
                )
            case Action.DELETE:
                yield Notice(
                    Rank.OPERATORS, "whoever operates the cluster", f"{chart} is uninstalled, for all that use it"
                )
            case _:
                if any(field.path.startswith(DEPLOYS_POLICY) for field in change.fields):
                    effect = OTHER_WAY
                version = next((f": {f.old} → {f.new}" for f in change.fields if f.path == "version"), "")
                yield Notice(Rank.OPERATORS, "whoever operates the cluster", f"{chart} is upgraded{version}; {effect}")


def _weights(sides: Sides, old: Document) -> Iterator[Notice]:
    """Checkpoints that are not in their place yet: each is fetched once, whoever uses it."""
    held = {_filled(model.get("checkpoint") or {}) for model in old.values()}
    # an older version does not say where checkpoints are
    known = {model["model"] for model in old.values() if not model.get("checkpoint")}
    seen: set[str] = set()
    for model in sides.after["models"].values():
        checkpoint = model.get("checkpoint")
        if not checkpoint or not checkpoint["fetch_s"] or _filled(checkpoint) in held | seen:
            continue
        if model["model"] in known:
            continue
        seen.add(_filled(checkpoint))
        effect = f"{gib(checkpoint['gib'])} GiB of weights of {model['model']} are fetched first, in about"
        yield Notice(Rank.OPERATORS, "whoever waits for the update", f"{effect} {minutes(checkpoint['fetch_s'])}")


def _filled(checkpoint: Document) -> str:
    """The claim or folder of a bucket that a Job fills."""
    return checkpoint.get("claim") or checkpoint.get("store") or ""


def _on_call(before: Sequence[str] | None, after: Sequence[str] | None) -> Iterator[Notice]:
    for word, here, there in (("new", after, before), ("gone", before, after)):
        # an older version does not say which alerts it has
        if here is not None and there is not None and (names := sorted({*here} - {*there})):
            verb = "is" if len(names) == 1 else "are"
            yield Notice(Rank.OPERATORS, "whoever is on call", f"{', '.join(names)} {verb} {word}")
