"""CPU for each 10,000 registrations with digest, over UDP; and whether they survive a restart."""

import contextlib
import secrets
import time

import bench_calls
import bench_load
import bench_servers
from bench_calls import Rounds


def register(folder, options, report):
    """REGISTER, 401, REGISTER with digest, 200, over UDP; the same Contact each time."""
    plan = bench_servers.plan(options.addresses, options.accounts)
    plan.secrets.update({number: secrets.token_urlsafe(15) for number in plan.numbers()})
    with contextlib.ExitStack() as stack:
        started = []
        if "ringfence" in options.servers:  # it makes the passwords, which the other is given
            started.append(bench_calls.start(stack, bench_servers.Ringfence(folder / "ringfence", plan), report))
        if "kamailio" in options.servers:
            other = bench_servers.Kamailio(folder / "kamailio", plan, challenge=True)
            started.append(bench_calls.start(stack, other, report))
        started.sort(key=lambda server: options.servers.index(server.name))
        report.say(f"  {len(plan.numbers())} accounts at {len(plan.phones)} addresses, SHA-256, again and again at one Contact each")
        for server in started:
            began = time.monotonic()
            bench_load.register_all(server, plan)
            report.say(f"  {server.name}: first registration of all took {time.monotonic() - began:.1f} s")
        rounds = [Rounds(server, options.rate, options.calls) for server in started]
        run = lambda one, place: bench_load.registrations(place, one.server, plan, one.rate, one.count)  # noqa: E731
        bench_calls.play(folder, rounds, options, report, run, "register", control=False)
        for server in started:
            if server.name == "ringfence":
                restarted(server, plan, report)
    return rounds


def restarted(server, plan, report):
    """What a restart leaves: phones that can be called at once, and how long until all have come back."""
    before = bound(server)
    began = time.monotonic()
    server.restart()
    took = time.monotonic() - began
    after = bound(server)
    began = time.monotonic()
    bench_load.register_all(server, plan)
    again = time.monotonic() - began
    words = f"{before} phones registered before a restart, {after} after it ({took:.1f} s); all signed in again in {again:.1f} s"
    report.say(f"  control: ringfence: {words}")
    report.figure(scenario="register", restart={"before": before, "after": after, "seconds": took, "back_in": again})
    if after != before or before != len(plan.numbers()):
        report.wrong(f"of {len(plan.numbers())} accounts: {words}")


def bound(server):
    """How many extensions have a phone registered now."""
    return len({device["extension"] for device in server.server.devices() if device["registered"]})
