"""A rendering as a page for a person: what each model gets and why, what is declared, what is still to be done.

Owns the page. The figures are the plan's; colour and width are the terminal's, and nothing is said by colour alone.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from planning.plan import Plan
from planning.plan.gateway import ChatUiPlan, GatewayPlan
from planning.plan.gateway_size import GatewaySize
from planning.plan.storage import Stored
from planning.plan.stores import (
    BundledDatabase,
    BundledRedis,
    CloudNativePgDatabase,
    DatabasePlan,
    ExistingDatabase,
    ExistingRedis,
    SentinelRedis,
)
from planning.plan.weights import CheckpointPlan, OwnClaim, WeightsPlan
from preview.rendering.edges import expectations
from preview.rendering.expected import Expected
from preview.rendering.manifests import Category, Manifest, component_label
from preview.rendering.records import Record
from preview.rendering.render import Rendering
from preview.reporting.chart_lines import chart_lines, override_lines, titled
from preview.reporting.model_page import model_page
from preview.reporting.page import (
    Block,
    Body,
    Line,
    as_it_stands,
    facts,
    headed,
    indented,
    lines_of,
    listed,
    named,
    packed,
    reasons,
    section,
    stacked,
)
from preview.reporting.summary import bill, display_name, storage_bill, unpriced_storage
from preview.reporting.teams import sum_of
from preview.reporting.wording import count, gib, minutes, usd, usd_range

# Wide enough for every line that matters, narrow enough for a code review.
PLAIN_WIDTH = 100
# Teams that a page of a stack shows; all of them have a page of their own.
MOST_TEAMS = 20
# How a page says where something is kept.
STORED = {"claim": "on claims of", "existing claim": "on the claim", "node": "on nodes:", "bucket": "in"}
RULES_IN_ASCII = str.maketrans("─═", "--")


def print_report(rendering: Rendering, manifests: Sequence[Manifest]) -> None:
    """Prints the page of one stack that is not refused: as wide as the terminal, plain and 100 wide where none is."""
    # brackets and colons are what they are: an address of IPv6 is no markup, nor the port of a mirror an emoji
    console = Console(highlight=False, markup=False, emoji=False)
    width = console.width if console.is_terminal else PLAIN_WIDTH
    lines = page(rendering, manifests)(width)
    shown = styled(lines, console) if console.is_terminal else map(plain, lines)
    # what is left of empty columns is noise in a log
    text = "".join(f"{line.rstrip(' ')}\n" for line in shown)
    sys.stdout.write(text.translate(RULES_IN_ASCII) if console.options.ascii_only else text)


def plain(line: Line) -> str:
    """One line of a page without styles."""
    return "".join(piece if isinstance(piece, str) else piece.plain for piece in line)


def styled(lines: Iterable[Line], console: Console) -> list[str]:
    """The lines of a page in the styles that the terminal has."""
    with console.capture() as captured:
        for line in lines:
            console.print(Text.assemble(*line), overflow="ignore", no_wrap=True, crop=False)
    return captured.get().splitlines()


def page(rendering: Rendering, manifests: Sequence[Manifest]) -> Block:
    """The page of one stack."""
    plan = rendering.plan
    parts: list[Body] = [_title(rendering)]
    if plan is not None:
        for server in plan.servers:
            heading = Text.assemble((display_name(server), "bold cyan"), "  ", server.model)
            parts.append(section(heading, model_page(server, plan.pools[server.pool])))
        parts.append(section("Shared by all models", facts(_shared(plan))))
    parts.append(section("Declared", _declared(rendering.records, manifests)))
    parts.append(section("Expected on the cluster", _expected(expectations(manifests, plan), plan)))
    if plan is not None:
        parts.extend(_closing(plan, [*plan.warnings, *rendering.messages]))
    return stacked(*parts)


def _title(rendering: Rendering) -> Block:
    title = Text.assemble((rendering.project, "bold"), " · ", (rendering.stack, "bold cyan"))
    parts: list[Body] = [headed(title, "═", "cyan")]
    if rendering.plan is not None:
        plan = rendering.plan
        parts.append(
            f"cluster {plan.cluster_identifier} (context {plan.context}), Kubernetes {plan.kubernetes}, "
            f"namespace {plan.namespace}"
        )
    return stacked(*parts)


def _shared(plan: Plan) -> Iterator[tuple[str, Body]]:
    for position, pool in enumerate(plan.pools.values()):
        hardware = (
            f"{pool.cards_per_node} × {pool.gpu_name}" if pool.gpus_per_node else f"{pool.cpus_per_node} CPU cores"
        )
        hardware += f" in {pool.slices} slices" if pool.slices else f" of {pool.cards} cards" if pool.mig else ""
        price = f", {usd(pool.usd_per_node_hour)}/h each" if pool.usd_per_node_hour else ""
        text = f"{pool.name}: {count(pool.nodes, 'node')} of {hardware}, {pool.provisioning.kind}{price}"
        yield "" if position else "pools", stacked(text, reasons(pool.reasons))
    yield "weights", _weights(plan.weights)
    if claim := plan.compile_cache:
        yield "compiled", f"kept on a claim of {claim.gib:,} GiB on {claim.storage_class}, gone on destroy"
    yield "storage", stacked(*_storage(plan.storage))
    gateway = plan.gateway
    reached = gateway.exposure.url if gateway.exposure else "inside the cluster only"
    match gateway.redis:
        case BundledRedis():
            redis = "its own Redis"
        case ExistingRedis(host=host):
            redis = f"Redis at {host}"
        case SentinelRedis(sentinels=sentinels, master_name=name):
            redis = f"Redis {name} by {count(len(sentinels), 'Sentinel')}"
        case None:
            redis = "no Redis"
    stores = f"{redis}, {_database(gateway.database)}"
    behaviour = f"requests up to {minutes(gateway.request_timeout_s)}, {gateway.retries} retries; {stores}"
    details = [
        behaviour,
        *(f"{model} falls back to {', '.join(fallbacks)}" for model, fallbacks in gateway.fallbacks),
        *_teams(gateway),
        *_chat_ui(gateway.chat_ui),
        *(f"yours: {line}" for line in gateway.additions),
    ]
    text = f"LiteLLM {gateway.image.version}, {_gateway_replicas(gateway.size)}, {reached}"
    yield "gateway", stacked(text, listed(details), reasons(gateway.reasons))
    yield from titled("charts", chart_lines(plan.releases))
    yield from titled("overrides", override_lines(plan.overrides))
    watched = plan.observability
    yield "alerts", f"{len(watched.alerts)} and a dashboard, for Prometheus release {watched.release}"


def _gateway_replicas(size: GatewaySize) -> str:
    return f"{size.fewest}–{size.most} replicas by their CPU" if size.scaling else count(size.fewest, "replica")


def _database(database: DatabasePlan | None) -> str:
    match database and database.source:
        case ExistingDatabase(secret=secret):
            return f"Postgres by Secret {secret}"
        case BundledDatabase(gib=gib):
            return f"its own Postgres on a claim of {gib:,} GiB"
        case CloudNativePgDatabase(instances=instances, gib=gib):
            return f"its own Postgres of {count(instances, 'instance')}, {gib:,} GiB each, by CloudNativePG"
        case _:
            return "no Postgres"


def _teams(gateway: GatewayPlan) -> Iterator[str]:
    """A line for each team: models with the fallbacks that were added, limits, budget, keys."""
    if gateway.teams is None:
        return
    teams = gateway.teams.teams
    for team in teams[:MOST_TEAMS]:
        yield f"team {team.name}: {sum_of(team)}; {count(len(team.keys), 'key')} in Secret {team.secret}"
    if len(teams) > MOST_TEAMS:
        yield f"and {count(len(teams) - MOST_TEAMS, 'team')} more; python -m preview keys lists all"
    if not teams:
        yield "no team: all keys that the stack has made end"


def _chat_ui(page: ChatUiPlan | None) -> Iterator[str]:
    """A line for the page to chat with: where it is, for whom, with whose key and models."""
    if page:
        administrator = f"administered by {page.admin}" if page.admin else "without an administrator"
        yield (
            f"chat page {page.exposure.url} (Open WebUI {page.image.version}) with the key {page.asks_as} for "
            f"{', '.join(page.models)}; people of {', '.join(page.domains)} sign in at {page.issuer}, {administrator}"
        )


def _weights(weights: WeightsPlan) -> Block:
    """Places of the checkpoints, and unless they are there already, from where they come and how long it takes."""
    places: dict[str, list[Body]] = {}
    for checkpoint in weights.checkpoints:
        line = Text.assemble(checkpoint.model, (f" @ {checkpoint.revision[:12]}", "dim"), _size(checkpoint))
        places.setdefault(checkpoint.place.where, []).append(line)
    (first, there), *more = places.items()
    return stacked(
        first,
        reasons(weights.reasons),
        listed([*there, *(f"yours: {flow}" for flow in weights.flows)]),
        *(block for where, lines in more for block in (where, listed(lines))),
    )


def _storage(storage: Sequence[Stored]) -> Iterator[str]:
    """A line for each class, claim, image and bucket: how much is there, and what that costs if somebody has said."""
    places: dict[tuple[str, str], list[Stored]] = {}
    for entry in storage:
        places.setdefault((entry.medium, entry.place), []).append(entry)
    for (medium, place), kept in places.items():
        fewest, most = (
            gib(sum(entry.gib * entry.fewest for entry in kept)),
            gib(sum(entry.gib * entry.most for entry in kept)),
        )
        months = [month for entry in kept if (month := entry.usd_per_month)]
        cost = usd_range(sum(few for few, _ in months), sum(many for _, many in months))
        price = f", {cost}/month" if len(months) == len(kept) else ""
        yield f"{fewest if fewest == most else f'{fewest}–{most}'} GiB {STORED[medium]} {place}{price}"


def _size(checkpoint: CheckpointPlan) -> str:
    """The size of a checkpoint, and what it takes to bring it where servers find it."""
    size = f", {gib(checkpoint.disk_bytes / 2**30)} GiB"
    if isinstance(checkpoint.place, OwnClaim):
        claim = f"{'two claims' if checkpoint.place.cloned else 'a claim'} of {checkpoint.place.gib:,} GiB"
        size += f" on {claim}, {minutes(checkpoint.place.fetch.download_s)} to fetch"
    elif checkpoint.fetch:
        size += f", {minutes(checkpoint.fetch.download_s)} to bring it there once"
    if copy := checkpoint.source.copy:
        size += f", copied for each pod to {copy.gib:,} GiB on {copy.storage_class}"
    return size


def _declared(records: Sequence[Record], manifests: Sequence[Manifest]) -> Block:
    """Components with their objects, one line per kind; then what the program declares outside of components."""
    owned: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        owned.setdefault(manifest.component, []).append(manifest)
    lines: list[Body] = []
    labels = [component_label(record.urn) for record in records if not record.custom]
    for label in [*labels, *([""] if "" in owned else [])]:
        class_name, _, name = label.partition("/")
        lines.append(Text.assemble((class_name or "outside of components", "cyan"), " ", (name, "bold")))
        lines.append(indented(named(_by_kind(owned.get(label, []))), 2))
    total = Counter(manifest.kind for manifest in manifests if manifest.category is Category.OBJECT)
    kinds = [f"{number} {kind}" for kind, number in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))]
    sums = [Text(entry, style="dim") for entry in [f"{count(sum(total.values()), 'object')}:", *kinds]]
    return stacked(*lines, lambda width: lines_of(packed(sums, width), width))


def _by_kind(owned: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    grouped: dict[str, list[str]] = {}
    for manifest in owned:
        kind, shown = manifest.kind, manifest.name
        if manifest.category is Category.PATCH:
            kind = f"{manifest.kind} (patch)"
        elif manifest.category is Category.RELEASE:
            kind = "Helm release"
            shown = f"{manifest.name} {manifest.body.get('version', '')}".rstrip()
        suffix = " (kept on destroy)" if manifest.options.retain_on_delete else ""
        grouped.setdefault(kind, []).append(shown + suffix)
    yield from ((kind, ", ".join(names)) for kind, names in grouped.items())


def _expected(expected: Sequence[Expected], plan: Plan | None) -> Block:
    lines: list[Body] = [f"kubeconfig context {plan.context}"] if plan is not None else []
    for prerequisite in expected:
        # laid out in lines that can be read, and copied as they stand
        commands: list[Body] = [as_it_stands(prerequisite.command, "green")] if prerequisite.command else []
        if prerequisite.add:
            commands += ["or, where it exists, what it lacks:", as_it_stands(prerequisite.add, "green")]
        lines.append(stacked(str(prerequisite), *commands))
    return listed(lines)


def _closing(plan: Plan, warnings: Sequence[str]) -> Iterator[Body]:
    """Warnings that a reviewer must not miss, last, where the terminal stops."""
    if warnings:
        yield section("Warnings", listed(warnings, "!", "bold yellow"))
    if plan.unpinned:
        heading = Text.assemble(("Not pinned by hash", "bold"), " (images.requireDigests: true refuses these)")
        yield section(heading, listed(plan.unpinned))
    total, month = bill(plan), storage_bill(plan)
    beside = (
        f", without {', '.join(unpriced)}, whose price nobody gives" if (unpriced := unpriced_storage(plan)) else ""
    )
    kept = f"; storage {usd_range(*month)}/month{beside}" if month else ""
    if not total.priced:
        yield stacked("", Text.assemble(("Total ", "bold"), f"not known: no pool has a price{kept}"), "")
        return
    missing = f", without {', '.join(total.unpriced)}, whose price is not known" if total.unpriced else ""
    figure = (f"{usd_range(total.fewest, total.most)}/h", "bold green")
    line = Text.assemble(("Total ", "bold"), figure, f" from the fewest to the most replicas{missing}{kept}")
    yield stacked("", line, "")
