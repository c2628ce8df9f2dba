"""``python -m wavetank`` is the ``wavetank`` command."""

from wavetank.cli import main

main()
