"""The load: phones that register once, and sipp, whose own count says what failed."""

import csv
import hashlib
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import bench_servers
import home

SCENARIOS = home.INTEROP / "bench"
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class LoadError(Exception):
    pass


@dataclass
class Counted:
    """What sipp counted on one side of a run, and how long it took from the first call to the last."""

    succeeded: int = 0
    failed: int = 0
    repeated: int = 0  # messages sent again
    seconds: float = 0.0
    set_up_ms: float = 0.0  # mean from INVITE to its 200
    why: dict = field(default_factory=dict)  # sipp's word for a failure -> how many
    said: list = field(default_factory=list)  # first unexpected answers


# sipp


class Sipp:
    """One sipp process with its own folder."""

    def __init__(self, folder, scenario, *words):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        command = home.sid_command("usr/bin/sipp") + ["-sf", SCENARIOS / f"{scenario}.xml", "-nostdin"]
        command += ["-trace_stat", "-stf", self.folder / "stat.csv", "-fd", "1", "-trace_err", "-error_file", self.folder / "errors.log"]
        command += list(words)
        with open(self.folder / "out", "ab") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder
            )

    def wait(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()

    def end(self):
        """Lets it write its last figures, then ends it."""
        if self.process.poll() is not None:
            return
        for number, patience in ((signal.SIGUSR1, 3), (signal.SIGUSR1, 2), (signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            self.process.send_signal(number)
            try:
                self.process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue

    def counted(self):
        path = self.folder / "stat.csv"
        rows = list(csv.DictReader(open(path, newline=""), delimiter=";")) if path.exists() else []
        if not rows:
            raise LoadError(f"sipp counted nothing; see {self.folder}")
        last = rows[-1]
        got = Counted(int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"]), int(last["Retransmissions(C)"]))
        # sipp's own elapsed time is cut to whole seconds.
        got.seconds = float(last["CurrentTime"].split("\t")[-1]) - float(last["StartTime"].split("\t")[-1])
        got.set_up_ms = clock(last.get("ResponseTime1(C)") or "0:0:0") * 1000
        got.why = {
            name.removesuffix("(C)").removeprefix("Failed"): int(last[name])
            for name in last
            if name and name.startswith("Failed") and name.endswith("(C)") and name != "FailedCall(C)" and int(last[name] or 0)
        }
        got.said = self._said()
        return got

    def _said(self):
        """Status lines of what sipp did not expect, each once."""
        path = self.folder / "errors.log"
        if not path.exists():
            return []
        with open(path, errors="replace") as log:
            text = log.read(2_000_000)
        return sorted(set(re.findall(r"SIP/2\.0 [3-6]\d\d [^\r\n]{0,60}", text)))[:5]


def clock(text):
    """Seconds of sipp's H:MM:SS:us or H:MM:SS.us."""
    parts = re.split(r"[:.]", text.strip())
    hours, minutes, seconds = (float(part or 0) for part in parts[:3])
    fraction = float(f"0.{parts[3]}") if len(parts) > 3 else 0.0
    return hours * 3600 + minutes * 60 + seconds + fraction


def lines(path, rows, order="SEQUENTIAL"):
    Path(path).write_text(order + "\n" + "".join(";".join(row) + ";\n" for row in rows))
    return path


@dataclass
class Run:
    """One run of calls against one server."""

    caller: Counted
    phone: Counted
    calls: int
    rate: int

    @property
    def failed(self):
        """Calls that failed by the count of the side that lost more."""
        return max(self.caller.failed, self.calls - self.caller.succeeded, self.phone.failed)

    def is_clean(self, share=0.001):
        return self.failed <= self.calls * share

    def kept_up(self):
        """Whether the load was carried at its rate, and nearly nothing had to be said twice."""
        asked = self.calls / self.rate
        return self.caller.seconds < asked * 1.1 + 1.5 and self.caller.repeated + self.phone.repeated <= self.calls * 0.01

    def words(self):
        text = f"{self.caller.succeeded} of {self.calls} calls, {self.failed} failed"
        if self.failed:
            text += f" (caller: {self.caller.why or '-'} {self.caller.said or ''}; phone: {self.phone.failed} failed {self.phone.why or '-'})"
        rate = self.calls / self.caller.seconds if self.caller.seconds else 0
        answered = f", answered after {self.caller.set_up_ms:.1f} ms (mean)" if self.caller.set_up_ms else ""
        return f"{text}, {rate:.0f}/s{answered}, {self.caller.repeated + self.phone.repeated} repeats"


def calls(folder, server, plan, rate, count, transport="udp", pause_ms=0, connections=8, lasts=0):
    """Calls from the carrier's addresses to the plan's numbers in turn, `rate` a second; answered by its phones.
    `lasts`: seconds more than a run without pauses takes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = plan.numbers()
    pairs = max(len(numbers), len(plan.carriers))
    rows = [(plan.carriers[n % len(plan.carriers)], bench_servers.PREFIX + numbers[n % len(numbers)]) for n in range(pairs)]
    phones = lines(folder / "phones.csv", [(address,) for address in plan.phones])
    patience = count / rate + 45 + lasts
    limit = str(max(500, rate * 4, count if lasts else 0))
    common = ["-l", limit, "-buff_size", "8388608", "-deadcall_wait", "5000"]
    phone = Sipp(folder / "phone", "phone", "-t", "ui", "-inf", phones, "-ip_field", "0", "-i", plan.phones[0],
                 "-p", str(server.contact_port), "-recv_timeout", str(int(40_000 + 1000 * lasts)), "-max_socket", "5000", *common)
    try:
        time.sleep(0.5)
        if phone.process.poll() is not None:
            raise LoadError(f"sipp as phones ended with {phone.process.returncode}; see {phone.folder}")
        words = ["-d", str(pause_ms), "-recv_timeout", "20000", "-timeout", str(int(patience)), *common]
        if transport == "udp":
            words += ["-t", "ui", "-inf", lines(folder / "callers.csv", rows), "-ip_field", "0", "-i", plan.carriers[0], "-p", "5080"]
            words += ["-max_socket", "5000", "-r", str(rate), "-m", str(count), f"{server.outside}:{server.port}"]
            callers = [Sipp(folder / "caller", "caller", *words)]
        else:
            callers = _over_tls(folder, server, plan, rate, count, connections, words, rows)
        for caller in callers:
            caller.wait(patience + 10)
        time.sleep(0.5)
    finally:
        phone.end()
    return Run(together([caller.counted() for caller in callers]), phone.counted(), count, rate)


def _over_tls(folder, server, plan, rate, count, connections, words, rows):
    """A sipp for each connection: with a socket for each call (`ln`) it would shake hands for each call."""
    shares, callers = min(connections, count), []
    for n in range(shares):
        address = plan.carriers[n % min(4, len(plan.carriers))]
        path = lines(folder / f"callers-{n}.csv", [(address, number) for _, number in rows])
        mine = ["-t", "l1", "-inf", path, "-i", address, "-p", str(6100 + n), "-r", str(rate), "-rp", str(1000 * shares)]
        mine += ["-m", str(count // shares + (n < count % shares)), "-tls_version", "1.3", "-tls_cert", plan.certificate.chain]
        mine += ["-tls_key", plan.certificate.key, f"{server.outside}:{server.tls_port}"]
        callers.append(Sipp(folder / f"caller-{n}", "caller", *words, *mine))
    return callers


def together(counted):
    """Several callers as one."""
    made = Counted(sum(c.succeeded for c in counted), sum(c.failed for c in counted), sum(c.repeated for c in counted))
    made.seconds = max(c.seconds for c in counted)
    made.set_up_ms = sum(c.set_up_ms for c in counted) / len(counted)
    for one in counted:
        for why, many in one.why.items():
            made.why[why] = made.why.get(why, 0) + many
        made.said += [said for said in one.said if said not in made.said]
    return made


def registrations(folder, server, plan, rate, count):
    """REGISTER, 401, REGISTER, 200: the plan's phones in turn, each at the Contact that it had before."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        (plan.phone_of(number), number, f"[authentication username={number} password={plan.secrets[number]}]")
        for number in plan.numbers()
    ]
    phones = lines(folder / "phones.csv", rows)
    patience = count / rate + 45
    client = Sipp(folder / "phone", "register", "-t", "ui", "-inf", phones, "-ip_field", "0", "-i", plan.phones[0],
                  "-p", str(server.contact_port), "-r", str(rate), "-m", str(count), "-l", str(max(500, rate * 4)),
                  "-recv_timeout", "20000", "-timeout", str(int(patience)), "-max_socket", "5000", "-buff_size", "8388608", "-deadcall_wait", "5000",
                  "-auth_uri", bench_servers.NAME, f"{server.address}:{server.phone_port}")
    client.wait(patience + 10)
    counted = client.counted()
    return Run(counted, Counted(counted.succeeded), count, rate)


# Phones that register once, before sipp takes their place at the same address and port.


def register_all(server, plan):
    """Each extension at its phone's address, the addresses side by side; returns how many."""
    at = {address: [] for address in plan.phones}
    for number in plan.numbers():
        at[plan.phone_of(number)].append(number)

    def one(address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.bind((address, server.contact_port))
            line.settimeout(1)
            for number in at[address]:
                _register(line, (server.address, server.phone_port), number, plan.secrets.get(number, ""))

    with ThreadPoolExecutor(len(at)) as workers:
        list(workers.map(one, at))
    return len(plan.numbers())


def _register(line, server, number, secret, tries=8):
    here = line.getsockname()
    call, sequence, credentials = secrets.token_hex(8), 1, ""
    for _ in range(tries):
        uri = f"sip:{bench_servers.NAME}"
        head = [
            f"REGISTER {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {here[0]}:{here[1]};branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:{number}@{bench_servers.NAME}>;tag={call}",
            f"To: <sip:{number}@{bench_servers.NAME}>",
            f"Call-ID: {call}",
            f"CSeq: {sequence} REGISTER",
            f"Contact: <sip:{number}@{here[0]}:{here[1]}>;expires=3600",
        ]
        head += [credentials] if credentials else []
        line.sendto(("\r\n".join([*head, "Content-Length: 0"]) + "\r\n\r\n").encode(), server)
        status, text = _answer(line, call, sequence)
        sequence += 1
        if status == 200:
            return
        if status == 401:
            credentials = authorization(text, "REGISTER", uri, number, secret)
        elif status:
            raise LoadError(f"REGISTER of {number}: {text.splitlines()[0]}")
    raise LoadError(f"REGISTER of {number}: no 200 after {tries} tries")


def _answer(line, call, sequence):
    """The final answer to this request: (status, text); (0, "") when none came in time."""
    until = time.monotonic() + 2
    while time.monotonic() < until:
        try:
            text = line.recv(65535).decode(errors="replace")
        except (TimeoutError, ConnectionRefusedError):
            return 0, ""
        if call in text and f"CSeq: {sequence} " in text and text.startswith("SIP/2.0 ") and not text.startswith("SIP/2.0 1"):
            return int(text[8:11]), text
    return 0, ""


def authorization(text, method, uri, user, secret):
    """The answer to the strongest challenge that we know."""
    offered = {}
    for row in re.findall(r"(?im)^WWW-Authenticate:\s*Digest\s+(.*)$", text):
        fields = dict(re.findall(r'(\w+)="?([^",\r\n]+)"?', row))
        offered[fields.get("algorithm", "MD5").upper()] = fields
    algorithm = "SHA-256" if "SHA-256" in offered else "MD5"
    fields = offered[algorithm]
    digest = lambda value: HASHES[algorithm](value.encode()).hexdigest()  # noqa: E731
    realm, nonce, own = fields["realm"], fields["nonce"], os.urandom(8).hex()
    known = digest(f"{user}:{realm}:{secret}")
    asked = digest(f"{method}:{uri}")
    if "qop" in fields:
        proof = digest(f"{known}:{nonce}:00000001:{own}:auth:{asked}")
        more = f', qop=auth, nc=00000001, cnonce="{own}"'
    else:
        proof, more = digest(f"{known}:{nonce}:{asked}"), ""
    if "opaque" in fields:
        more += f', opaque="{fields["opaque"]}"'
    return (
        f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{proof}", '
        f"algorithm={algorithm}{more}"
    )
