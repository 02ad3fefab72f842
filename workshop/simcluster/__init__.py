"""A GPU cluster without GPUs: a real Kubernetes control plane on loopback, with simulated nodes and pods.

For trying and testing; nothing the product needs at run time. It proves scheduling, admission, rollouts and drains; no
container runs.
"""
