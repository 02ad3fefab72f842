"""Tools for trying and testing stacks: on this machine (`local`), and on nodes that exist on paper only (`simcluster`).

The product knows neither of them.
"""
