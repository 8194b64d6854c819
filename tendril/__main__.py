"""``python -m tendril``."""

from tendril.cli import main

main()
