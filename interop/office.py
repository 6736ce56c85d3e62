"""One Ringfence with its carriers and phones, fresh for one check: nothing that one check spends, locks or breaks
reaches the next. Starting all of it takes about a second."""

import contextlib
import itertools
import secrets
import shutil
import time
from pathlib import Path

import audio
import carrier
import home
import load
from authority import Authority
from phones import KINDS
from phones.base import Config
from servers import Account, Ringfence

VOICE = "2025550100"  # speaks, and records what it hears (see `carrier.NUMBERS`)
EARLY = "2025550140"  # speaks for three seconds before it answers
LONG = "2025550105"  # speaks until somebody hangs up
OURS = "+12025550123"  # the number that the carrier gave us
DECK = ["Prefix", "Destination", "Rate per minute", "Connect fee", "First", "Increment"]


class Office:
    """Use with `with`. What was started is ended in reverse order."""

    _voices = itertools.count(5000, 2)

    def __init__(self, folder, name, start=True):
        self.folder = Path(folder) / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.server = Ringfence(self.folder / "server", home_country="US")
        self.authority = Authority(self.folder / "authority")
        self._begin = start
        self._numbers = itertools.count(201)
        self._ports = itertools.count(7000, 100)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._stack.callback(self.server.stop)
        try:
            if self._begin:
                self.server.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *problem):
        return self._stack.__exit__(*problem)

    # Carriers and trunks.

    def carrier(self, name="carrier.test", accounts=(), known_by_address=False, trusted="server"):
        made = carrier.Carrier(
            self.folder / name,
            home.NAMES[name],
            name,
            self.authority,
            accounts,
            peer="127.0.0.1" if known_by_address else None,
            peer_ports=self.server.ports if known_by_address else None,
            voice=next(self._voices),
            trusted=self.server.ca if trusted == "server" else trusted,
        )
        self._stack.callback(made.stop)  # first: what half started is ended too
        made.start()
        return made

    def trunk(self, name, at, transport="tls", account=None, srtp=True, channels=None, caller_id=OURS, more=()):
        """A trunk to this carrier: by registration with an account, by address without."""
        port = carrier.TLS_PORT if transport == "tls" else carrier.PLAIN_PORT
        words = ["trunk", "add", name, "--server", f"{at.name}:{port}", "--transport", transport]
        if account is None:
            words += ["--address", at.address]
        else:
            secret = self.folder / f"{name}.secret"
            secret.write_text(account.secret + "\n")
            secret.chmod(0o600)
            words += ["--register", "--user", account.user, "--secret-file", secret]
            words += ["--allow-md5"] if account.algorithm == "MD5" else []
        words += ["--ca", self.authority.certificate] if transport == "tls" else []
        words += [] if srtp else ["--dangerous-plain-rtp"]
        words += ["--channels", channels] if channels else []
        words += ["--caller-id", caller_id] if caller_id else []
        self.server.say(*words, *more)
        return self.server.wait_trunk(name)

    def line(self, user="line", srtp=True, algorithm="SHA-256"):
        return carrier.Account(user, secrets.token_urlsafe(12), srtp, algorithm)

    def rates(self, rows):
        """Rows of (prefix, name, price a minute), billed by the second from the first one."""
        path = self.folder / "rates.csv"
        lines = [",".join(DECK)] + [f"{prefix},{name},{price},0,1,1" for prefix, name, price in rows]
        path.write_text("\n".join(lines) + "\n")
        self.server.say("rates", "import", path, "--yes")

    # Records.

    def records(self, count, wait=3.0):
        """The newest so many, newest first; a record may wait for the last statistics of the media."""
        until = time.monotonic() + wait
        while True:
            found = self.server.records(1000)
            if len(found) >= count or time.monotonic() > until:
                return found[:count]
            time.sleep(0.1)

    def record_of(self, dialled, wait=2.0):
        """The newest record, which must be of this number."""
        until = time.monotonic() + wait
        while True:
            found = self.server.records(1)
            if found and found[0]["to"] == dialled:
                return found[0]
            if time.monotonic() > until:
                return None
            time.sleep(0.05)

    # Phones.

    def extension(self, number=None):
        number = number or str(next(self._numbers))
        return self.server.extension(number, f"Rig {number}")

    def load(self):
        return self._stack.enter_context(load.Load())

    def phone_at(self, at, kind, line, transport):
        """A softphone that registers at a carrier directly."""
        account = Account(line.user, line.secret, at.name, carrier.TLS_PORT if transport == "tls" else carrier.PLAIN_PORT)
        return self.phone(kind, account, ca=self.authority.certificate, transport=transport, srtp=line.srtp)

    def phone(self, kind, account, **settings):
        """A real softphone, started and registered."""
        settings.setdefault("ca", self.server.ca)
        folder = self.folder / f"{kind}-{account.number}"
        voice = self.folder / f"voice-{account.number}.wav"
        audio.write(voice, audio.voice(next(self._voices), 30))
        phone = KINDS[kind](
            Config(
                folder=folder,
                number=account.number,
                secret=account.secret,
                domain=account.domain,
                port=account.port,
                voice=voice,
                local=next(self._ports),
                **settings,
            )
        )
        self._stack.callback(phone.stop)
        phone.start()
        phone.wait_registered()
        return phone
