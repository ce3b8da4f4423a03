"""How fast a model could be on a machine at the most: what the machine can do, what each node has to do, and floors."""
