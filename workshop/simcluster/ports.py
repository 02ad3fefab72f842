"""Loopback ports: those that nobody uses, for clusters that are made, and for those whose own are taken meanwhile."""

import contextlib
import socket
from collections.abc import Collection
from dataclasses import asdict, replace

from workshop.simcluster.programs import LOOPBACK, Ports

# which port is whose: field of `Ports` → program
OWNERS = {"etcd": "etcd", "etcd_peer": "etcd", "api_server": "kube-apiserver"}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind((LOOPBACK, 0))
        return [item.getsockname()[1] for item in sockets]


def without_taken(ports: Ports, running: Collection[str]) -> Ports:
    """The same, but others for those that somebody has taken from a program that does not run."""
    fields = [name for name, owner in OWNERS.items() if owner not in running and _taken(asdict(ports)[name])]
    return replace(ports, **dict(zip(fields, free_ports(len(fields)), strict=True)))


def _taken(port: int) -> bool:
    with socket.socket() as item:
        # as the programs do: a connection that lingers after its end takes nothing
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            item.bind((LOOPBACK, port))
        except OSError:
            return True
    return False
