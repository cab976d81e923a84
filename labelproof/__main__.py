"""``python -m labelproof``: the command line without an installed script."""

from labelproof.cli.main import main

main()
