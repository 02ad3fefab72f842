"""Settings all tests share: an Output in an f-string is an error, and processes hear their signals."""

import os
import signal

os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"


def pytest_configure() -> None:
    """What tests start hears Ctrl-C and the end of a terminal, also where the tests run by `&` or nohup.

    Those have a process ignore the signals, and all it starts with it. A handler that does nothing ends with `exec`.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
