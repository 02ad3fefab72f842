"""A proxy on 127.0.0.1 that reads along, as those of companies do: certificates of all hosts are its own."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

LINE = 65_536


@dataclass
class ReadingProxy:
    """Where it is, whose authority it needs, and which hosts it was asked for. `password`: None takes anybody."""

    port: int
    authority: Path
    password: str | None
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As clients are told of it."""
        who = f"stack:{self.password}@" if self.password else ""
        return f"http://{who}127.0.0.1:{self.port}"

    def lets_in(self, head: str) -> bool:
        """Whether a client gave the password."""
        basic = b64encode(f"stack:{self.password}".encode()).decode()
        return self.password is None or f"proxy-authorization: basic {basic}".lower() in head.lower()


@contextmanager
def reading_proxy(folder: Path, target: int, *hosts: str, password: str | None = None) -> Iterator[ReadingProxy]:
    """Answer for `hosts` until the block ends, with what listens on the port `target`."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = ReadingProxy(listener.getsockname()[1], file, password)

    def answer(client: socket.socket) -> None:
        with suppress(OSError), client:
            head = client.recv(LINE).decode()
            proxy.asked.append(head.split()[1])
            if not proxy.lets_in(head):
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with (
                context.wrap_socket(client, server_side=True) as open_,
                socket.create_connection(("127.0.0.1", target)) as far,
            ):
                back = threading.Thread(target=_copy, args=(far, open_), daemon=True)
                back.start()
                _copy(open_, far)
                back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        # a thread that waits in accept is not woken by close alone
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(LINE):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
