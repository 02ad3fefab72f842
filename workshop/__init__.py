"""Tools to try and test stacks: on this machine (`local`), and on nodes that exist on paper only (`simcluster`)."""
