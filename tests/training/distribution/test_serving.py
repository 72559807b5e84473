"""A process that serves ends when its chief is gone, and not before."""

import socket
import threading
import time

from keras_jft.training.distribution import strategies


def test_serving_waits_for_a_chief_and_ends_after_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = threading.Event()

    def wait():
        strategies._wait_while_up(f"127.0.0.1:{port}", 0.5, interval=0.05)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    # Nobody listens yet: longer than it waits for one that is gone.
    assert not ended.wait(1.0)
    with socket.create_server(("127.0.0.1", port)):
        assert not ended.wait(1.0)
        left = time.monotonic()
    assert ended.wait(10)
    assert time.monotonic() - left > 0.4
