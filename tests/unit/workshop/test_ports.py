"""Ports of loopback."""

import contextlib
import socket

from workshop.ports import LOOPBACK, free_ports, is_taken


def test_ports_are_different_and_free():
    """As many as asked for, none twice, and each can be bound."""
    found = free_ports(50)
    assert len(set(found)) == 50
    with contextlib.ExitStack() as stack:
        for port in found:
            stack.enter_context(socket.socket()).bind((LOOPBACK, port))


def test_a_port_is_taken_while_somebody_listens():
    """And no longer."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        listening = is_taken(port)
    assert (listening, is_taken(port)) == (True, False)
