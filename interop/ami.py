"""Asterisk's manager interface, as much of it as the rig needs: a question, its answer, and events."""

import itertools
import socket
import threading
import time


class AmiError(Exception):
    pass


class Ami:
    """One logged-in connection. `ask` may be called from one thread at a time."""

    def __init__(self, address, user, secret):
        self._socket = socket.create_connection(address, 5)
        self._socket.settimeout(None)
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._seen = []  # every packet, as a dict with lower-case names, in order
        self._open = True
        threading.Thread(target=self._read, daemon=True).start()
        self.ask("Login", username=user, secret=secret)

    def ask(self, action, timeout=10, until=None, **fields):
        """The packets that belong to this action: the response, or with `until` all up to that event."""
        number = str(next(self._numbers))
        # `variable` may repeat.
        lines = [f"Action: {action}", f"ActionID: {number}"]
        for name, value in fields.items():
            lines += [f"{name}: {one}" for one in (value if isinstance(value, list) else [value])]
        since = len(self._seen)
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        found = []
        deadline = time.monotonic() + timeout
        while True:
            packet, since = self._next(since, deadline, f"{action} got no answer within {timeout} s")
            if packet.get("actionid") != number:
                continue
            found.append(packet)
            if packet.get("response") == "Error":
                raise AmiError(f"{action}: {packet.get('message', 'refused')}")
            if until is None or packet.get("event") == until:
                return found

    def mark(self):
        """A place in the list of packets, for `wait`."""
        return len(self._seen)

    def wait(self, event, timeout, since=0, **wanted):
        """The first event of this name after `since` whose fields are as wanted."""
        deadline = time.monotonic() + timeout
        while True:
            packet, since = self._next(since, deadline, f"no {event} {wanted or ''} within {timeout} s")
            if packet.get("event") == event and all(packet.get(name) == value for name, value in wanted.items()):
                return packet

    def _next(self, at, deadline, why):
        with self._changed:
            while at >= len(self._seen):
                left = deadline - time.monotonic()
                if left <= 0 or not self._open:
                    raise AmiError(why)
                self._changed.wait(left)
            return self._seen[at], at + 1

    def _read(self):
        data = b""
        while True:
            try:
                more = self._socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                break
            data += more
            *packets, data = data.split(b"\r\n\r\n")
            for packet in packets:
                self._told(packet.decode("utf-8", "replace"))
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _told(self, text):
        packet = {}
        for line in text.split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                name = name.strip().lower()
                # A command's output comes as many lines of one name.
                packet[name] = f"{packet[name]}\n{value.strip()}" if name in packet else value.strip()
        with self._changed:
            self._seen.append(packet)
            self._changed.notify_all()

    def close(self):
        self._socket.close()
