"""`python -m proxy_app up | down | demo | settings`."""

import sys

from proxy_app.cli import main

sys.exit(main(sys.argv[1:]))
