"""A rendering as a page for a person: what each model gets and why, what is declared, what is still to be done.

Owns the page. The figures are the plan's; colour and width are the terminal's, and nothing is said by colour alone.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from planning.plan import BundledRedis, CheckpointPlan, ExistingClaim, Hub, OwnClaim, Plan, WeightsPlan
from preview.rendering.manifests import Category, Manifest, component_label
from preview.rendering.prerequisites import Expected, prerequisites
from preview.rendering.records import Record
from preview.rendering.render import Rendering
from preview.reporting.model_page import model_page
from preview.reporting.page import facts, listed, named, packed, reasons, section
from preview.reporting.summary import bill, display_name
from preview.reporting.wording import count, gib, minutes, usd, usd_range

# Wide enough for every line that matters, narrow enough for a code review.
PLAIN_WIDTH = 100


def print_report(rendering: Rendering, found: Sequence[Manifest]) -> None:
    """Prints the page of one stack that is not refused: as wide as the terminal, plain and 100 wide where none is."""
    # brackets and colons are what they are: an address of IPv6 is no markup, nor the port of a mirror an emoji
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    console = Console(**plain)
    if not console.is_terminal:
        console = Console(**plain, width=PLAIN_WIDTH)
    with console.capture() as captured:
        console.print(page(rendering, found, console.width))
    # tables are padded to the full width, which is noise in a log
    lines = (line.rstrip(" ") for line in captured.get().splitlines())
    sys.stdout.write("\n".join(lines) + "\n")


def page(rendering: Rendering, found: Sequence[Manifest], width: int) -> RenderableType:
    """The page of one stack, for a console of so many columns."""
    plan = rendering.plan
    parts: list[RenderableType] = [_title(rendering)]
    if plan is not None:
        for server in plan.servers:
            heading = Text.assemble((display_name(server), "bold cyan"), "  ", server.model)
            parts.append(section(heading, model_page(server, plan.pools[server.pool], width)))
        parts.append(section("Shared by all models", facts(_shared(plan))))
    parts.append(section("Declared", _declared(rendering.records, found, width)))
    parts.append(section("Expected on the cluster", _expected(prerequisites(found), plan)))
    if plan is not None:
        parts.extend(_closing(plan, [*plan.warnings, *rendering.messages]))
    return Group(*parts)


def _title(rendering: Rendering) -> RenderableType:
    title = Text.assemble((rendering.project, "bold"), " · ", (rendering.stack, "bold cyan"))
    parts: list[RenderableType] = [Rule(title, align="left", characters="═", style="cyan")]
    if rendering.plan is not None:
        plan = rendering.plan
        parts.append(
            Text(
                f"cluster {plan.cluster_identifier} (context {plan.context}), Kubernetes {plan.kubernetes}, "
                f"namespace {plan.namespace}"
            )
        )
    return Group(*parts)


def _shared(plan: Plan) -> Iterator[tuple[str, RenderableType]]:
    for position, pool in enumerate(plan.pools.values()):
        each = f"{pool.gpus_per_node} × {pool.gpu_name}" if pool.gpus_per_node else f"{pool.cpus_per_node} CPU cores"
        price = f", {usd(pool.usd_per_node_hour)}/h each" if pool.usd_per_node_hour else ""
        text = f"{pool.name}: {count(pool.nodes, 'node')} of {each}, {pool.provisioning.kind}{price}"
        yield "" if position else "pools", Group(text, reasons(pool.reasons))
    yield "weights", _weights(plan.weights)
    gateway = plan.gateway
    reached = gateway.exposure.url if gateway.exposure else "inside the cluster only"
    redis = "no Redis"
    if gateway.redis:
        redis = "its own Redis" if isinstance(gateway.redis, BundledRedis) else f"Redis at {gateway.redis.host}"
    database = f"Postgres by Secret {gateway.database.secret}" if gateway.database else "no Postgres"
    behaviour = f"requests up to {minutes(gateway.request_timeout_s)}, {gateway.retries} retries; {redis}, {database}"
    details = [
        behaviour,
        *(f"{model} falls back to {', '.join(others)}" for model, others in gateway.fallbacks),
    ]
    text = f"LiteLLM {gateway.image.version}, {count(gateway.replicas, 'replica')}, {reached}"
    yield "gateway", Group(text, listed(details), reasons(gateway.reasons))
    watched = plan.observability
    yield "alerts", f"{len(watched.alerts)} and a dashboard, for Prometheus release {watched.release}"


def _weights(weights: WeightsPlan) -> RenderableType:
    """Where the checkpoints are, and unless they are there already, from where and how long it takes."""
    places: dict[str, None] = {}
    checkpoints = []
    for checkpoint in weights.checkpoints:
        where, size = _place(checkpoint, weights.hub)
        places[where] = None
        checkpoints.append(Text.assemble(checkpoint.model, (f" @ {checkpoint.revision[:12]}", "dim"), size))
    return Group("\n".join(places), reasons(weights.reasons), listed(checkpoints))


def _place(checkpoint: CheckpointPlan, hub: Hub | None) -> tuple[str, str]:
    """(where it is, as is said of all that are there; its size, and what it takes to bring it there)."""
    size = f", {gib(checkpoint.disk_bytes / 2**30)} GiB"
    match checkpoint.place:
        case ExistingClaim(name=name):
            return f"on the existing claim {name}, mounted read-only; it is neither filled nor changed", size
        case OwnClaim(storage_class=storage_class, gib=claim_gib, fetch=fetch):
            assert hub is not None, "claims of our own are filled"
            where = (
                f"a claim per checkpoint on {storage_class}, filled from {hub.endpoint or hub.kind}, kept on destroy"
            )
            return where, f"{size} on a claim of {claim_gib:,} GiB, {minutes(fetch.download_s)} to fetch"


def _declared(records: Sequence[Record], found: Sequence[Manifest], width: int) -> RenderableType:
    """Components with their objects, one line per kind; then what the program declares outside of components."""
    owned: dict[str, list[Manifest]] = {}
    for manifest in found:
        owned.setdefault(manifest.component, []).append(manifest)
    lines: list[RenderableType] = []
    labels = [component_label(record.urn) for record in records if not record.custom]
    for label in [*labels, *([""] if "" in owned else [])]:
        class_name, _, name = label.partition("/")
        lines.append(Text.assemble((class_name or "outside of components", "cyan"), " ", (name, "bold")))
        lines.append(Padding(named(_by_kind(owned.get(label, []))), (0, 0, 0, 2)))
    total = Counter(manifest.kind for manifest in found if manifest.category is Category.OBJECT)
    kinds = [f"{number} {kind}" for kind, number in sorted(total.items(), key=lambda item: (-item[1], item[0]))]
    sums = packed((Text(entry) for entry in [f"{count(sum(total.values()), 'object')}:", *kinds]), width)
    return Group(*lines, Text(sums.plain, style="dim"))


def _by_kind(owned: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    grouped: dict[str, list[str]] = {}
    for manifest in owned:
        kind, shown = manifest.kind, manifest.name
        if manifest.category is Category.PATCH:
            kind = f"{manifest.kind} (patch)"
        elif manifest.category is Category.RELEASE:
            kind = "Helm release"
            shown = f"{manifest.name} {manifest.body.get('version', '')}".rstrip()
        kept = " (kept on destroy)" if manifest.options.retain_on_delete else ""
        grouped.setdefault(kind, []).append(shown + kept)
    yield from ((kind, ", ".join(names)) for kind, names in grouped.items())


def _expected(expected: Sequence[Expected], plan: Plan | None) -> RenderableType:
    lines: list[RenderableType] = [Text(f"kubeconfig context {plan.context}")] if plan is not None else []
    for item in expected:
        lines.append(Text(str(item)))
        # laid out in lines that can be read, and copied as they stand
        commands = [Text(item.command, style="green", no_wrap=True, overflow="ignore")] if item.command else []
        if item.add:
            commands += [Text("or, where it exists, what it lacks:")]
            commands += [Text(item.add, style="green", no_wrap=True, overflow="ignore")]
        lines[-1] = Group(lines[-1], *commands)
    return listed(lines)


def _closing(plan: Plan, warnings: Sequence[str]) -> Iterator[RenderableType]:
    """What a reviewer must not miss, last, where the terminal stops."""
    if warnings:
        yield section("Warnings", listed((Text(warning) for warning in warnings), "!", "bold yellow"))
    if plan.unpinned:
        heading = Text.assemble(("Not pinned by hash", "bold"), " (images.requireDigests: true refuses these)")
        yield section(heading, listed(Text(name) for name in plan.unpinned))
    total = bill(plan)
    if not total.priced:
        yield Padding(Text.assemble(("Total ", "bold"), "not known: no pool has a price"), (1, 0))
        return
    missing = f", without {', '.join(total.unpriced)}, whose price is not known" if total.unpriced else ""
    figure = (f"{usd_range(total.fewest, total.most)}/h", "bold green")
    line = Text.assemble(("Total ", "bold"), figure, f" from the fewest to the most replicas{missing}")
    yield Padding(line, (1, 0))
