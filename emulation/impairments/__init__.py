"""Impairment backends: a delay line in user space, and the kernel's netem.

Each stands behind the interface of `x0mesh.emulation.impairment`.
"""
