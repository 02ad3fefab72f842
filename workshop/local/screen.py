"""The output of `up`: progress, things that are not here or were replaced, commands to try next."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from workshop.local.blueprint import Blueprint, Entrance
from workshop.local.chat import Endpoint, Load
from workshop.local.monitoring import CONFIG
from workshop.local.places import RunFolder
from workshop.ports import LOOPBACK


def not_here(plan: Blueprint) -> Table:
    """Parts of the stack that mean nothing to processes of one machine, or have another version."""
    table = Table(title="On this machine", title_justify="left", box=None, show_header=False, pad_edge=False)
    for feature, why in plan.not_here:
        table.add_row(feature, why)
    for text in plan.other_versions:
        table.add_row("version", text)
    return table


def show_event(event: tuple[float, str, str], console: Console) -> None:
    """`HH:MM:SS pod: sentence`."""
    when, pod, text = event
    plainly(console)(f"{time.strftime('%H:%M:%S', time.localtime(when))} {pod}: {text}")


def show_replaced(status: Mapping[str, Any], console: Console) -> None:
    """Every substitution of every container, and where Services are."""
    show = plainly(console)
    show("\nRun as rendered, but for")
    for pod in status["pods"]:
        for container in pod["containers"]:
            show(f"  {pod['name']} {container['name']}")
            for where, rendered, here in container["replaced"]:
                show(f"    {where}  {rendered} → {here}")
    for service in status["services"]:
        show(f"  Service {service['name']}:{service['port']} → {LOOPBACK}:{service['here']}")


def show_load(model: str, load: Load, console: Console) -> None:
    """One paragraph of figures. A gateway that seems to take no time was measured on a busy machine; it says so."""
    one_token = f"the {load.direct_ms:.0f} ms of one token"
    adds = f"the gateway adds {load.overhead_ms:.0f} ms to {one_token} (medians)"
    if load.overhead_ms <= 0:
        adds = f"what the gateway adds to {one_token} was lost in this machine's noise ({load.overhead_ms:.0f} ms)"
    plainly(console)(
        f"\n{model}: {load.alone_tokens_per_s:.1f} tokens/s alone, "
        f"{load.together_tokens_per_s:.1f} tokens/s for {load.streams} streams at once\n"
        f"first token after {load.first_token_s:.2f} s (median of {load.streams}), "
        f"{load.slowest_first_token_s:.2f} s at most\n"
        f"{adds}"
    )


def show_next(folder: RunFolder, plan: Blueprint, status: Mapping[str, Any], stack: str, console: Console) -> None:
    """Commands a person may want now."""
    show = plainly(console)
    show("\nNext")
    if plan.gateway and plan.servers:
        key = _shown(folder.keys / plan.gateway.key.secret / plan.gateway.key.entry)
        port = endpoint(plan, plan.gateway, status).port
        # one is an example; those that were not asked are all here
        for asked in (plan.servers[0], *(server for server in plan.servers[1:] if server.task.question is None)):
            show(f"  curl -s http://{LOOPBACK}:{port}{asked.task.path} \\")
            show(f'    -H "Authorization: Bearer $(cat {key})" {asked.task.curl(asked.model)}')
    suffix = "" if stack == "local" else f" STACK={stack}"
    for target in ("status", "logs", "down"):
        show(f"  make {target}{suffix}")
    if any(body["kind"] == "PodMonitor" for body in plan.rendered.objects):
        config, data = _shown(folder.prometheus / CONFIG), _shown(folder.prometheus / "data")
        show(f"  prometheus --config.file={config} --storage.tsdb.path={data} --web.listen-address={LOOPBACK}:9090")


def endpoint(plan: Blueprint, entrance: Entrance, status: Mapping[str, Any]) -> Endpoint:
    """Address of an entrance on loopback."""
    place = (entrance.service, entrance.port)
    here = next(service["here"] for service in status["services"] if (service["name"], service["port"]) == place)
    return Endpoint(here, plan.secrets[entrance.key.secret][entrance.key.entry])


def plainly(console: Console) -> Callable[[str], None]:
    """Prints text as it is: no colours for numbers, no markup, no line breaks in what will be copied."""
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)


def _shown(path: Path) -> str:
    """A path as short as it can be written from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
