"""Mininet engine: namespaces, links, peers, faults, probes.

Reserved: `--engine emulation` exits 4 until it is furnished.
"""
