"""Networks, one per file. The name of a file is the name of its network in `model.network`.

To add a network, add a file with one class that derives from `audiostride.models.trunk.Trunk`; nothing else
has to know it.
"""
