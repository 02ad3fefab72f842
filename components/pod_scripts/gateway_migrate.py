"""Brings the database of the gateway up to the image: its tables, and the views that LiteLLM would make when it starts.

Runs in LiteLLM's image as the migration Job, with the address of the database (`DATABASE_URL`) and no key. What serving
pods would need a role with rights on the schema for is done here, so that theirs needs none. Whatever is there already
stays: it may run as often as it likes.

Exit status: 0 done, 1 and 2 as LiteLLM's own (failed after retries, cannot be done), 3 when views could not be made.
"""

import asyncio
import sys

from litellm.proxy.db.create_views import create_missing_views  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy.proxy_cli import run_server  # pyright: ignore[reportMissingImports] - of the image

VIEWS_FAILED = 3


def tables() -> None:
    """The schema, by LiteLLM's own migrations; ends the program when they fail."""
    run_server(["--skip_server_startup"], standalone_mode=False)


async def views() -> None:
    """The views LiteLLM creates in a proxy that starts on an empty database, each unless it is there."""
    from prisma import Prisma  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - of the image, with its client

    async with Prisma() as database:
        await create_missing_views(database)


def main() -> int:
    """Both, in order."""
    tables()
    try:
        asyncio.run(views())
    except Exception as error:  # noqa: BLE001 - the client raises whatever the database said
        sys.stderr.write(f"the views could not be made: {error}\n")
        return VIEWS_FAILED
    sys.stderr.write("tables and views are there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
