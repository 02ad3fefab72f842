"""The five components of the stack; each declares, none decides."""

from components.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.llm_gateway import LlmGateway, LlmGatewayArgs
from components.model_weights import ModelWeights, ModelWeightsArgs
from components.observability import Observability, ObservabilityArgs
from components.vllm_server import VllmServer, VllmServerArgs

__all__ = [
    "GpuNodePool",
    "GpuNodePoolArgs",
    "LlmGateway",
    "LlmGatewayArgs",
    "ModelWeights",
    "ModelWeightsArgs",
    "Observability",
    "ObservabilityArgs",
    "VllmServer",
    "VllmServerArgs",
]
