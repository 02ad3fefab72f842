"""Scripts that stand beside each other in a pod import each other by their names; here they are one package."""

import sys
from importlib import import_module

for name in ("check_store", "fetch_weights", "prove_weights", "fetch_proven", "buckets", "copy_weights", "hub_files"):
    sys.modules[name] = import_module(f"components.pod_scripts.{name}")
