"""Mininet engine: namespaces, links, peers, faults, probes.

The parts are here and tested on their own; until an engine joins them, `--engine emulation` exits
with code 4.
"""
