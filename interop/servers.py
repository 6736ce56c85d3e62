"""The phone system under test, as the rig sees it: start it, add a phone, ask it, end it."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import home


@dataclass
class Account:
    """What is typed into a phone."""

    number: str
    secret: str
    domain: str
    port: int


class ServerError(Exception):
    pass


def millionths(amount):
    """Money as the command line prints it (`12.5`), as an integer."""
    return int(Decimal(amount).scaleb(6).to_integral_exact())


def charged(record):
    """Seconds and millionths that a call's legs outside were charged."""
    return sum(toll["seconds"] for toll in record["tolls"]), sum(millionths(toll["cost"]) for toll in record["tolls"])


def built():
    """The program that is tested."""
    return Path(os.environ.get("RINGFENCE_BINARY") or home.PROJECT / "target/release/ringfence")


class Ringfence:
    """`ringfence` from this tree, with a data folder of its own and no configuration file."""

    ports = {"tls": 5061, "tcp": 5062, "udp": 5062}  # where carriers that know our address call it

    def __init__(self, folder, binary=None, name="pbx.test", port=5061, home_country=None):
        self.folder = Path(folder)
        self.binary = Path(binary or built())
        self.name = name
        self.port = port
        self.home_country = home_country
        self.words = []  # further ones for `up`
        self.ca = self.folder / "ca.pem"
        self.log = Path(str(self.folder) + ".log")
        self.process = None
        if not self.binary.exists():
            raise ServerError(f"{self.binary} is missing; build it with: cargo build --release -p ringfence (or name another in RINGFENCE_BINARY)")

    def start(self):
        """Returns when it answers administrators, which it does last."""
        with open(self.log, "ab") as log:
            command = [self.binary, "--data", self.folder, "up", "--name", self.name]
            command += ["--home", self.home_country] if self.home_country else []
            command += self.words
            self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise ServerError(f"ringfence ended with {self.process.returncode}; see {self.log}")
            status = [str(self.binary), "--data", str(self.folder), "status"]
            if subprocess.run(status, stdin=subprocess.DEVNULL, capture_output=True, timeout=10).returncode == 0:
                return
            time.sleep(0.05)
        raise ServerError(f"ringfence does not answer on {self.folder}; see {self.log}")

    def command(self, *words):
        """Runs a command of the CLI against the running server; returns its JSON."""
        return json.loads(self.say(*words, "--json"))

    def say(self, *words):
        """Runs a command of the CLI; returns what it prints."""
        line = [str(self.binary), "--data", str(self.folder), *map(str, words)]
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40)
        if done.returncode != 0:
            raise ServerError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def extension(self, number, name):
        got = self.command("extension", "add", number, "--name", name)
        self.ca = Path(got["ca_file"])
        return Account(got["number"], got["secret"], got["domain"], got["port"])

    def records(self, limit=50):
        """Call detail records, newest first."""
        return self.command("calls", "--limit", str(limit))["records"]

    def devices(self):
        return self.command("devices")

    # Money.

    def trunk(self, name):
        return next(trunk for trunk in self.command("trunk", "list") if trunk["name"] == name)

    def wait_trunk(self, name, state="up", timeout=10):
        """The trunk as listed, once it is in this state."""
        until = time.monotonic() + timeout
        while (found := self.trunk(name))["state"] != state:
            if time.monotonic() > until:
                raise ServerError(f"trunk {name} is not {state} within {timeout} s: {found['state']}, {found['why']}; see {self.log}")
            time.sleep(0.1)
        return found

    def explain(self, dialled, extension):
        return self.command("policy", "explain", dialled, "--from", extension)

    def budget(self, extension, hard):
        """What one extension may spend today."""
        self.say("budget", "set", "--of", "extension", extension, "--per", "day", "--hard", hard, "--yes")

    def role(self, *changes):
        """Changes what everybody may do: the role that each extension has at first."""
        self.say("role", "set", "staff", *changes, "--yes")

    def spent(self):
        """Extension number -> what it has spent today and what is set aside, in millionths."""
        rows = [row for row in self.command("budget", "show") if row["per"] == "day" and row["of"].startswith("extension ")]
        return {row["of"].removeprefix("extension "): millionths(row["spent"]) for row in rows}

    def calls_up(self):
        return self.command("calls", "--up")["up"]

    def kill(self):
        """As a crash would: kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
