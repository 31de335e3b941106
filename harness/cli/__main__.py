"""`python -m harness.cli`, the same as `alignboard`."""

from harness.cli import main

main()
