"""The servers that are compared, as the benchmark sees them: each has addresses of its own on loopback.

All three are given the same phones (`Plan.phones`, extensions in turn) and the same carrier (`Plan.carriers`), and
route +12025XXXXXX, whose last digits are the extension.
"""

import contextlib
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import bench_measure
import carrier
import home
import servers

# Ringfence's kernel table judges what goes to its ports (5060 to 5062), at whatever address of the host: nobody else uses them.
OTHERS_PORT = 5090
PREFIX = "+12025"
FIRST = 100001  # extension
DIGITS = 6
CARRIERS = "127.0.1.0/24"
QUESTIONS = ("127.0.1.250", 5070)  # where a trunk asks whether the carrier is there
NAME = "pbx.test"
CALLS = 20_000  # at once, where the configuration has that bound
CHANNELS = 27_000  # of the trunk, which keeps a quarter for calls out
ASKED_AT_ONCE = 16  # changes: each waits for the disk, and those that wait together are written together
WITHOUT_MEDIA = "--dangerous-without-media"
ASTERISK_MODULES = """
res_timing_timerfd res_crypto res_pjproject res_sorcery_config res_sorcery_memory res_sorcery_astdb res_srtp
res_rtp_asterisk res_pjsip res_pjsip_session res_pjsip_sdp_rtp res_pjsip_endpoint_identifier_ip
res_pjsip_caller_id res_pjsip_nat res_pjsip_dlg_options res_pjsip_rfc3326 res_pjsip_pubsub
chan_pjsip pbx_config bridge_simple codec_ulaw app_dial cdr_csv
""".split()


@dataclass
class Plan:
    """Who takes part. `certificate`: the same for all servers, where TLS is measured."""

    carriers: list
    phones: list
    extensions: int
    certificate: object = None
    authority: object = None
    secrets: dict = field(default_factory=dict)

    def numbers(self):
        return [str(FIRST + n) for n in range(self.extensions)]

    def phone_of(self, number):
        return self.phones[(int(number) - FIRST) % len(self.phones)]


def plan(addresses, extensions, certificate=None, authority=None):
    hosts = range(1, addresses + 1)
    return Plan([f"127.0.1.{n}" for n in hosts], [f"127.0.2.{n}" for n in hosts], extensions, certificate, authority)


class Server:
    """What all have in common: a folder, a process, an address for carriers and one for phones."""

    name = ""
    address = ""  # for phones
    outside = ""  # for carriers
    port = phone_port = OTHERS_PORT  # of UDP, for carriers and for phones
    tls_port = OTHERS_PORT + 1
    contact_port = 5070  # of the phones; each server's own, so that what one says late reaches nobody's round

    def __init__(self, folder, plan):
        self.folder = Path(folder)
        self.plan = plan
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def cpu(self):
        return bench_measure.cpu(self.pid)

    def memory(self):
        return bench_measure.memory(self.pid)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def restart(self):
        self.stop()
        self.start()

    def take_turn(self):
        """Before each of its rounds."""

    def control(self, calls):
        """What shows that each call was really worked on: (words, whether it holds)."""
        return "", True

    def stop(self):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Ringfence(Server):
    """All defences and all records as they are by default; limits raised where `raised` says so."""

    name = "ringfence"
    address, outside, port = "127.0.0.1", "127.0.0.32", 5062
    phone_port, tls_port = 5060, 5061

    def __init__(self, folder, plan, transport="udp", connections=4000, per_source=500, handshakes=128, media_ports="10000-65534", words=()):
        super().__init__(folder, plan)
        self.words = list(words)
        self.transport = transport
        self.limits = {"connections": connections, "connections_per_source": per_source, "handshakes": handshakes}
        self.media_ports = media_ports
        self.server = servers.Ringfence(self.folder, name=NAME, home_country="US")
        self.server.words = self.words
        self.recorded = 0
        self.carrier = None

    @property
    def pid(self):
        return self.server.process.pid

    def alive(self):
        return self.server.process is not None and self.server.process.poll() is None

    def what_is_on(self):
        config = "defaults but for UDP, the range of media ports, and limits of calls and connections"
        media = "a null relay of media" if WITHOUT_MEDIA in self.words else "reservation of ports and relay of media (anchored, no packets)"
        return (
            f"admission limits, wall, gate and policy, {media}, journal, call records, ladders and snapshots of calls, "
            f"registrations, a log line for each fact: all on, SQLite on {file_system(self.folder)}, durability \"process\"; {config}"
        )

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        config = self.folder / "ringfence.toml"
        config.touch(mode=0o600)
        config.write_text(self._config())
        self.server.start()
        self.carrier = Questions()
        self.people(self.plan.numbers())
        self._trunk()

    def restart(self):
        self.server.stop()
        self.server.start()

    def take_turn(self, words=None):
        """Runs with these words from now on, or with its own."""
        wanted = self.words if words is None else words
        if self.server.words != wanted:
            self.server.words = wanted
            self.restart()

    def stop(self):
        self.server.stop()
        if self.carrier is not None:
            self.carrier.stop()

    def ask(self, what, **fields):
        """A question over the admin socket, as the command line asks it."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            line.connect(str(self.folder / "admin.sock"))
            line.sendall(json.dumps({"ask": what, **fields}).encode() + b"\n")
            got = b"".join(iter(lambda: line.recv(65536), b""))
        answer = json.loads(got)
        if isinstance(answer, dict) and "failed" in answer:
            raise servers.ServerError(f"{what}: {answer['failed']['wrong']}; {answer['failed']['remedy']}")
        return answer

    def records(self):
        """How many call records there are, counted where they lie: an answer with all of them would cost memory."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/ringfence.db?mode=ro", uri=True, timeout=10)) as store:
            return store.execute("SELECT count(*) FROM cdr").fetchone()[0]

    def control(self, calls):
        """Each call has its record, and the journal verifies."""
        until = time.monotonic() + 40  # a record whose call ended without an answer waits for its transaction
        while (found := self.records()) - self.recorded < calls and time.monotonic() < until:
            time.sleep(0.5)
        new, self.recorded = found - self.recorded, found
        verified = self.server.say("journal", "verify").strip().splitlines()[0]
        return f"{new} call records for {calls} calls; journal: {verified}", new == calls

    def _config(self):
        tls = ""
        if self.plan.certificate:
            tls = f'[tls]\ncertificate = "{self.plan.certificate.chain}"\nkey = "{self.plan.certificate.key}"\n'
        keys = subprocess.run([self.server.binary, "config", "keys"], capture_output=True, text=True, timeout=10).stdout
        if "limits.calls`" in keys:
            self.limits["calls"] = CALLS
        limits = "".join(f"{key} = {value}\n" for key, value in self.limits.items())
        realm = '[[realm]]\nid = {}\nname = "{}"\nbind = "{}"\nadvertise_name = "{}"\nmedia_ports = "{}"\n'
        text = f"{tls}[status_page]\nbind = false\n[limits]\n{limits}"
        text += realm.format(0, "access", self.address, NAME, self.media_ports) + "transports.udp = 5060\n"
        return text + realm.format(1, "carrier", self.outside, NAME, self.media_ports) + f"carrier_port = {self.port}\ntransports.tls = {self.tls_port}\n"

    def people(self, numbers):
        """Makes their accounts, and learns their secrets."""

        def one(number):
            return self.ask("extension-add", number=number, name=f"Bench {number}", allow_plain_rtp=True)["secret"]["secret"]

        with ThreadPoolExecutor(ASKED_AT_ONCE) as workers:
            self.plan.secrets.update(zip(numbers, workers.map(one, numbers)))

    def _trunk(self):
        host, port = QUESTIONS
        words = ["trunk", "add", "bench", "--server", f"{host}:{port}", "--transport", self.transport, "--realm", "carrier"]
        words += ["--address", ",".join(self.plan.carriers), "--channels", str(CHANNELS), "--dangerous-plain-rtp"]
        if self.transport == "tls":
            words += ["--ca", str(self.plan.authority.certificate)]
        self.server.say(*words)
        with ThreadPoolExecutor(ASKED_AT_ONCE) as workers:
            add = lambda number: self.ask("number-add", number=PREFIX + number, trunk="bench", extension=number)  # noqa: E731
            list(workers.map(add, self.plan.numbers()))


class WithoutMedia:
    """The same ringfence, started anew before its turns so that it opens no ports for audio: what signalling costs alone."""

    name = "ringfence-null"

    def __init__(self, server):
        self.server = server

    def __getattr__(self, what):
        return getattr(self.server, what)

    def what_is_on(self):
        return "the same with a null relay of media: ports are promised, none is opened"

    def start(self):
        pass

    def stop(self):
        pass

    def take_turn(self):
        self.server.take_turn([WITHOUT_MEDIA])


def has_null_relay():
    """Whether the program was built with the switches of tests."""
    program = servers.Ringfence("nowhere").binary
    return WITHOUT_MEDIA in subprocess.run([program, "up", "--help"], capture_output=True, text=True, timeout=10).stdout


class Kamailio(Server):
    """Stateful proxy with Record-Route; contacts in memory; nothing is logged or recorded."""

    name = "kamailio"
    address = outside = "127.0.0.33"
    contact_port = 5071

    def __init__(self, folder, plan, transport="udp", challenge=False, algorithm="SHA-256", children=2):
        super().__init__(folder, plan)
        self.transport = transport
        self.challenge = challenge
        self.algorithm = algorithm
        self.children = children

    def what_is_on(self):
        return f"tm, rr, usrloc in memory, {self.children} workers a socket; no media, no records, no log, nothing on disk"

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        config = self.folder / "kamailio.cfg"
        config.write_text(self._config())
        libraries = home.SID / "usr/lib/x86_64-linux-gnu"
        loader, _, _, _, path, program = home.sid_command("usr/sbin/kamailio")
        command = [loader, "--argv0", "kamailio", "--library-path", f"{path}:{libraries / 'kamailio'}", program]
        command += ["-DD", "-f", config, "-m", "2048", "-M", "32", "-Y", self.folder, "-w", self.folder]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_udp(self, (self.address, self.port))

    def _config(self):
        tls = self.transport == "tls"
        modules = home.SID / "usr/lib/x86_64-linux-gnu/kamailio/modules"
        secrets = [f'    $sht(secret=>{number}) = "{secret}";' for number, secret in self.plan.secrets.items()]
        load = ""
        if tls:
            file = self.folder / "tls.cfg"
            file.write_text(
                f"[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n"
                f"private_key = {self.plan.certificate.key}\ncertificate = {self.plan.certificate.chain}\n"
            )
            load = f'loadmodule "tls.so"\nmodparam("tls", "config", "{file}")'
        return (home.INTEROP / "bench/kamailio.cfg").read_text().format(
            children=self.children, address=self.address, port=self.port, modules=modules, carriers=CARRIERS, digits=DIGITS,
            disable_tcp="no" if tls else "yes", enable_tls="yes" if tls else "no",
            listen_tls=f"listen=tls:{self.address}:{self.tls_port}" if tls else "", load_tls=load, tls_max="tls_max_connections=20000" if tls else "",
            algorithm=self.algorithm,
            challenge="1" if self.challenge else "0", secrets="\n".join(secrets) if self.challenge else "    return;",
        )


class Asterisk(Server):
    """B2BUA by PJSIP; its own call records in CSV, its media ports; nothing is logged."""

    name = "asterisk"
    address = outside = "127.0.0.34"
    contact_port = 5072
    recorded = 0

    def what_is_on(self):
        return "PJSIP B2BUA, RTP ports of its own for both legs (no packets), direct media off, call records in CSV; no log"

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("etc", "log/cdr-csv", "run", "lib/keys", "spool"):
            (self.folder / name).mkdir(parents=True)
        shared, modules = home.SID / "usr/share/asterisk", home.SID / "usr/lib/x86_64-linux-gnu/asterisk/modules"
        folders = {
            "astetcdir": self.folder / "etc", "astmoddir": modules, "astvarlibdir": self.folder / "lib",
            "astdbdir": self.folder / "lib", "astkeydir": self.folder / "lib", "astdatadir": shared,
            "astagidir": shared / "agi-bin", "astspooldir": self.folder / "spool", "astrundir": self.folder / "run",
            "astlogdir": self.folder / "log", "astsbindir": home.SID / "usr/sbin",
        }
        self._write("asterisk.conf", "[directories]\n" + "".join(f"{key} => {value}\n" for key, value in folders.items()))
        self._write("modules.conf", "[modules]\nautoload = no\n" + "".join(f"load = {name}.so\n" for name in ASTERISK_MODULES))
        self._write("logger.conf", "[general]\n[logfiles]\nerrors => error\n")
        self._write("cdr.conf", "[general]\nenable = yes\n[csv]\nloguniqueid = yes\n")
        self._write("rtp.conf", "[general]\nrtpstart = 10000\nrtpend = 65534\nstrictrtp = no\n")
        self._write("manager.conf", "[general]\nenabled = no\n")
        self._write("pjsip.conf", self._pjsip())
        dialled = "exten => _X.,1,Dial(PJSIP/${EXTEN:-%d})\n" % DIGITS
        self._write("extensions.conf", "[carrier]\n" + dialled + dialled.replace("_X", "_+X"))
        command = home.sid_command("usr/sbin/asterisk") + ["-f", "-q", "-C", self.folder / "etc/asterisk.conf"]
        with open(self.folder / "log/console", "ab") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_udp(self, (self.address, self.port))

    def control(self, calls):
        path = self.folder / "log/cdr-csv/Master.csv"
        found = path.read_bytes().count(b"\n") if path.exists() else 0
        new, self.recorded = found - self.recorded, found
        return f"{new} call records for {calls} calls", True

    def _write(self, name, text):
        (self.folder / "etc" / name).write_text(text)

    def _pjsip(self):
        line = {"context": "carrier", "disallow": "all", "allow": "ulaw", "direct_media": "no", "media_address": self.address,
                "bind_rtp_to_media_address": "yes", "rtp_symmetric": "no"}
        section = carrier.section
        parts = [
            section("global", type="global", endpoint_identifier_order="ip"),
            section("udp", type="transport", protocol="udp", bind=f"{self.address}:{self.port}"),
            section("carrier", type="endpoint", identify_by="ip", **line),
            section("carrier", type="identify", endpoint="carrier", match=CARRIERS),
        ]
        for number in self.plan.numbers():
            contact = f"sip:{number}@{self.plan.phone_of(number)}:{self.contact_port}"
            parts += [section(number, type="endpoint", aors=number, **line), section(number, type="aor", contact=contact)]
        return "\n".join(parts)


class Questions:
    """A carrier's answer to OPTIONS, over UDP: a thread of its own."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(QUESTIONS)
        self.socket.settimeout(0.5)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._over.is_set():
            try:
                data, peer = self.socket.recvfrom(65535)
            except TimeoutError:
                continue
            except OSError:
                return
            answer = options_answer(data)
            if answer:
                self.socket.sendto(answer, peer)

    def stop(self):
        self._over.set()
        self._thread.join(2)
        self.socket.close()


def options_answer(data):
    """200 to a request, with the headers that it must carry back; nothing to an answer."""
    rows = data.decode(errors="replace").split("\r\n\r\n")[0].split("\r\n")
    if rows[0].startswith("SIP/2.0") or rows[0].startswith("ACK"):
        return None
    kept = [row for row in rows[1:] if row.split(":")[0].strip().lower() in ("via", "v", "from", "f", "call-id", "i", "cseq")]
    to = next((row for row in rows if row.split(":")[0].strip().lower() in ("to", "t")), "To: <sip:nobody@invalid>")
    return ("\r\n".join(["SIP/2.0 200 OK", *kept, to + ";tag=q", "Content-Length: 0"]) + "\r\n\r\n").encode()


def wait_udp(server, where):
    """Returns once the server answers an OPTIONS with anything."""
    until = time.monotonic() + 30
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.1.251", 0))
        line.settimeout(0.3)
        here = line.getsockname()
        text = f"OPTIONS sip:{where[0]} SIP/2.0\r\nVia: SIP/2.0/UDP {here[0]}:{here[1]};branch=z9hG4bKwait\r\nMax-Forwards: 9\r\n"
        text += f"From: <sip:a@{here[0]}>;tag=1\r\nTo: <sip:{where[0]}>\r\nCall-ID: wait\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        while time.monotonic() < until:
            if not server.alive():
                raise servers.ServerError(f"{server.name} ended with {server.process.returncode}; see {server.folder}")
            line.sendto(text.encode(), where)
            try:
                line.recvfrom(65535)
                return
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.1)
    raise servers.ServerError(f"{server.name} does not answer within 30 s; see {server.folder}")


def file_system(folder):
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True)
    return done.stdout.strip() or "?"
