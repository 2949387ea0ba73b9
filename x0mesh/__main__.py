"""`python -m x0mesh` is the command `x0mesh`."""

from x0mesh.cli import main

main()
