"""What attack tools of the field learn and what they break: each check a function from a folder to results. See `run`.

The tools are sipvicious's, once as they come (they call themselves friendly-scanner) and once under the name of a phone,
since a name is the least that an attacker changes.
"""

import contextlib
import hashlib
import os
import re
import secrets
import select
import socket
import subprocess
import time

import home
from checks import Result
from load import Load, Message
from office import Office

ATTACKER = "127.0.0.66"
BEHIND_NAT = "127.0.0.40"  # forty phones behind one address
SERVER = ("127.0.0.1", 5060)
VERSION = re.search(r'^version = "(.*)"', (home.PROJECT / "Cargo.toml").read_text(), re.M).group(1).replace(".", r"\.")
PHONE = "baresip v1.1.0"  # gets challenges with MD5 alone: the tools know nothing else
GUESSES_MAX = 10
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
# Runs a tool of the package under another name, which it writes into its messages, and from an address of
# its own: not every tool has an option for that.
DISGUISE = (
    "import sys, importlib, socket, sipvicious.libs.svhelper as helper\n"
    "tool, agent, source = sys.argv[1:4]\n"
    "bind = socket.socket.bind\n"
    "socket.socket.bind = lambda one, at: bind(one, (source, at[1]))\n"
    "names = helper.makeRequest.__code__.co_varnames[:helper.makeRequest.__code__.co_argcount]\n"
    "values = list(helper.makeRequest.__defaults__)\n"
    "values[names.index('useragent') - len(names)] = agent\n"
    "helper.makeRequest.__defaults__ = tuple(values)\n"
    "sys.argv = [tool, *sys.argv[4:]]\n"
    "sys.exit(importlib.import_module('sipvicious.' + tool).main())\n"
)


def tool(name, *words, agent=None, seconds=60):
    """What the tool printed, whatever became of it."""
    python = str(home.VENV / "bin/python")
    line = [python, "-c", DISGUISE, name, agent or "friendly-scanner", ATTACKER, *map(str, words)]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            return running.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            running.kill()
            return running.communicate()[0]


class Datagrams:
    """A phone over UDP that does nothing but register, with one socket."""

    def __init__(self, address, number, secret, agent="Rig phone"):
        self.number, self.secret, self.agent = number, secret, agent
        self.instance = f"<urn:uuid:{secrets.token_hex(4)}-0000-4000-8000-{secrets.token_hex(6)}>"
        self.restart(address)

    def restart(self, address):
        """After a power cut: another port, another Call-ID, the same device."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.connect(SERVER)
        self.call, self.tag, self.sequence = secrets.token_hex(12), secrets.token_hex(6), 0
        self.statuses, self.done, self.proved = [], False, False
        self._due, self._wait, self._message = 0.0, 0.5, None

    def close(self):
        self.socket.close()

    def begin(self):
        """Sends a REGISTER; `advance` does the rest."""
        self.statuses, self.done, self.proved, self._challenges = [], False, False, 0
        self._write(None)

    def advance(self, now):
        """Repeats what has no answer (RFC 3261 §17.1.2), and answers one challenge."""
        while True:
            try:
                text = self.socket.recv(65_535).decode()
            except BlockingIOError:
                break
            except ConnectionError:
                continue
            head, _, body = text.partition("\r\n\r\n")
            answer = Message(head, body)
            if answer.status < 200 or answer.get("cseq") != f"{self.sequence} REGISTER":
                continue
            self.statuses.append(answer.status)
            if answer.status == 401 and self._challenges < 2:
                self._challenges += 1
                self._write(self._proof(answer.all("www-authenticate")))
            else:
                self.done = True
                self.proved = answer.status == 200
        if not self.done and now >= self._due:
            self._wait = min(self._wait * 2, 4.0)
            self._due = now + self._wait
            self.socket.send(self._message)

    def _write(self, proof):
        self.sequence += 1
        here = "%s:%d" % self.socket.getsockname()
        lines = [f"REGISTER sip:{SERVER[0]} SIP/2.0", f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{secrets.token_hex(8)};rport"]
        lines += ["Max-Forwards: 70", f"From: <sip:{self.number}@{SERVER[0]}>;tag={self.tag}", f"To: <sip:{self.number}@{SERVER[0]}>"]
        lines += [f"Call-ID: {self.call}", f"CSeq: {self.sequence} REGISTER", f"User-Agent: {self.agent}", "Expires: 300"]
        lines += [f'Contact: <sip:{self.number}@{here}>;+sip.instance="{self.instance}"', *([proof] if proof else []), "Content-Length: 0"]
        self._message = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._wait, self._due = 0.5, time.monotonic() + 0.5
        self.socket.setblocking(False)
        self.socket.send(self._message)

    def _proof(self, challenges):
        for text in challenges:
            part = lambda name: (re.search(rf'\b{name}="?([^",]*)"?', text, re.I) or [None, ""])[1]  # noqa: E731
            algorithm = part("algorithm") or "MD5"
            if algorithm in HASHES:
                break
        digest = lambda text: HASHES[algorithm](text.encode()).hexdigest()  # noqa: E731
        uri, ours, realm, nonce = f"sip:{SERVER[0]}", secrets.token_hex(8), part("realm"), part("nonce")
        inner = f"{digest(f'{self.number}:{realm}:{self.secret}')}:{nonce}:00000001:{ours}:auth:{digest(f'REGISTER:{uri}')}"
        text = f'Authorization: Digest username="{self.number}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        text += f'response="{digest(inner)}", algorithm={algorithm}, qop=auth, nc=00000001, cnonce="{ours}"'
        return text + (f', opaque="{part("opaque")}"' if part("opaque") else "")


def register(phones, seconds=8.0):
    """All at the same instant; returns when each has its final answer, or the time is up."""
    for phone in phones:
        phone.begin()
    until = time.monotonic() + seconds
    waiting = list(phones)
    while waiting and time.monotonic() < until:
        select.select([phone.socket for phone in waiting], [], [], 0.05)
        for phone in waiting:
            phone.advance(time.monotonic())
        waiting = [phone for phone in waiting if not phone.done]
    return all(phone.proved for phone in phones)


@contextlib.contextmanager
def opened(folder, name, binary=None, words=()):
    """An office whose Ringfence also listens in clear on UDP 5060, which it names a weakness."""
    with Office(folder, name, start=False) as office:
        server = office.server
        server.binary = binary or server.binary
        server.words = words
        server.folder.mkdir(mode=0o700)
        config = server.folder / "ringfence.toml"
        config.touch(mode=0o600)
        config.write_text(f"[[realm]]\ntransports.udp = {SERVER[1]}\n")
        server.start()
        yield office


def dangerous():
    """A build whose defences can be switched off, or why there is none."""
    binary = home.PROJECT / "target/debug/ringfence"
    if binary.exists():
        shown = subprocess.run([binary, "up", "--help"], capture_output=True, text=True, timeout=20)
        if "--dangerous-without-wall" in shown.stdout:
            return binary
    return None


def scanners(folder):
    """svmap, svwar and svcrack, as they come and disguised."""
    results = []
    with opened(folder, "scanners") as office, Load() as load:
        accounts = [office.server.extension(str(number), f"Rig {number}") for number in range(100, 105)]
        victim = load.register(accounts[:1], office.server.ca)[0]
        seen = []
        for agent in (None, PHONE):
            seen.append(tool("svmap", f"{SERVER[0]}:{SERVER[1]}", "-x", ATTACKER, agent=agent, seconds=20))
        named = [line for text in seen for line in text.splitlines() if re.search(rf"ringfence|\b{VERSION}\b", line, re.I)]
        results.append(Result("svmap", not named, "neither product nor version" if not named else named[0]))

        found = set()
        for agent in (None, PHONE):
            for method in ("REGISTER", "INVITE", "OPTIONS"):
                words = ["-e", "95-110", "-m", method, "-x", ATTACKER, f"udp://{SERVER[0]}:{SERVER[1]}"]
                text = tool("svwar", *words, agent=agent, seconds=30)
                found |= {row.group(1) for row in re.finditer(r"^\|\s*(\d+)\s*\|", text, re.M)}
        # A tool that can't tell lists none; one that lists all alike has learned nothing either.
        learned = bool(found & set("100 101 102 103 104".split())) and not found >= set("95 96 97 110".split())
        results.append(Result("svwar", not learned, f"16 numbers, 5 of them extensions, 3 methods, 2 names: {sorted(found) or 'none found'}"))

        cracked, log = crack(folder, accounts[0].secret)
        compared = guesses(office)
        detail = f"{log} passwords, the right one behind {GUESSES_MAX}: {'found' if cracked else 'not found'}; compared with a secret: {compared}"
        results.append(Result("svcrack", not cracked and 0 < compared <= GUESSES_MAX, detail, {"compared": compared}))

        kept = any(device["extension"] == "100" and device["registered"] for device in office.server.devices())
        rang = load.run(load.register(accounts[1:2], office.server.ca)[0].call("100"))
        results.append(Result("victim", kept and rang.status == 486, f"100 stays registered, and a call reaches it ({rang.status} is its own answer)"))
        neighbour = Datagrams(ATTACKER, accounts[2].number, accounts[2].secret)
        results.append(Result("neighbour", register([neighbour]), f"another account from the attacker's address: {neighbour.statuses}"))
        owner = Datagrams(ATTACKER, accounts[0].number, accounts[0].secret)
        before = register([owner])
        office.server.say("unban", ATTACKER)
        owner.restart(ATTACKER)
        after = register([owner])
        results.append(Result("unban", after and not before, f"the account under attack from the attacker's address: {before}, after unban {after}"))
        victim.drop()
    return results


def crack(folder, secret, tries=400):
    """Whether svcrack finds this secret in a list of wrong ones, and how long the list was."""
    words = [f"guess{number}" for number in range(tries)]
    words.insert(GUESSES_MAX + 5, secret)
    listed = folder / "passwords.txt"
    listed.write_text("\n".join(words) + "\n")
    os.chmod(listed, 0o600)
    options = ["-u", "100", "-d", listed, "-x", ATTACKER, f"udp://{SERVER[0]}:{SERVER[1]}"]
    text = tool("svcrack", *options, agent=PHONE, seconds=60)
    listed.unlink()
    return secret in text, len(words)


def guesses(office):
    """Wrong secrets from the attacker's address that were compared with that of extension 100."""
    held = office.server.command("bans")["held"]
    return sum(pair["compared"] for pair in held if pair["source"] == ATTACKER and pair["account"] == "100")


def fallen(folder):
    """With the defence off, extension 100 with the secret 100 falls to the same tool: what `scanners` shows is the defence."""
    binary = dangerous()
    if binary is None:
        why = "the control needs a build that can switch a defence off: cargo build -p ringfence --features dangerous-test"
        return [Result("svcrack undefended", None, why)]
    with opened(folder, "fallen", binary, ["--dangerous-without-wall"]) as office:
        office.server.say("extension", "add", "100", "--name", "Rig 100", "--dangerous-secret", "100")
        options = ["-u", "100", "-r", "1-200", "-x", ATTACKER, f"udp://{SERVER[0]}:{SERVER[1]}"]
        text = tool("svcrack", *options, agent=PHONE, seconds=60)
        fell = re.search(r"\|\s*100\s*\|\s*100\s*\|", text) is not None
    return [Result("svcrack undefended", fell, f"without the wall, secret 100 of extension 100: {'found' if fell else 'not found'}")]


def forty(folder):
    """Forty phones behind one address, one of them with a stale secret, and a power cut."""
    results = []
    with opened(folder, "forty") as office:
        accounts = [office.server.extension(str(number), f"Rig {number}") for number in range(200, 240)]
        phones = [Datagrams(BEHIND_NAT, account.number, account.secret) for account in accounts]
        results.append(Result("office", register(phones), f"{sum(p.proved for p in phones)} of 40 phones behind one address registered"))
        stale, others = phones[0], phones[1:]
        stale.secret = "a password of last year"
        refused, refreshed, tries = 0, 0, 0
        # A phone asks again after seconds or minutes: these are the tries of a day.
        until = time.monotonic() + 25
        while time.monotonic() < until:
            register([stale], seconds=1.0)
            time.sleep(0.1)
            tries += 1
            if tries % 40 == 0:
                register(others)
                refreshed += len(others)
                refused += sum(not phone.proved for phone in others)
        results.append(Result("stale", tries >= 50 and refreshed and refused == 0, f"{tries} tries with a stale secret; of {refreshed} refreshes by its neighbours {refused} refused"))
        second = Datagrams(BEHIND_NAT, accounts[0].number, accounts[0].secret)
        results.append(Result("second phone", register([second]), f"of the same account at the same address: {second.statuses}"))
        for phone in others:
            phone.close()
            phone.restart(BEHIND_NAT)
        began = time.monotonic()
        back = register(others)
        odd = sorted({status for phone in others for status in phone.statuses} - {200, 401})
        results.append(Result("power cut", back and not odd, f"{sum(p.proved for p in others)} of 39 back {time.monotonic() - began:.1f} s later, other answers: {odd or 'none'}"))
    return results


ALL = {"scanners": scanners, "fallen": fallen, "forty": forty}
