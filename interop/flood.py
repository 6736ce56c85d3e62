"""Forged packets by the ten thousand while an office goes on telephoning: with the kernel's table and without.

The server runs in this namespace, phones and flood in another, a veth pair between them; neither leads anywhere.
All three share the machine's cores, which the figures say: how many packets really came, and the server's CPU.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import home
import servers
from checks import Result

SERVER, PORT, FAR = "10.99.0.1", 5060, "10.99.0.2"
OFFICES = [f"10.99.0.{last}" for last in (10, 11, 12, 13)]
PHONES = 160  # a phone makes 60 internal calls a minute at most, 20 at once
CALLS_A_SECOND = 50
RATES = (20_000, 50_000)
SECONDS = 20
CONFIG = f"""[status_page]
bind = false
[firewall]
kernel = "KERNEL"
[[realm]]
advertise = "{SERVER}"
transports.udp = {PORT}
"""


@contextlib.contextmanager
def street():
    """A namespace of its own for phones and flood, with a wire to this one: the process that holds it."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"], stdin=subprocess.DEVNULL)
    try:
        inner = f"/proc/{holder.pid}/ns/net"
        own = os.readlink("/proc/self/ns/net")
        until = time.monotonic() + 5
        while os.readlink(inner) == own and time.monotonic() < until:
            time.sleep(0.01)
        far = ["nsenter", f"--net={inner}"]
        line(["ip", "link", "add", "flood0", "type", "veth", "peer", "name", "flood1", "netns", str(holder.pid)])
        line(["ip", "addr", "add", f"{SERVER}/24", "dev", "flood0"])
        line(["ip", "link", "set", "flood0", "up"])
        for address in [FAR, *OFFICES]:
            line([*far, "ip", "addr", "add", f"{address}/24", "dev", "flood1"])
        line([*far, "ip", "link", "set", "flood1", "up"])
        line([*far, "ip", "link", "set", "lo", "up"])
        # What is answered to forged addresses goes back over the wire, and is dropped there.
        line(["ip", "route", "replace", "default", "via", FAR, "dev", "flood0"])
        yield far, json.loads(line(["ip", "-json", "link", "show", "flood0"]))[0]["address"]
    finally:
        subprocess.run(["ip", "link", "del", "flood0"], capture_output=True)
        holder.terminate()
        holder.wait()


def line(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Child:
    """A program that is asked and answers by lines."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hear(self):
        heard = self.process.stdout.readline()
        if not heard:
            raise servers.ServerError(f"{self.process.args[-3:]} ended with {self.process.wait()}")
        return heard.strip()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def cpu(pid):
    """Seconds of a core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood(folder):
    """Calls complete under 20,000 and 50,000 forged packets a second: all of them with the kernel's table."""
    results = []
    with street() as (far, mac):
        for kernel in ("auto", "off"):
            results += under_fire(folder / f"flood-{kernel}", kernel, far, mac)
    return results


def under_fire(folder, kernel, far, mac):
    folder.mkdir(mode=0o700, parents=True)
    config = folder / "ringfence.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.replace("KERNEL", kernel))
    server = servers.Ringfence(folder)
    children = []
    try:
        server.start()
        accounts = []
        for n in range(PHONES):
            got = server.command("extension", "add", str(201 + n), "--name", f"Phone {n}", "--dangerous-plain-rtp")
            accounts.append({"number": got["number"], "secret": got["secret"], "host": OFFICES[n % len(OFFICES)]})
        python = [*far, sys.executable]
        phones = Child([*python, str(home.INTEROP / "flood_phones.py"), SERVER, str(PORT)])
        children.append(phones)
        phones.say(json.dumps(accounts))
        phones.hear()
        state = server.command("status")["kernel_table"]
        results = [Result("flood", (state == "in use") == (kernel == "auto"), f"kernel table: {state}")]
        for rate in RATES:
            packets = Child([*python, str(home.INTEROP / "flood_packets.py"), "flood1", mac, SERVER, str(PORT), str(rate), str(SECONDS)])
            children.append(packets)
            packets.hear()
            before = cpu(server.process.pid)
            packets.say("go")
            phones.say(json.dumps({"calls_a_second": CALLS_A_SECOND, "seconds": SECONDS}))
            calls, sent = json.loads(phones.hear()), json.loads(packets.hear())
            used = cpu(server.process.pid) - before
            results.append(told(kernel, rate, calls, sent, used))
        passed = server.command("status")["packets"]
        dropped = ", ".join(f"{name.removeprefix('dropped_')} {n}" for name, n in passed.items() if name.startswith("dropped") and n)
        results.append(Result("flood", True, f"strangers let in {passed['strangers']}, trusted {passed['trusted']}; dropped: {dropped}"))
        return results
    finally:
        for child in children:
            child.end()
        server.stop()


def told(kernel, rate, calls, sent, used):
    all_of_them = calls["completed"] == calls["attempted"]
    with_table = kernel == "auto"
    words = f"{'with' if with_table else 'without'} the kernel's table, {sent['rate']:,.0f} of {rate:,} packets/s: "
    words += f"{calls['completed']}/{calls['attempted']} calls completed, set up in {calls['setup_median_ms']} ms "
    words += f"(99 %: {calls['setup_99_ms']} ms), server {used:.1f} CPU s in {SECONDS} s"
    if not all_of_them:
        words += f"; refused {calls['refused'][:5]}, lost {calls['lost'][:3]}"
    # Without the table the figure is stated, and half is what tells a slow server from a dead one.
    enough = all_of_them if with_table else calls["completed"] * 2 >= calls["attempted"]
    return Result("flood", enough and sent["rate"] > rate * 0.8, words)


ALL = {"flood": flood}
