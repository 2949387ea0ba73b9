"""XDP and TC programs in C, their build, loader and verifier figures. Reserved."""
