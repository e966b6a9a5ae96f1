"""`python -m search` is `posefront`."""

from search.cli import main

main()
