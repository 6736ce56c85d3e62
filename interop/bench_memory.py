"""Memory of a server for each phone that is registered and each call that is up."""

import contextlib
import json
import resource
import sys
import threading
import time

import bench_calls
import bench_load
import bench_servers
import home
from authority import Authority
from flood import Child

FILES_MAX = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def memory(folder, options, report):
    """KiB for each phone over UDP, each idle phone over TLS, each call without packets: a minute after set-up less before."""
    authority = Authority(folder / "authority")
    certificate = authority.issue(bench_servers.NAME, bench_servers.Ringfence.address)
    for name in options.servers:
        if name in ("ringfence", "kamailio"):
            for how, count in (("udp", options.phones), ("tls", options.tls_phones)):
                _phones(folder / f"{name}-{how}", name, how, count, certificate, authority, options, report)
        _calls(folder / f"{name}-calls", name, options, report)


def made(name, folder, plan, transport, connections=4000):
    if name in ("ringfence", "ringfence-null"):
        words = [bench_servers.WITHOUT_MEDIA] if name == "ringfence-null" else []
        return bench_servers.Ringfence(folder, plan, transport, connections=connections, per_source=connections, words=words)
    if name == "kamailio":
        return bench_servers.Kamailio(folder, plan, transport)
    return bench_servers.Asterisk(folder, plan)


def _phones(folder, name, how, count, certificate, authority, options, report):
    """Accounts are made first, and the server begins anew with them, so that what they take is told apart."""
    plan = bench_servers.plan(32, count, certificate, authority)
    one = bench_servers.plan(32, 1, certificate, authority)
    with contextlib.ExitStack() as stack:
        server = made(name, folder, one, "tls", options.tls_phones + 2000)
        bench_calls.start(stack, server, report)
        if name == "ringfence":
            _accounts(server, plan, one, report)
        server.restart()
        time.sleep(3)
        _registered(stack, server, plan, _over_udp if how == "udp" else _over_tls, options, report)


def _accounts(server, plan, one, report):
    time.sleep(2)
    bare, began = server.memory(), time.monotonic()
    plan.secrets.update(one.secrets)
    server.plan = plan
    server.people(plan.numbers()[1:])
    took = time.monotonic() - began
    time.sleep(5)
    kib = (server.memory().pss - bare.pss) / max(1, len(plan.secrets))
    report.say(f"  = {server.name}: {len(plan.secrets)} accounts made in {took:.0f} s, {kib:.2f} KiB each (Pss)")
    report.figure(scenario="memory", server=server.name, how="accounts", count=len(plan.secrets), seconds=took, pss_kib=kib)


def _registered(stack, server, plan, register, options, report):
    count, name = len(plan.numbers()), server.name
    before, began = server.memory(), time.monotonic()
    registered, how = register(stack, server, plan)
    took = time.monotonic() - began
    time.sleep(options.stay)
    after = server.memory()
    kib = (after.rss - before.rss) / max(1, registered), (after.pss - before.pss) / max(1, registered)
    report.say(
        f"  = {name}: {registered} of {count} phones, {how}, signed in within {took:.0f} s: Pss {before.pss // 1024} -> "
        f"{after.pss // 1024} MiB, {kib[1]:.2f} KiB a phone (RSS, which counts what processes share once for each: {kib[0]:.2f})"
    )
    report.figure(scenario="memory", server=name, how=how, asked=count, registered=registered, before=vars(before), after=vars(after),
                  rss_kib=kib[0], pss_kib=kib[1], seconds=took)
    if registered < count:
        report.wrong(f"{name}: {count - registered} of {count} phones did not register, {how}")


def _over_udp(stack, server, plan):
    return bench_load.register_all(server, plan), "UDP"


def _over_tls(stack, server, plan):
    """As many of them as the files of this process allow."""
    python = [sys.executable, str(home.INTEROP / "bench_phones.py"), server.address, str(server.tls_port), bench_servers.NAME]
    child = Child([*python, str(plan.authority.certificate)])
    stack.callback(child.end)
    child.say(json.dumps([[number, plan.secrets.get(number, ""), plan.phone_of(number)] for number in plan.numbers()]))
    got = json.loads(child.hear())
    if got["why"]:
        print(f"  phones over TLS: {got['why']}", file=sys.stderr)
    return got["registered"], "idle on a TLS connection each"


def _calls(folder, name, options, report):
    """Calls that stay up. Where each has four sockets for audio, as many as the files of a process allow."""
    sockets = name in ("ringfence", "asterisk")
    count, rate = min(options.calls_up, FILES_MAX // 4 - 500) if sockets else options.calls_up, options.calls_up_rate
    plan = bench_servers.plan(options.addresses, options.extensions)
    with contextlib.ExitStack() as stack:
        server = made(name, folder / "server", plan, "udp")
        bench_calls.start(stack, server, report)
        bench_calls.present(server, plan)
        time.sleep(2)
        before = server.memory()
        lasts = count / rate + options.stay + 15
        runs = []
        load = threading.Thread(
            target=lambda: runs.append(bench_load.calls(folder / "load", server, plan, rate, count, pause_ms=int(lasts * 1000), lasts=lasts))
        )
        load.start()
        time.sleep(count / rate + options.stay)
        after = server.memory()
        load.join(lasts + 90)
        if not runs:
            report.wrong(f"{name}: sipp did not end its calls")
            return
        up = runs[0].caller.succeeded
        kib = (after.rss - before.rss) / max(1, up), (after.pss - before.pss) / max(1, up)
        report.say(f"  = {name}: {up} of {count} calls up: Pss {before.pss // 1024} -> {after.pss // 1024} MiB, {kib[1]:.2f} KiB a call (RSS {kib[0]:.2f}); {runs[0].words()}")
        report.figure(scenario="memory", server=name, how="calls", asked=count, up=up, before=vars(before), after=vars(after), rss_kib=kib[0], pss_kib=kib[1])
        if up < count:
            report.wrong(f"{name}: {count - up} of {count} calls failed")
