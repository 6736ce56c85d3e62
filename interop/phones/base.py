"""What every softphone of the rig has in common.

A phone is one process with its own folder and ports. It speaks a WAV file, records
what it hears, and keeps a log of every SIP message it sent and received, so that a
check can ask the phone itself which codec and which SRTP suite were agreed.
"""

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Config:
    """What one phone needs to know. `number`, `secret` and `domain` as the server printed them."""

    folder: Path
    number: str
    secret: str
    domain: str
    port: int  # the server's
    ca: Path  # PEM of the authority the phone trusts, and no other
    voice: Path  # WAV, 8 kHz mono 16 bit, played in a loop
    local: int  # the phone's ports: local (SIP), local + 1 (control), local + 10 ... + 49 (RTP)
    dns: str = "127.0.0.1:53"  # for the phones that don't read the hosts file
    srtp: bool = True  # False: offers plain RTP only
    transport: str = "tls"  # "udp" and `srtp=False` only for the control captures
    register: bool = True  # False: only calls an address directly
    auto_answer: bool = True
    expires: int = 60  # seconds asked for in REGISTER
    extra: dict = field(default_factory=dict)  # for trials: settings of one phone only


class PhoneError(Exception):
    """The phone did not do in time what was asked; names its log."""


class Phone:
    """One softphone. States: starting, registered, refused, idle, calling, ringing, up."""

    kind = "phone"
    control = None  # TCP port of the rig's remote control, where there is one

    def __init__(self, config):
        self.config = config
        self.folder = Path(config.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "log"
        self.process = None
        self.events = []  # (monotonic seconds, name, detail)
        self._changed = threading.Condition()

    # What a driver must offer.

    def start(self):
        raise NotImplementedError

    def call(self, number):
        raise NotImplementedError

    def answer(self):
        raise NotImplementedError

    def hangup(self):
        raise NotImplementedError

    def messages(self):
        """Every SIP message so far, oldest first: (sent by us, text)."""
        raise NotImplementedError

    @property
    def recording(self):
        """The WAV of what this phone heard in its last call."""
        raise NotImplementedError

    # What they share.

    def _spawn(self, command, **more):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            **more,
        )
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self):
        rest = b""
        with open(self.log, "ab", buffering=0) as log:
            while chunk := os.read(self.process.stdout.fileno(), 65536):
                log.write(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._line(line.decode("utf-8", "replace").rstrip("\r"))
                if rest:
                    self._prompt(rest.decode("utf-8", "replace"))
        self._event("exit", str(self.process.wait()))

    def _line(self, line):
        """One line of the phone's output; a driver turns it into events."""

    def _prompt(self, text):
        """Output that doesn't end a line (yet): a phone may be asking something."""

    def _event(self, name, detail=""):
        with self._changed:
            self.events.append((time.monotonic(), name, detail))
            self._changed.notify_all()

    def forget(self):
        """Removes the recording of an earlier call: linphone would go on writing at its end."""
        self.recording.unlink(missing_ok=True)

    def mark(self):
        """A place in the list of events, for `wait`."""
        return len(self.events)

    def wait(self, names, timeout, since=0):
        """Waits for the first event of these names after `since`; returns (time, name, detail)."""
        names = {names} if isinstance(names, str) else set(names)
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self.events[since:]:
                    if event[1] in names:
                        return event
                left = until - time.monotonic()
                if left <= 0 or any(e[1] == "exit" for e in self.events):
                    raise PhoneError(f"{self.kind} {self.config.number}: no {'/'.join(sorted(names))} within {timeout} s; see {self.log}")
                self._changed.wait(left)

    def wait_registered(self, timeout=15):
        event = self.wait(("registered", "refused"), timeout)
        if event[1] == "refused":
            raise PhoneError(f"{self.kind} {self.config.number}: registration refused: {event[2]}; see {self.log}")
        return event

    def agreed(self):
        """(codec, SRTP suite) of the last answer this phone sent or received, from its own SIP log."""
        for _, text in reversed(self.messages()):
            head, _, body = text.partition("\n\n")
            if head.startswith("SIP/2.0 200") and re.search(r"^CSeq:\s*\d+ INVITE", head, re.M | re.I) and "m=audio" in body:
                return sdp_agreed(body)
        return ("none", "none")

    def stop(self):
        """Ends the process this phone started, by its id; politely first."""
        if self.process is None or self.process.poll() is not None:
            return
        self._leave()
        for end in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(4)
                return
            except subprocess.TimeoutExpired:
                end()
        self.process.wait(4)

    def _leave(self):
        """Asks the phone to quit; a driver that can't, leaves it to the signal."""
        self.process.terminate()


def sdp_agreed(body):
    """First codec and suite of the audio line of an answer."""
    audio = body[body.index("m=audio") :].splitlines()
    line = audio[0].split()
    static = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000"}
    codec = static.get(line[3], line[3])
    suite = "none" if line[2] == "RTP/AVP" else line[2]
    for text in audio[1:]:
        if text.startswith("m="):
            break
        if text.startswith(f"a=rtpmap:{line[3]} "):
            codec = text.split()[1]
        if text.startswith("a=crypto:"):
            suite = text.split()[1]
            break
        if text.startswith("a=fingerprint:"):
            suite = "DTLS-SRTP"
    return codec, suite
