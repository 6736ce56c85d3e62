"""The phone system under test, as the rig sees it: start it, add a phone, ask it, end it."""

import json
import signal
import subprocess
import time
from dataclasses import dataclass
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


class Ringfence:
    """`ringfence` from this tree, with a data folder of its own and no configuration file."""

    def __init__(self, folder, binary=None, name="pbx.test", port=5061):
        self.folder = Path(folder)
        self.binary = Path(binary or home.PROJECT / "target/release/ringfence")
        self.name = name
        self.port = port
        self.ca = self.folder / "ca.pem"
        self.log = Path(str(self.folder) + ".log")
        self.process = None
        if not self.binary.exists():
            raise ServerError(f"{self.binary} is missing; build it with: cargo build --release -p ringfence")

    def start(self):
        """Returns when it answers administrators, which it does last."""
        with open(self.log, "ab") as log:
            command = [self.binary, "--data", self.folder, "up", "--name", self.name]
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
        line = [str(self.binary), "--data", str(self.folder), *words, "--json"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise ServerError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def extension(self, number, name):
        got = self.command("extension", "add", number, "--name", name)
        self.ca = Path(got["ca_file"])
        return Account(got["number"], got["secret"], got["domain"], got["port"])

    def records(self):
        """Call detail records, newest first."""
        return self.command("calls")["records"]

    def devices(self):
        return self.command("devices")

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
