"""Thousands of connections that hold on to the server while people telephone."""

import contextlib
import json
import statistics
import subprocess
import sys
import time

import bench_calls
import bench_servers
import home
from authority import Authority
from flood import Child
from load import Load, LoadError
from servers import Account

EACH = 1.25  # seconds from call to call: an extension may ring sixty phones a minute
SOURCES = ",".join(f"127.0.3.{n}" for n in range(1, 41))


def idle(folder, options, report):
    """Connections that are silent, say half a message or a byte a second, come back when closed; two phones go on calling."""
    authority = Authority(folder / "authority")
    certificate = authority.issue(bench_servers.NAME, bench_servers.Ringfence.address)
    plan = bench_servers.plan(1, 3, certificate, authority)
    room = max(4000, 2 * options.idlers)
    with contextlib.ExitStack() as stack:
        server = bench_servers.Ringfence(
            folder / "ringfence", plan, "tls", connections=room, per_source=room, media_ports="10000-19999"
        )
        bench_calls.start(stack, server, report)
        phones = stack.enter_context(Load())
        accounts = [Account(number, plan.secrets[number], bench_servers.NAME, server.tls_port) for number in plan.numbers()]
        caller, called = phones.register(accounts[:2], authority.certificate)
        called.answers = True
        quiet = _calls(phones, caller, called, options.idle_seconds // 4)
        before, cpu = server.memory(), server.cpu()
        python = [sys.executable, str(home.INTEROP / "bench_idlers.py"), server.address, str(server.tls_port), str(options.idlers)]
        child = Child([*python, str(options.idle_seconds), SOURCES])
        stack.callback(child.end)
        most, sockets, busy, joined, why = before.rss, 0, [], None, []
        until = time.monotonic() + options.idle_seconds
        while time.monotonic() < until:
            busy += _calls(phones, caller, called, 5, why)
            most, sockets = max(most, server.memory().rss), max(sockets, established(server.tls_port))
            if joined is None and time.monotonic() > until - options.idle_seconds / 2:
                joined = _joins(phones, accounts[2], authority)
        child.hear()
        count = json.loads(child.hear())
        used = server.cpu() - cpu
        good = [took for took in busy if took is not None]
        report.say(f"  idlers: {count['tried']} tries, {count['opened']} opened, {count['closed']} closed by the server, at most {count['most']} at once by their own count")
        report.say(
            f"  = {sockets} connections established at most; RSS {before.rss // 1024} -> at most {most // 1024} MiB; server {used:.1f} CPU s; calls {len(good)} of "
            f"{len(busy)} complete, set up in {ms(good)} (before: {ms(quiet)}); a phone that joined half-way: {joined}"
        )
        report.figure(scenario="idle", idlers=count, established=sockets, rss_before=before.rss, rss_most=most, cpu=used, calls=len(busy),
                      completed=len(good), set_up=good, set_up_quiet=quiet, joined=joined)
        if len(good) < len(busy):
            report.wrong(f"{len(busy) - len(good)} of {len(busy)} calls failed under idle connections: {sorted(set(why))[:5]}")


def _calls(phones, caller, called, seconds, why=None):
    """A call now and then; how long each took to its answer in seconds, None for one that failed, and `why`."""
    out, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            call = phones.run(caller.call(called.account.number), 20)
            out.append(time.monotonic() - began if call.status == 200 else None)
            if call.status == 200:
                phones.run(caller.hang_up(call), 20)
            elif why is not None:
                why.append(f"{call.status} {call.reason}")
        except (LoadError, TimeoutError) as error:
            out.append(None)
            if why is not None:
                why.append(f"{type(error).__name__}: {error}")
        time.sleep(max(0.0, began + EACH - time.monotonic()))
    return out


def _joins(phones, account, authority):
    """A phone from an address that is known signs in for the first time: seconds, or why not."""
    began = time.monotonic()
    try:
        phones.run(phones.client(account, authority.certificate).register(), 30)
        return f"{time.monotonic() - began:.2f} s"
    except (LoadError, OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"


def established(port):
    """Connections at this port of ours, in this namespace."""
    done = subprocess.run(["ss", "-Htn", "state", "established", f"( sport = :{port} )"], capture_output=True, text=True, timeout=20)
    return len(done.stdout.splitlines())


def ms(seconds):
    good = [took for took in seconds if took is not None]
    return f"median {statistics.median(good) * 1000:.0f} ms, at most {max(good) * 1000:.0f} ms" if good else "-"
