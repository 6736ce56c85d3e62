"""Asterisk 22 as a carrier: accounts that register, a line known by address, numbers that behave, a bill.

Each carrier has an address of its own on loopback (127.0.0.x), so that one that is known by its address is
told from another. What a number does is told by its last two digits, whatever country it is in (`NUMBERS`).

The bill is the carrier's own: a line a call, with the billed time in microseconds. Trap: Asterisk writes no record,
and says nothing, where the folder for them is missing.
"""

import csv
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import audio
import home
from ami import Ami, AmiError

PLAIN_PORT = 15060  # UDP and TCP
TLS_PORT = 15061
AMI_PORT = 15038
AMI_SECRET = "only inside the rig's namespace"

# The last two digits of a number, and what it does. A call for help is answered like 00.
NUMBERS = {
    "00": "answers after half a second, speaks, and records what it hears",
    "05": "answers at once and speaks for an hour",
    "10": "rings and never answers",
    "20": "is busy",
    "30": "does not exist (404)",
    "40": "speaks before it answers (183), answers after three seconds",
    "70": "is refused for want of a line (503)",
}

# What is loaded, and no more: all modules of the package take four times as long to start.
MODULES = """
res_timing_timerfd res_crypto res_pjproject res_sorcery_config res_sorcery_memory res_sorcery_astdb res_srtp
res_rtp_asterisk res_pjsip res_pjsip_session res_pjsip_sdp_rtp res_pjsip_registrar res_pjsip_authenticator_digest
res_pjsip_outbound_authenticator_digest res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user
res_pjsip_caller_id res_pjsip_nat res_pjsip_dlg_options res_pjsip_header_funcs res_pjsip_rfc3326 res_pjsip_logger
res_pjsip_path res_pjsip_diversion res_pjsip_pubsub chan_pjsip pbx_config bridge_simple bridge_softmix codec_ulaw format_wav app_playback
app_mixmonitor app_stack app_while func_cdr func_strings func_callerid func_logic func_channel res_cdrel_custom cdr_custom
""".split()


@dataclass
class Account:
    """A line with a password. `algorithm`: the only digest that the carrier offers for it."""

    user: str
    secret: str
    srtp: bool
    algorithm: str = "MD5"


@dataclass
class Billed:
    """What the carrier charges for. Times in seconds since the epoch, `seconds` with fractions."""

    account: str
    number: str  # as it was dialled; empty for calls that the carrier made
    caller: str
    disposition: str  # `ANSWERED`, `NO ANSWER`, `BUSY`, `FAILED`
    begin: float
    answer: float
    end: float
    seconds: float


class Carrier:
    """Starts with `start`; `accounts` register or challenge, and calls from `peer` need no password when given."""

    def __init__(self, folder, address, name, authority, accounts=(), peer=None, peer_ports=None, voice=1000, trusted=None):
        self.folder = Path(folder).resolve()
        self.address = address
        self.name = name
        self.authority = authority
        self.accounts = list(accounts)
        self.peer = peer
        self.peer_ports = peer_ports or {}  # transport -> the peer's port, for calls to it
        self.trusted = trusted  # PEM that the peer's certificate is checked against
        self.records = self.folder / "log/cdr-custom/calls.csv"
        self.heard = self.folder / "heard"
        self.early = self.folder / "early.wav"  # what it speaks before it answers
        self.voice = self.folder / "voice.wav"
        self.log = self.folder / "log/console"
        self.process = None
        self.ami = None
        self._voice = voice

    # Life.

    def start(self):
        """Returns when it answers its manager, with everything loaded."""
        if self.process is None:
            self._configure()
        command = home.sid_command("usr/sbin/asterisk") + ["-f", "-q", "-C", self.folder / "etc/asterisk.conf"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while True:
            if self.process.poll() is not None:
                raise AmiError(f"asterisk ended with {self.process.returncode}; see {self.log}")
            try:
                self.ami = Ami((self.address, AMI_PORT), "rig", AMI_SECRET)
                self.ami.wait("FullyBooted", 20)
                return
            except OSError:
                if time.monotonic() > until:
                    raise AmiError(f"asterisk does not start; see {self.log}") from None
                time.sleep(0.05)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def stop(self):
        """It keeps nothing worth a slow end."""
        self.kill()

    def freeze(self):
        """As if the cable were pulled: what is up stays up, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    # What it is asked.

    def command(self, line):
        return self.ami.ask("Command", command=line)[0].get("output", "")

    def channels(self):
        """Calls at the carrier now, one for each leg it has (no bridges here, so one a call)."""
        return int(self.ami.ask("CoreStatus")[0]["corecurrentcalls"])

    def contacts(self, user):
        """Where the account is registered, as URIs."""
        try:
            found = self.ami.ask("PJSIPShowContacts", until="ContactListComplete")
        except AmiError:
            return []  # "No Contacts found" is an error to it
        return [p["uri"] for p in found if p.get("event") == "ContactList" and p["objectname"].startswith(user + ";@")]

    def trace(self, on=True):
        """Every SIP message into `messages`, from now on."""
        self.command(f"pjsip set logger {'on' if on else 'off'}")

    def bill(self, wait=0.0, count=0):
        """The records so far, oldest first; waits until there are `count`."""
        until = time.monotonic() + wait
        while True:
            rows = list(csv.reader(open(self.records, newline=""))) if self.records.exists() else []
            if len(rows) >= count or time.monotonic() >= until:
                return [Billed(*row[:4], *(float(field or 0) for field in row[4:8])) for row in rows]
            time.sleep(0.1)

    def call(self, where, caller="+12025550199", called=None, timeout=10, speak=True):
        """Calls `where` (a dial string after `PJSIP/`) and speaks, recording what it hears, until hung up.
        Returns the channel's unique id, which names the recording. `called`: the number that was dialled, where the
        Request-URI names a registered Contact instead; it stands in P-Called-Party-ID (RFC 7315 §4.2), since Asterisk
        writes into To whatever the Request-URI has."""
        since = self.ami.mark()
        line = {"context": "speak", "exten": "s" if speak else "quiet", "priority": 1}
        fields = {"channel": f"PJSIP/{where}", "callerid": f'"" <{caller}>', "timeout": timeout * 1000, "async": "true", **line}
        if called:
            fields["variable"] = f"PJSIP_HEADER(add,P-Called-Party-ID)=<sip:{called}@{self.name}>"
        self.ami.ask("Originate", **fields)
        told = self.ami.wait("OriginateResponse", timeout + 5, since)
        if told["response"] != "Success":
            raise AmiError(f"call to {where}: not answered (reason {told.get('reason')}); see {self.log}")
        return told["uniqueid"]

    def hang_up_all(self):
        self.command("channel request hangup all")

    def recording(self, unique=None):
        """The WAV of what the carrier heard: of this call, or of the newest one."""
        if unique is not None:
            return self.heard / f"{unique}.wav"
        found = sorted(self.heard.glob("*.wav"), key=lambda path: path.stat().st_mtime)
        return found[-1] if found else self.heard / "none.wav"

    # Its configuration.

    def _configure(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        folders = ["etc", "log/cdr-csv", "log/cdr-custom", "run", "lib", "lib/keys", "spool", "heard", "mix"]
        for name in folders:
            (self.folder / name).mkdir(parents=True)
        audio.write(self.voice, audio.voice(self._voice, 30))
        audio.write(self.early, audio.voice(self._voice + 1, 3))
        certificate = self.authority.issue(self.name, self.address)
        shared, modules = home.SID / "usr/share/asterisk", home.SID / "usr/lib/x86_64-linux-gnu/asterisk/modules"
        self._write("asterisk.conf", {"directories": {
            "astetcdir": self.folder / "etc", "astmoddir": modules, "astvarlibdir": self.folder / "lib",
            "astdbdir": self.folder / "lib", "astkeydir": self.folder / "lib", "astdatadir": shared,
            "astagidir": shared / "agi-bin", "astspooldir": self.folder / "spool", "astrundir": self.folder / "run",
            "astlogdir": self.folder / "log", "astsbindir": home.SID / "usr/sbin"}})
        self._write("modules.conf", {"modules": [("autoload", "no")] + [("load", f"{name}.so") for name in MODULES]})
        for name in "acl ccss cel features indications pjproject udptl".split():
            (self.folder / f"etc/{name}.conf").touch()  # without them it complains of errors that are none
        self._write("logger.conf", {"logfiles": {"messages": "notice,warning,error,verbose"}})
        self._write("manager.conf", {
            "general": {"enabled": "yes", "port": AMI_PORT, "bindaddr": self.address},
            "rig": {"secret": AMI_SECRET, "read": "all", "write": "all"}})
        self._write("rtp.conf", {"general": {"rtpstart": 30000, "rtpend": 31999, "strictrtp": "yes"}})
        self._write("cdr.conf", {"general": {"enable": "yes", "unanswered": "yes", "congestion": "yes"}})
        fields = ["CDR(accountcode)", "CDR(userfield)", "CDR(src)", "CDR(disposition)", "CDR(start,u)", "CDR(answer,u)", "CDR(end,u)"]
        line = ",".join("${CSV_QUOTE(${%s})}" % field for field in [*fields, "CDR(billsec,f)"])
        (self.folder / "etc/cdr_custom.conf").write_text(f"[mappings]\ncalls.csv => {line}\n")
        (self.folder / "etc/extensions.conf").write_text(DIALPLAN.format(voice=self.voice.with_suffix(""), folder=self.folder))
        (self.folder / "etc/pjsip.conf").write_text(self._pjsip(certificate))

    def _write(self, name, sections):
        with open(self.folder / "etc" / name, "w") as out:
            for section, values in sections.items():
                out.write(f"[{section}]\n")
                for key, value in values.items() if isinstance(values, dict) else values:
                    out.write(f"{key} => {value}\n" if section == "directories" else f"{key} = {value}\n")

    def _pjsip(self, certificate):
        parts = [
            # Whoever shows a caller's number in From is nobody to it before he is challenged: with these algorithms.
            section("global", type="global", user_agent="Carrier", default_realm=self.name,
                    endpoint_identifier_order="auth_username,username,ip",
                    default_auth_algorithms_uas=self.accounts[0].algorithm if self.accounts else "MD5"),
            section("udp", type="transport", protocol="udp", bind=f"{self.address}:{PLAIN_PORT}"),
            section("tcp", type="transport", protocol="tcp", bind=f"{self.address}:{PLAIN_PORT}"),
            section("tls", type="transport", protocol="tls", bind=f"{self.address}:{TLS_PORT}", method="tlsv1_2",
                    cert_file=certificate.chain, priv_key_file=certificate.key,
                    **({"ca_list_file": self.trusted, "verify_server": "yes"} if self.trusted else {})),
        ]
        for account in self.accounts:
            media = "sdes" if account.srtp else "no"
            user = account.user
            parts += [
                section(user, type="endpoint", auth=user, aors=user, identify_by="auth_username,username", accountcode=user,
                        **self._line(), media_encryption=media),
                section(user, type="aor", max_contacts=1, remove_existing="yes", minimum_expiration=30),
                section(user, type="auth", auth_type="digest", username=user, password=account.secret,
                        supported_algorithms_uas=account.algorithm),
            ]
        if self.peer:
            # Offered SRTP is taken and plain RTP too: which it was, our own records and the phone's must say.
            parts += [
                section("peer", type="endpoint", identify_by="ip", accountcode="peer", **self._line(),
                        media_encryption="sdes", media_encryption_optimistic="yes"),
                section("peer", type="identify", endpoint="peer", match=self.peer),
            ]
            for transport, port in self.peer_ports.items():
                media = "sdes" if transport == "tls" else "no"
                parts.append(section(f"to-{transport}", type="endpoint", aors=f"to-{transport}", transport=transport, accountcode="peer",
                                     **self._line(), media_encryption=media))
                parts.append(section(f"to-{transport}", type="aor", contact=f"sip:{self.peer_host(transport)}:{port};transport={transport}"))
        return "\n".join(parts)

    def peer_host(self, transport):
        """A certificate is checked against a name."""
        return "pbx.test" if transport == "tls" else self.peer

    def _line(self):
        return {"context": "called", "disallow": "all", "allow": "ulaw", "direct_media": "no", "rtp_symmetric": "yes",
                "force_rport": "yes", "rewrite_contact": "yes", "media_address": self.address, "bind_rtp_to_media_address": "yes",
                "trust_id_inbound": "yes", "send_pai": "yes"}


def section(name, **values):
    lines = [f"[{name}]"] + [f"{key}={value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


DIALPLAN = """
[called]
exten => 911,1,Set(CDR(userfield)=${{EXTEN}})
 same => n,Goto(behave,00,1)
exten => _[+0-9].,1,Set(CDR(userfield)=${{EXTEN}})
 same => n,Goto(behave,${{EXTEN:-2}},1)

[behave]
exten => 00,1,Ringing()
 same => n,Wait(0.5)
 same => n,Answer()
 same => n,Goto(speak,s,1)
exten => 05,1,Answer()
 same => n,Goto(speak,long,1)
exten => 10,1,Ringing()
 same => n,Wait(3600)
exten => 20,1,Busy(0)
exten => 30,1,Hangup(1)
exten => 40,1,Progress()
 same => n,Playback({folder}/early,noanswer)
 same => n,Answer()
 same => n,Goto(speak,s,1)
exten => 70,1,Hangup(34)
exten => _XX,1,Goto(behave,00,1)

[speak]
exten => s,1,MixMonitor({folder}/mix/${{UNIQUEID}}.wav,r({folder}/heard/${{UNIQUEID}}.wav))
 same => n,Goto(loop,1)
exten => loop,1,Playback({voice})
 same => n,Goto(loop,1)
exten => long,1,Playback({voice})
 same => n,Goto(long,1)
exten => quiet,1,Wait(3600)
"""
