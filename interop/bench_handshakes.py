"""Full TLS handshakes for each millisecond of the server's CPU, one group at a time."""

import contextlib
import os
import re
import statistics
import subprocess
import time

import bench_calls
import bench_servers
import home
from authority import Authority

GROUPS = ("X25519", "X25519MLKEM768")
SOURCE = "127.0.0.1"  # what openssl calls from; trusted as one of the carrier's, as strangers are slowed down


def handshakes(folder, options, report):
    """Full handshakes, TLS 1.3, one after the other, ECDSA P-256 certificate: how many for a millisecond of CPU."""
    authority = Authority(folder / "authority")
    certificate = authority.issue(bench_servers.NAME, bench_servers.Ringfence.outside)
    plan = bench_servers.plan(1, 1, certificate, authority)
    plan.carriers.append(SOURCE)
    made = {"ringfence": bench_servers.Ringfence, "kamailio": bench_servers.Kamailio}
    with contextlib.ExitStack() as stack:
        names = [name for name in options.servers if name in made]
        started = [bench_calls.start(stack, made[name](folder / name, plan, "tls"), report) for name in names]
        for group in GROUPS:
            _group(folder, group, started, options, report)


def _group(folder, group, started, options, report):
    settings = folder / f"{group}.cnf"
    settings.write_text(f"openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\nGroups = {group}\n")
    able = []
    for server in started:
        spoken = negotiated(server, settings)
        report.say(f"  {server.name} speaks {spoken or 'nothing'} where only {group} is offered")
        if spoken == group:
            able.append(server)
        elif group == GROUPS[0]:
            report.wrong(f"{server.name} does not speak {group}")
    rates = {server.name: [] for server in able}
    for number in range(1, options.rounds + 1):
        for server in able:
            count, seconds, used = _timed(server, settings, options)
            if not used:
                report.wrong(f"{server.name}: {count} handshakes used no CPU that can be measured")
                continue
            rates[server.name].append(count / used / 1000)
            report.say(
                f"  round {number} {server.name}, {group}: {count} handshakes in {seconds:.1f} s, {used:.2f} CPU s = "
                f"{count / used / 1000:.2f} for a CPU ms"
            )
    for name, found in rates.items():
        if found:
            report.say(f"  = {name}, {group}: median {statistics.median(found):.2f} handshakes for a CPU ms (min {min(found):.2f}, max {max(found):.2f})")
            report.figure(scenario="handshakes", server=name, group=group, per_cpu_ms=found, median=statistics.median(found))


def _timed(server, settings, options):
    before, began = server.cpu(), time.monotonic()
    words = ["s_time", "-connect", f"{server.outside}:{server.tls_port}", "-new", "-tls1_3", "-time", str(options.handshake_seconds)]
    text = openssl(words, settings, options.handshake_seconds + 30)
    seconds = time.monotonic() - began
    time.sleep(1)
    used = server.cpu() - before
    found = re.search(r"(\d+) connections in (\d+) real seconds", text)
    if not found:
        raise RuntimeError(f"openssl s_time against {server.name}: {text[-300:]}")
    return int(found.group(1)), seconds, used


def negotiated(server, settings):
    """The group of a handshake, or nothing where none came about."""
    text = openssl(["s_client", "-connect", f"{server.outside}:{server.tls_port}", "-tls1_3", "-brief"], settings, 10)
    found = re.search(r"(?:Negotiated TLS1\.3 group|Peer Temp Key|Server Temp Key): ([\w-]+)", text)
    return found.group(1) if found else ""


def openssl(words, settings, seconds):
    command = [str(part) for part in home.sid_command("usr/bin/openssl")] + words
    environment = dict(os.environ, OPENSSL_CONF=str(settings))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, env=environment)
    return done.stdout + done.stderr
