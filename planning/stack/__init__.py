"""Parts that servers share: images, pools, weights, networks, releases of operators, the timing chain, costs."""
