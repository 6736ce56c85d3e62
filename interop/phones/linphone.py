"""linphonec 5.1, driven through its standard input; states come from its debug log.

Traps: it checks the certificate's host name, an IP address in the certificate does not
do; it registers only where a default route exists; when the server asks for a client
certificate it stops at a password prompt, so one line that is not empty is thrown to it
(after an empty one it asks again); `soundcard use files` must come before the first call;
a recording is continued, not begun anew.
"""

import os
import re
import threading
import time

from .base import Phone


STATES = {
    "LinphoneRegistrationOk": "registered",
    "LinphoneRegistrationFailed": "refused",
    "LinphoneCallIncomingReceived": "incoming",
    "LinphoneCallOutgoingRinging": "ringing",
    "LinphoneCallStreamsRunning": "up",
    "LinphoneCallError": "ended",
    "LinphoneCallEnd": "ended",
}


class Linphone(Phone):
    kind = "linphone"

    def start(self):
        c = self.config
        realm = c.extra.get("realm", "")
        settings = {
            "sip": {
                "default_proxy": 0,
                "guess_hostname": 1,
                "contact": f'"{c.number}" <sip:{c.number}@127.0.0.1>',
                "verify_server_certs": 1,
                "verify_server_cn": 1,
                "root_ca": c.ca,
                "media_encryption": "srtp" if c.srtp else "none",
                "srtp_crypto_suites": "AES_CM_128_HMAC_SHA1_80",
                "sip_port": c.local if c.transport == "udp" else 0,
                "sip_tcp_port": 0,
                "sip_tls_port": c.local if c.transport == "tls" else 0,
                "use_ipv6": 0,
                "inc_timeout": 30,
                "media_encryption_mandatory": 1 if c.srtp else 0,
                "auto_net_state_mon": 1,
            },
            "net": {"firewall_policy": 0, "mtu": 1300, "dns_srv_enabled": 0},
            "rtp": {"audio_rtp_port": f"{c.local + 10}-{c.local + 49}", "audio_jitt_comp": 60, "nortp_timeout": 30},
            "sound": {"echocancellation": 0, "echolimiter": 0, "agc": 0, "use_files": 1},
            "video": {"enabled": 0, "capture": 0, "display": 0},
            "audio_codec_0": {"mime": "PCMU", "rate": 8000, "channels": 1, "enabled": 1},
            "audio_codec_1": {"mime": "telephone-event", "rate": 8000, "channels": 1, "enabled": 1},
            "misc": {"add_missing_audio_codecs": 0, "file_transfer_protocol_server": "", "version_check_url_root": "", "config-uri": ""},
            "app": {"auto_download_mode": 0},
            **c.extra.get("linphone", {}),
        }
        if c.register:
            where = f"{c.domain}:{c.port};transport={c.transport}"
            settings["auth_info_0"] = {"username": c.number, "passwd": c.secret, "realm": realm, "domain": c.domain}
            settings["proxy_0"] = {
                "reg_proxy": f"<sip:{where}>",
                "reg_identity": f"sip:{c.number}@{c.domain}",
                "reg_expires": c.expires,
                "reg_sendregister": 1,
                "publish": 0,
            }
        rc = self.folder / "linphonerc"
        with open(rc, "w") as out:
            for section, values in settings.items():
                out.write(f"[{section}]\n")
                for name, value in values.items():
                    out.write(f"{name}={value}\n")
                out.write("\n")
        (self.folder / ".local/share/linphone").mkdir(parents=True, exist_ok=True)
        command = ["linphonec", "-c", rc, "-d", "6", "-l", self.folder / "debug.log"] + (["-a"] if c.auto_answer else [])
        debug = self.folder / "debug.log"
        debug.touch()
        self._spawn(command, env={**os.environ, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)})
        threading.Thread(target=self._follow, args=(debug,), daemon=True).start()
        if not c.register:
            self._sound()

    def wait_registered(self, timeout=15):
        event = super().wait_registered(timeout)
        self._sound()
        return event

    def _sound(self):
        """Files instead of a sound card. Not before the registration: a password prompt would eat it."""
        since = self.mark()
        self._type("soundcard use files")
        self._type(f"play {self.config.voice}")
        self._type(f"record {self.recording}")
        self.wait("files", 5, since)

    def _type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def _prompt(self, text):
        if "Password for" in text:
            self._type("x")

    def _line(self, line):
        if "Using wav files" in line:
            self._event("files")

    def _follow(self, debug):
        """States come from the log that linphone writes anyway; its printed words change with the version."""
        with open(debug, errors="replace") as log:
            rest = ""
            while self.process.poll() is None:
                chunk = log.read()
                if not chunk:
                    time.sleep(0.02)
                    continue
                *lines, rest = (rest + chunk).split("\n")
                for line in lines:
                    hit = re.search(r"moving from state \S+ to \[?(Linphone\w+)", line)
                    if "SSL handshake failed" in line and "ertificate" in line:
                        self._event("certificate refused", line.partition("failed : ")[2])
                    if hit and hit.group(1) in STATES:
                        self._event(STATES[hit.group(1)], line)

    def call(self, number):
        self._type(f"call {number}")

    def answer(self):
        self._type("answer")

    def hangup(self):
        self._type("terminate")

    def _leave(self):
        self._type("quit")

    @property
    def recording(self):
        return self.folder / "heard.wav"

    def messages(self):
        log = self.folder / "debug.log"
        text = log.read_text(errors="replace").replace("\r\n", "\n") if log.exists() else ""
        found = []
        stamp = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3} "
        for part in re.split(stamp, text, flags=re.M):
            head, _, rest = part.partition("\n")
            if "belle-sip-message-channel" in head and ("message sent to" in head or "new bytes from" in head) and rest.strip():
                found.append(("message sent to" in head, rest.strip("\n")))
        return found
