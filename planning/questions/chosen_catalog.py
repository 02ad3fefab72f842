"""The catalogue that a command asks: that of the project, with the entries of the files that are named."""

import argparse

from catalog.load import Catalog, load_catalog
from planning.own_catalog import own_catalog, own_problems
from settings.catalog_files import WORKING_DIRECTORY, read_files
from settings.problems import Refused


def own_catalog_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--catalog`, which may be given for each file."""
    parser.add_argument(
        "--catalog",
        action="append",
        default=[],
        metavar="FILE",
        help="entries of your own, or a stack file that has some; may be given for each",
    )


def chosen_catalog(options: argparse.Namespace) -> Catalog:
    """The catalogue with the entries that the options name. Raises `Refused` with all that is wrong with them."""
    catalog = own_catalog(load_catalog(), read_files(options.catalog, WORKING_DIRECTORY))
    if problems := own_problems(catalog):
        raise Refused(problems)
    return catalog
