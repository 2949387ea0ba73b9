"""SPIFFE identity: IDs, SVIDs, bundles, authority, verifier, rotation, Workload API, TLS.

Reserved: until it is furnished the protocol signs through the port `x0mesh.mesh.credential`.
"""
