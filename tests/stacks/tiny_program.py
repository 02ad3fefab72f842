"""The least program that the preview can render, for tests of what is around it."""

# A program that needs nothing but Pulumi; `config` decides what it declares.
TINY = """
import pulumi
import pulumi_kubernetes as k8s

config = pulumi.Config()
keep = pulumi.ResourceOptions(retain_on_delete=True)
for name, size in (config.get_object("claims") or {}).items():
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": size}}}
    k8s.core.v1.PersistentVolumeClaim(name, metadata={"name": name, "namespace": "here"}, spec=spec, opts=keep)
if config.get("refuse"):
    raise pulumi.RunError(config.get("refuse"))
if config.get("crash"):
    raise ValueError(config.get("crash"))
"""
