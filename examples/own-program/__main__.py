"""One pool, its weights, one server and the gateway, in a program and a namespace of one's own."""

import sys
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

sys.path.append(str(Path(__file__).parents[2]))  # where llm-stack lies, e.g. vendor/llm-stack

import components as llm

SECTIONS = {  # as in a stack file
    "cluster": {"context": "team-a", "identifier": "team-a-1", "namespace": "team-a-llm"},
    "gpuPools": {"l4": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1}},
    "weights": {"storageClass": "nfs-storage"},
    "models": {"chat": {"model": "Qwen/Qwen3-4B", "pool": "l4", "contextTokens": 16384}},
    "gateway": {"existingSecret": "llm-keys", "replicas": 1, "redis": {"kind": "none"}},
}
opts = pulumi.ResourceOptions(provider=k8s.Provider("team-a", context="team-a", upsert_existing_objects=True))
namespace, keys = llm.serving_namespace("team-a-llm", opts, llm.plan_dns(SECTIONS)), llm.ExistingSecret("llm-keys")
nodes, files, chat = llm.plan_pool(SECTIONS, "l4"), llm.plan_weights(SECTIONS), llm.plan_server(SECTIONS, "chat")

pool = llm.GpuNodePool("l4", {"namespace": namespace, "pool": nodes}, opts)
weights = llm.ModelWeights("weights", {"namespace": namespace, "weights": files}, opts)
server = llm.VllmServer(chat.name, {
    "namespace": namespace, "server": chat, "pool": nodes, "keys": keys, "clients": [llm.GATEWAY_PODS],
    "after": [*pool.gates, *weights.gates[chat.checkpoint.name]],
}, opts)  # fmt: skip
gateway = llm.LlmGateway("gateway", {
    "namespace": namespace, "gateway": llm.plan_gateway(SECTIONS), "keys": keys,
    "servers": {chat.name: server.reference}, "server_pods": llm.SERVER_PODS,
}, opts)  # fmt: skip
pulumi.export("endpoint", gateway.endpoint)
