"""A GPU cluster without GPUs: a real Kubernetes control plane on loopback, with simulated nodes and pods."""
