"""`python -m catalog models|gpus|instances|platforms [WORD …]`: a list, or the rows of it that hold the words."""

import argparse
import json
import sys

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from planning.near import near_gpu, near_model
from planning.questions.chosen_catalog import chosen_catalog, own_catalog_option
from planning.questions.listings import LISTINGS, CatalogList, shown
from settings.commandline import FINE, Parser
from settings.problems import Problem, Refused, nearest

# Columns that no row of a list has.
WIDEST = 10_000


def add_options(parser: Parser) -> None:
    """The words to look for, and JSON."""
    parser.add_argument("words", nargs="*", metavar="WORD", help="only rows that hold it; of several, all")
    own_catalog_option(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list, with some more of each row")


def answer(options: argparse.Namespace) -> int:
    """Prints the list. Raises `Refused` where no row holds the words."""
    whole = LISTINGS[options.command](chosen_catalog(options))
    listing = whole.of(options.words)
    if not listing.rows:
        words = " ".join(options.words)
        near = {"models": near_model, "gpus": near_gpu}.get(options.command, nearest)
        hint = near(words, [str(row["id"]) for row in whole.rows])
        raise Refused([Problem(options.command, f"no {listing.noun} has '{words}'{hint}")])
    if options.json:
        sys.stdout.write(json.dumps(list(listing.rows), indent=2, ensure_ascii=False) + "\n")
    else:
        print_list(listing)
    return FINE


def print_list(listing: CatalogList) -> None:
    """A table with every row on one line, for `grep`; a narrow terminal breaks lines by itself."""
    console = Console(highlight=False, markup=False, emoji=False)
    heading, *rows = shown(listing)
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = [any(isinstance(row[key], int | float) and not isinstance(row[key], bool) for row in listing.rows)
               for key in listing.columns]  # fmt: skip
    for name, is_number in zip(heading, numeric, strict=True):
        table.add_column(name, justify="right" if is_number else "left")
    for cells in rows:
        table.add_row(*cells)
    console.width = Measurement.get(console, console.options.update(width=WIDEST), table).maximum
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
