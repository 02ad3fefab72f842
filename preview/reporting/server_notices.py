"""Notices of what a change does to the servers of models: gaps, canaries, other answers, other replicas.

Pure, as all of the comparison.
"""

from collections.abc import Iterator, Mapping, Sequence

from preview.reporting.compare import POD_TEMPLATE, RESTART, Action, Change
from preview.reporting.sides import Document, Notice, Rank, Sides, identity
from preview.reporting.wording import count, minutes

AUTOSCALERS = ("ScaledObject", "HorizontalPodAutoscaler")


def of_servers(sides: Sides, before: Document) -> Iterator[Notice]:
    """Notices of servers that go, come, and change."""
    old, new = before["models"], sides.after["models"]
    yield from _removed(old, new)
    for name, model in new.items():
        if name not in old:
            yield from _added(sides, name, model)
        else:
            yield from _server(sides, name, old[name], model)
            yield from _canary_share(name, old[name], model)


def start_s(model: Document) -> int:
    """Seconds from the start of a server's pod until it answers."""
    return int(model["expected_start_s"])


def _removed(old: Document, new: Document) -> Iterator[Notice]:
    for name, model in old.items():
        if name in new:
            continue
        if model.get("canary"):
            users = _users(name.removesuffix("-canary"))
            if name.removesuffix("-canary") in new:
                share = model.get("weight_percent")
                yield Notice(Rank.DIFFERS, users, f"the canary's {share} % of the requests go back to the first server")
            continue
        successor = next(
            (to for to, new_model in new.items() if new_model.get("replaces") == model.get("server")), None
        )
        instead = f"; `{successor}` takes its place" if successor and model.get("server") else ""
        yield Notice(Rank.FAILS, _users(name), f"the model is gone, its requests are refused{instead}")


def _added(sides: Sides, name: str, model: Document) -> Iterator[Notice]:
    start = minutes(start_s(model))
    if model.get("canary"):
        first = name.removesuffix("-canary")
        effect = (
            f"{model['weight_percent']} % of the requests are answered by the canary, {model['model']}; until it is"
        )
        yield Notice(Rank.DIFFERS, _users(first), f"{effect} loaded, about {start} later, they are retried")
        return
    change = _workload(sides.changes, model)
    waits = next((note for note in (change.notes if change else ()) if "in vain" in note), "")
    if waits:
        yield Notice(Rank.STOPS, "the update may stop", f"`{name}` {waits}")
        return
    after = f" once {model['replaces'].removeprefix('vllm-')} has gone" if model.get("replaces") else ""
    yield Notice(Rank.NOBODY, "nobody", f"`{name}` is new and answers about {start} after its weights are there{after}")


def _server(sides: Sides, name: str, old: Document, new: Document) -> Iterator[Notice]:
    """Notices of one model's own server."""
    change = _workload(sides.changes, new)
    first = name.removesuffix("-canary") if new.get("canary") else name
    users = _users(first)
    if new["context_tokens"] < old["context_tokens"]:
        limit = f"{new['context_tokens']:,} tokens, no longer up to {old['context_tokens']:,}"
        yield Notice(Rank.DIFFERS, users, f"prompt and answer together may have up to {limit}")
    if new["model"] != old["model"]:
        yield Notice(Rank.DIFFERS, users, f"answers come from {new['model']}, no longer from {old['model']}")
    if change is not None and change.action in (Action.REPLACE, Action.ADD):
        yield Notice(Rank.FAILS, users, f"its server is deleted and made anew{_meanwhile(sides, first)}", start_s(new))
    elif change is not None and RESTART in change.notes:
        yield from _restart(sides, name, first, new)
    if not new.get("canary"):
        yield from _renamed(name, old.get("public_name") or name, new)
    yield from _replicas(sides, users, old, new)
    if not new.get("canary"):
        yield from _adapters(old.get("adapters") or {}, new.get("adapters") or {})


def _renamed(name: str, was: str, new: Document) -> Iterator[Notice]:
    """Whoever asks by a former name, which no key of a team opens any more either."""
    if was != (now := new.get("public_name") or name):
        effect = f"it is called `{now}` from now on: requests for `{was}` are refused, write `{now}` in clients"
        yield Notice(Rank.FAILS, _users(was), f"{effect}; keys made by hand that name the old one lose it")


def _adapters(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Notice]:
    """Notices of adapters that go, come, and are others; that their server restarts for it is said of that."""
    for name in old:
        if name not in new:
            yield Notice(Rank.FAILS, _users(name), "the adapter is gone, its requests are refused")
        elif new[name] != old[name]:
            yield Notice(Rank.DIFFERS, _users(name), f"answers come from {new[name]}, no longer from {old[name]}")
    for name in new:
        if name not in old:
            effect = f"the adapter `{name}` is new, and answers once the server of its model has started anew"
            yield Notice(Rank.NOBODY, "nobody", effect)


def _restart(sides: Sides, name: str, first: str, model: Document) -> Iterator[Notice]:
    gap, fewest = model["update_gap_s"], model["replicas"]["min"]
    drained = f"streams that run have {minutes(model['drain_s'])} to end" if model.get("drain_s") else "streams may end"
    if not gap:
        effect = f"the pods of `{name}` are replaced one by one, a new one first; {drained}"
        yield Notice(Rank.NOBODY, "nobody", effect)
    elif (share := _share(sides.after, name, model)) == 0:
        yield Notice(Rank.NOBODY, "nobody", f"`{name}` is stopped and started again, and gets no requests meanwhile")
    elif share < 100:
        effect = (
            f"the server of {share} % of the requests is stopped and started again; they are retried at the other one"
        )
        yield Notice(Rank.DIFFERS, _users(first), effect, gap)
    elif fewest > 1:
        effect = (
            f"its {fewest} replicas are replaced in place, so one at a time is missing, each for that long; {drained}"
        )
        yield Notice(Rank.DIFFERS, _users(first), effect, gap)
    else:
        idle = ", unless it is at zero then" if fewest == 0 else ""
        effect = f"its pod is stopped before the next one starts (no GPUs are spare){idle}; {drained}"
        yield Notice(Rank.FAILS, _users(first), f"{effect}{_meanwhile(sides, first)}", gap)


def _share(document: Document, name: str, model: Document) -> int:
    """Percent of a public name's requests that this server gets."""
    if model.get("canary"):
        return int(model["weight_percent"])
    canary = document["models"].get(f"{name}-canary")
    return 100 - int(canary["weight_percent"]) if canary and canary.get("canary") else 100


def _meanwhile(sides: Sides, name: str) -> str:
    fallbacks = (sides.after.get("gateway") or {}).get("fallbacks", {}).get(name, ())
    return (
        f". {' and '.join(fallbacks)} {'answers' if len(fallbacks) == 1 else 'answer'} meanwhile" if fallbacks else ""
    )


def _replicas(sides: Sides, users: str, old: Document, new: Document) -> Iterator[Notice]:
    (low, high), (fewest, most) = ((side["replicas"]["min"], side["replicas"]["max"]) for side in (old, new))
    name = new.get("server") or users
    if fewest == 0 < low:
        effect = "whoever asks first after a pause waits for its start or is refused"
        yield Notice(
            Rank.DIFFERS, users, f"the model may go to zero replicas; {effect}, about {minutes(new['cold_start_s'])}"
        )
    elif (fewest, most) != (low, high):
        shown = [str(b) if a == b else f"{a}–{b}" for a, b in ((low, high), (fewest, most))]
        effect = f"`{name}` runs with {shown[1]} replicas, no longer {shown[0]}"
        fewer = f"; requests of pods that go have {minutes(new['drain_s'])} to end" if new.get("drain_s") else ""
        yield Notice(Rank.NOBODY, "nobody", effect + (fewer if most < high or fewest < low else ""))
    scalers = [
        change
        for change in sides.changes
        if change.thing.entry["kind"] in AUTOSCALERS and change.thing.entry["name"] == new.get("server")
    ]
    actions = {change.action for change in scalers}
    if Action.DELETE in actions and Action.ADD not in actions:
        effect = f"`{name}` is no longer scaled and set to {count(most, 'replica')} at once"
        yield Notice(Rank.DIFFERS if most < high else Rank.NOBODY, users if most < high else "nobody", effect)
    elif actions & {Action.DELETE, Action.REPLACE}:
        effect = f"the autoscaler of `{name}` is another object; replicas stay until it counts for itself"
        yield Notice(Rank.OPERATORS, "whoever operates it", effect)


def _canary_share(name: str, old: Document, new: Document) -> Iterator[Notice]:
    shares = [model.get("weight_percent") for model in (old, new)]
    if new.get("canary") and None not in shares and shares[0] != shares[1]:
        effect = f"{shares[1]} % of the requests go to the canary, no longer {shares[0]} %"
        yield Notice(Rank.DIFFERS, _users(name.removesuffix("-canary")), effect)


def _workload(changes: Sequence[Change], model: Document) -> Change | None:
    """The change of a server's pods; a workload of another kind that comes in its place is an addition."""
    remaining = (change for change in changes if change.action is not Action.DELETE)
    return next(
        (c for c in remaining if identity(c)[0] in POD_TEMPLATE and identity(c)[1] == model.get("server")), None
    )


def _users(name: str) -> str:
    return f"users of `{name}`"
