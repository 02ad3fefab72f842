"""Knowledge about models, GPUs, machine types, images, charts and engines: data with sources, typed."""

from catalog.engine import Engine
from catalog.load import Catalog, CatalogError, load_catalog

__all__ = ["Catalog", "CatalogError", "Engine", "load_catalog"]
