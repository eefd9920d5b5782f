"""A stretch of network between parts: it counts, holds, cuts, and leads to whoever lives."""

import contextlib
import re
import selectors
import socket
import threading
from collections import Counter
from pathlib import Path

_PIECE_BYTES = 1 << 16


class Front:
    """Listens on a port of its own and hands every connection to the first target that takes it."""

    def __init__(self, targets):
        self._targets = targets
        self._lock = threading.Condition()
        self._open = set()
        self._is_cut = self._is_held = self._is_closed = False
        self._hold_after = None
        self.refused = 0
        """How many connections came while it was cut."""
        self.bytes_by_account = Counter()
        """What went in both directions, by the number of whoever connected."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bytes(self):
        return sum(self.bytes_by_account.values())

    def hold_after(self, count):
        """Let nothing more through once so many further bytes went towards the target."""
        with self._lock:
            self._hold_after = count

    @property
    def is_held(self):
        return self._is_held

    def release(self):
        with self._lock:
            self._is_held, self._hold_after = False, None
            self._lock.notify_all()

    def cut(self):
        """End all connections, and every new one at once."""
        with self._lock:
            self._is_cut, self.refused = True, 0
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._is_held, self._hold_after = False, None
            self._lock.notify_all()

    def mend(self):
        with self._lock:
            self._is_cut = False

    def close(self):
        self._is_closed = True
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, address[1]), daemon=True).start()

    def _serve(self, client, port):
        with client, contextlib.ExitStack() as stack:
            with self._lock:
                if self._is_cut:
                    self.refused += 1
                    return
            account = self._account(port)
            target = self._reached()
            if target is None:
                return
            stack.enter_context(target)
            with self._lock:
                self._open |= {client, target}
            try:
                self._pump(client, target, account)
            except OSError:
                pass
            finally:
                with self._lock:
                    self._open -= {client, target}

    def _reached(self):
        for port in self._targets:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=10)
        return None

    def _pump(self, client, target, account):
        target.settimeout(None)
        other = {client: target, target: client}
        with selectors.DefaultSelector() as selector:
            for one in other:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(one, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    piece = key.fileobj.recv(_PIECE_BYTES)
                    if not piece:
                        # The other direction may go on.
                        selector.unregister(key.fileobj)
                        other[key.fileobj].shutdown(socket.SHUT_WR)
                        continue
                    is_sent = key.fileobj is client
                    self._pass(len(piece), account, is_sent=is_sent)
                    self._heard(client, piece, is_sent=is_sent)
                    other[key.fileobj].sendall(piece)

    def _pass(self, count, account, *, is_sent):
        with self._lock:
            self.bytes_by_account[account] += count
            if is_sent and self._hold_after is not None:
                self._hold_after -= count
                self._is_held = self._is_held or self._hold_after <= 0
            self._lock.wait_for(lambda: not self._is_held or self._is_cut)

    def _heard(self, connection, piece, *, is_sent):
        """Look at what is about to be handed on; it goes on when this returns."""

    def _account(self, port):
        """Return the number of the account that holds the other end of a connection."""
        ours = f"0100007F:{self.port:04X}"
        theirs = f"0100007F:{port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[1:3] == [theirs, ours]:
                return int(parts[7])
        return None


class Tap(Front):
    """A front that lets somebody read along who knows what to look for.

    Of every request whose bytes match, ``asked`` is called before it is handed on and ``answered``,
    with the status, before its answer is.
    """

    def __init__(self, target, pattern, asked=lambda: None, answered=lambda _status: None):
        self._pattern = re.compile(pattern)
        self._asked, self._answered = asked, answered
        self._waiting = set()
        super().__init__((target,))

    def _heard(self, connection, piece, *, is_sent):
        if is_sent and self._pattern.search(piece):
            self._waiting.add(connection)
            self._asked()
        elif not is_sent and connection in self._waiting:
            self._waiting.discard(connection)
            self._answered(int(piece.split(b" ", 2)[1]))
