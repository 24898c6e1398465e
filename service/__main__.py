"""`python -m service` is the command line."""

import gc

gc.disable()  # as `service.loading.gc_paused`, which these imports have to do without
from service.cli import main  # noqa: E402 - the collector first

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
