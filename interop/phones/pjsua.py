"""pjsua2 (PyPI wheel), in a process of its own: commands as JSON lines in, events as JSON lines out."""

import json
import re
import sys
from pathlib import Path

import home

from .base import Phone


class Pjsua(Phone):
    kind = "pjsua2"

    def start(self):
        c = self.config
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(c).items()}
        settings["recording"] = str(self.recording)
        settings["trace"] = str(self.folder / "sip.log")
        self._spawn([sys.executable, home.INTEROP / "phones/pjsua_child.py"])
        self._send(settings)
        self.wait("started", 10)

    def _line(self, line):
        if line.startswith("{"):
            event = json.loads(line)
            if "PJSIP_TLS_ECERTVERIF" in event.get("detail", ""):
                self._event("certificate refused", event["detail"])
            self._event(event["event"], event.get("detail", ""))

    def _command(self, name, detail=""):
        self._send([name, detail])

    def _send(self, line):
        self.process.stdin.write((json.dumps(line) + "\n").encode())
        self.process.stdin.flush()

    def call(self, number):
        c = self.config
        uri = number if "@" in number else f"sip:{number}@{c.domain}:{c.port};transport={c.transport}"
        self._command("call", uri)

    def answer(self):
        self._command("answer")

    def hangup(self):
        self._command("hangup")

    def mute(self):
        """From the next call on says nothing (the RTP goes on, with silence in it)."""
        self._command("mute")

    def _leave(self):
        self._command("quit")

    @property
    def recording(self):
        return self.folder / "heard.wav"

    def messages(self):
        log = self.folder / "sip.log"
        text = log.read_text(errors="replace").replace("\r\n", "\n") if log.exists() else ""
        found = []
        for part in re.split(r"^.*?(?=(?:TX|RX) \d+ bytes )", text, flags=re.M)[1:]:
            head, _, rest = part.partition("\n")
            found.append((head.startswith("TX"), rest.partition("\n--end msg--")[0]))
        return found
