"""baresip 1.1, driven over its ctrl_tcp module (JSON in netstrings).

Traps: `net_interface` takes the address on loopback (`lo` finds nothing); it resolves
names with its own DNS client and ignores the hosts file, so the rig answers DNS;
without `ausrc_srate`/`auplay_srate` it resamples to 48 kHz.
"""

import json
import re
import socket
import threading
import time

import home

from .base import Phone, PhoneError


class Baresip(Phone):
    kind = "baresip"

    @property
    def control(self):
        return self.config.local + 5

    def start(self):
        c = self.config
        settings = {
            "poll_method": "epoll",
            "sip_listen": f"127.0.0.1:{c.local}",
            "sip_cafile": c.ca,
            "sip_verify_server": "yes",
            "sip_trans_def": c.transport,
            "call_max_calls": 2,
            "audio_path": "/nonexistent",
            "audio_player": f"aufile,{self.recording}",
            "audio_source": f"aufile,{c.voice}",
            "audio_alert": f"aufile,{self.folder / 'alert.wav'}",
            "ausrc_srate": 8000,
            "auplay_srate": 8000,
            "ausrc_channels": 1,
            "auplay_channels": 1,
            "rtp_ports": f"{c.local + 10}-{c.local + 49}",
            "rtcp_mux": "no",
            "net_interface": "127.0.0.1",
            "dns_server": c.dns,
            "ctrl_tcp_listen": f"127.0.0.1:{self.control}",
            "module_path": home.SID / "usr/lib/baresip/modules",
            "module": ["g711.so", "srtp.so", "aufile.so"],
            "module_app": ["account.so", "menu.so", "ctrl_tcp.so"],
            **c.extra.get("baresip", {}),
        }
        with open(self.folder / "config", "w") as out:
            for name, value in settings.items():
                for one in value if isinstance(value, list) else [value]:
                    out.write(f"{name}\t{one}\n")
        account = [f"<sip:{c.number}@{c.domain}:{c.port};transport={c.transport}>"]
        account += [f"auth_user={c.number}", f"auth_pass={c.secret}", "audio_codecs=PCMU/8000/1", "ptime=20"]
        account += ["mediaenc=srtp-mand"] if c.srtp else []
        account += ["answermode=auto" if c.auto_answer else "answermode=manual"]
        account += [f"regint={c.expires if c.register else 0}"]
        account += c.extra.get("account", [])
        (self.folder / "accounts").write_text(";".join(account) + "\n")
        self._spawn(home.sid_command("usr/bin/baresip") + ["-4", "-s", "-v", "-f", self.folder])
        self._control = self._connect()
        threading.Thread(target=self._listen, daemon=True).start()

    def _connect(self):
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.control), 1)
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise PhoneError(f"baresip does not start; see {self.log}")

    def _listen(self):
        self._control.settimeout(None)
        data = b""
        while True:
            try:
                more = self._control.recv(65536)
            except OSError:
                more = b""
            if not more:
                return
            data += more
            while b":" in data:
                size, _, rest = data.partition(b":")
                if len(rest) < int(size) + 1:
                    break
                self._told(json.loads(rest[: int(size)].decode("utf-8", "replace")))
                data = rest[int(size) + 1 :]

    def _line(self, line):
        line = re.sub(r"\x1b\[[0-9;]*m", "", line)
        # The first registration may be over before the control connection stands.
        if re.search(r" 200 OK \(.*\[\d+ binding", line):
            self._event("registered", line)
        elif "verify_handler: error_string" in line or "hostname mismatch" in line.lower():
            self._event("certificate refused", line.partition("=")[2])
        elif re.search(r"^reg: .*Register: ", line) or re.search(r"\(prio \d+\).* [3-6]\d\d ", line):
            self._event("refused", line)

    def _told(self, message):
        kind, detail = message.get("type"), str(message.get("param", ""))
        names = {
            "REGISTER_OK": "registered",
            "REGISTER_FAIL": "refused",
            "CALL_INCOMING": "incoming",
            "CALL_RINGING": "ringing",
            "CALL_ESTABLISHED": "up",
            "CALL_CLOSED": "ended",
        }
        if kind in names:
            self._event(names[kind], detail)

    def _command(self, name, params=""):
        body = json.dumps({"command": name, "params": params, "token": "rig"}).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))

    def call(self, number):
        self._command("dial", number)

    def answer(self):
        self._command("accept")

    def hangup(self):
        self._command("hangup")

    def _leave(self):
        self._command("quit")

    @property
    def recording(self):
        return self.folder / "heard.wav"

    def messages(self):
        text = self.log.read_text(errors="replace").replace("\r\n", "\n")
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        found = []
        ours = f"127.0.0.1:{self.config.local}"
        for part in re.split(r"^#\n", text, flags=re.M)[1:]:
            head, _, rest = part.partition("\n")
            if "->" not in head:
                continue
            length = re.search(r"^Content-Length:\s*(\d+)", rest, re.M | re.I)
            top, _, body = rest.partition("\n\n")
            size = int(length.group(1)) if length else 0
            found.append((head.split("->")[0].strip().endswith(ours) or "> " in head[:3], top + "\n\n" + (body[:size] if size else "")))
        return found
