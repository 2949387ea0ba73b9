"""SPIFFE identity: IDs, SVIDs, bundles, the embedded authority, verification and TLS.

All times are Unix nanoseconds from clocks that the caller hands in. Importing this package loads
no cryptography; its modules do, except `spiffe_id` and `refusal`.
"""
