"""A whole stack as one component, and the five it is made of; each declares, none decides."""

from components.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.keys import ExistingSecret, MasterKey
from components.llm_gateway import LlmGateway, LlmGatewayArgs
from components.llm_stack import LlmStack, LlmStackArgs
from components.model_weights import ModelWeights, ModelWeightsArgs
from components.observability import Observability, ObservabilityArgs
from components.parts import plan_dns, plan_gateway, plan_observability, plan_pool, plan_server, plan_weights
from components.serving_namespace import serving_namespace
from components.vllm_server import VllmServer, VllmServerArgs
from components.wiring import GATEWAY_PODS, SERVER_PODS

__all__ = [
    "GATEWAY_PODS",
    "SERVER_PODS",
    "ExistingSecret",
    "GpuNodePool",
    "GpuNodePoolArgs",
    "LlmGateway",
    "LlmGatewayArgs",
    "LlmStack",
    "LlmStackArgs",
    "MasterKey",
    "ModelWeights",
    "ModelWeightsArgs",
    "Observability",
    "ObservabilityArgs",
    "VllmServer",
    "VllmServerArgs",
    "plan_dns",
    "plan_gateway",
    "plan_observability",
    "plan_pool",
    "plan_server",
    "plan_weights",
    "serving_namespace",
]
