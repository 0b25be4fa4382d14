"""``python -m jaxconv``."""

import sys

from jaxconv.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
