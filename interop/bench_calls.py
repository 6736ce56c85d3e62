"""CPU for each 10,000 calls: the same load on each server in turn, round after round."""

import contextlib
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import bench_load
import bench_measure
import bench_servers
from authority import Authority

CLEAN = 0.001  # the share of calls that may fail in a round that counts


@dataclass
class Report:
    """Figures for --json, and lines as they come."""

    out: object
    figures: list = field(default_factory=list)
    broken: list = field(default_factory=list)  # what did not hold

    def say(self, text):
        print(text, file=self.out, flush=True)

    def figure(self, **values):
        self.figures.append(values)

    def wrong(self, text):
        self.broken.append(text)
        self.say(f"  !! {text}")


@dataclass
class Rounds:
    """Rounds of one server: CPU seconds for each 10,000 calls, the clean ones only."""

    server: object
    rate: int
    count: int
    costs: list = field(default_factory=list)
    dirty: int = 0
    last: float = field(default_factory=time.monotonic)  # when its set-up, or its last round, ended

    def words(self):
        if not self.costs:
            return f"{self.server.name}: no clean round of {self.dirty} at {self.rate}/s"
        low, high = min(self.costs), max(self.costs)
        text = f"{self.server.name} at {self.rate}/s: median {statistics.median(self.costs):.2f} CPU s for 10,000"
        text += f" (min {low:.2f}, max {high:.2f}, {len(self.costs)} clean round{'s' * (len(self.costs) != 1)}"
        return text + (f", {self.dirty} not clean)" if self.dirty else ")")


def udp(folder, options, report):
    """Carrier by UDP, phone by UDP."""
    return _calls(folder, options, report, "udp")


def tls(folder, options, report):
    """Carrier by TLS over few connections, phone by UDP."""
    return _calls(folder, options, report, "tls")


def _calls(folder, options, report, transport):
    certificate = authority = None
    if transport == "tls":
        authority = Authority(folder / "authority")
        certificate = authority.issue(bench_servers.NAME, bench_servers.Ringfence.outside)
    plan = bench_servers.plan(options.addresses, options.extensions, certificate, authority)
    made = {
        "ringfence": lambda: bench_servers.Ringfence(folder / "ringfence", plan, transport),
        "ringfence-null": lambda: bench_servers.WithoutMedia(started[names.index("ringfence")]),
        "kamailio": lambda: bench_servers.Kamailio(folder / "kamailio", plan, transport),
        "asterisk": lambda: bench_servers.Asterisk(folder / "asterisk", plan),
    }
    names = [name for name in options.servers if transport == "udp" or name != "asterisk"]
    with contextlib.ExitStack() as stack:
        started = []
        for name in names:
            started.append(start(stack, made[name](), report))
        rounds = []
        for server in started:
            rate = options.rate
            if server.name == "asterisk" or options.search:
                rate = best_rate(folder, server, plan, options, report, transport)
            # A slower server gets rounds as long in time, not as many calls.
            rounds.append(Rounds(server, rate, max(min(100, options.calls), round(options.calls * min(1, rate / options.rate)))) if rate else None)
        rounds = [one for one in rounds if one]
        run = lambda one, place: bench_load.calls(place, one.server, plan, one.rate, one.count, transport, options.pause)  # noqa: E731
        play(folder, rounds, options, report, run, transport, prepare=lambda one: present(one.server, plan))
    return rounds


def present(server, plan):
    """It is this server's turn, and its phones are registered: a registration over UDP may be granted for five minutes only."""
    server.take_turn()
    if server.name != "asterisk":  # there they stand in the configuration
        bench_load.register_all(server, plan)


def start(stack, server, report):
    stack.callback(server.stop)
    server.start()
    report.say(f"  {server.name}: {server.what_is_on()}")
    return server


def play(folder, rounds, options, report, run, scenario, control=True, prepare=None):
    """All rounds, each server in turn; then the medians and their ratios. `prepare`: before each, not measured."""
    for number in range(1, options.rounds + 1):
        for one in rounds:
            rest(one, options, report)
            place = Path(folder) / f"round-{number}-{one.server.name}"
            one_round(one, number, lambda: run(one, place), options, report, scenario, control, prepare)
    for one in rounds:
        report.say(f"  = {one.words()}")
        report.figure(
            scenario=scenario, server=one.server.name, rate=one.rate, count=one.count, costs=one.costs, dirty=one.dirty,
            median=statistics.median(one.costs) if one.costs else None, on=one.server.what_is_on(),
        )
    clean = [one for one in rounds if one.costs]
    for other in clean[1:]:
        ratio = statistics.median(clean[0].costs) / statistics.median(other.costs)
        least = min(statistics.median(one.costs) * one.count / 10_000 for one in (clean[0], other))
        doubt = f" (of {least:.2f} CPU s: too little to compare, ask for more --calls)" if least < 0.5 else ""
        report.say(f"  = {clean[0].server.name} / {other.server.name}: {ratio:.2f}{doubt}")


def rest(one, options, report):
    """Until the server has done with its set-up (incidents of new accounts), and forgotten its last round (32 s)."""
    left = one.last + options.rest - time.monotonic()
    if left > 5:
        report.say(f"  {one.server.name} rests for {left:.0f} s")
    time.sleep(max(0.0, left))


def one_round(one, number, run, options, report, scenario, control, prepare):
    if prepare:
        prepare(one)
    before, threads = one.server.cpu(), bench_measure.by_thread(one.server.pid)
    got = run()
    one.last = time.monotonic()
    time.sleep(options.settle)
    if not one.server.alive():
        report.wrong(f"{one.server.name} ended in round {number}")
        one.dirty += 1
        return
    used = one.server.cpu() - before
    done = max(1, got.caller.succeeded)
    cost = used / done * 10_000
    split = {name: spent - threads.get(name, 0) for name, spent in bench_measure.by_thread(one.server.pid).items()}
    split = {name: round(spent / done * 10_000, 2) for name, spent in sorted(split.items(), key=lambda it: -it[1]) if spent > used / 100}
    clean = got.is_clean(CLEAN)
    if clean:
        one.costs.append(cost)
    else:
        one.dirty += 1
    words = f"  round {number} {one.server.name}: {used:.2f} CPU s = {cost:.2f} for 10,000; {got.words()}"
    report.say(words + ("" if clean else "  NOT COUNTED"))
    if len(split) > 1:
        report.say(f"      by thread, for 10,000: {', '.join(f'{name} {spent}' for name, spent in split.items())}")
    report.figure(scenario=scenario, server=one.server.name, round=number, cpu=used, done=done, failed=got.failed, why=got.caller.why,
                  said=got.caller.said, set_up_ms=got.caller.set_up_ms, clean=clean, rate=one.rate, count=one.count, threads=split)
    if control:
        said, holds = one.server.control(got.caller.succeeded)
        if said:
            report.say(f"      control: {said}")
        if not holds and clean:  # a call that was refused may have a record, and may not
            report.wrong(f"{one.server.name}, round {number}: {said}")


def best_rate(folder, server, plan, options, report, transport):
    """The highest step that was clean and carried at its rate, searched upwards until one is not; 0 when none is."""
    best = 0
    report.say(f"  {server.name}: its best clean rate is searched in at most {len(options.steps)} steps of {options.step_seconds} s")
    for rate in options.steps:
        present(server, plan)
        got = bench_load.calls(folder / f"search-{server.name}-{rate}", server, plan, rate, rate * options.step_seconds, transport, options.pause)
        clean = got.is_clean(CLEAN) and got.kept_up()
        report.say(f"  search {server.name} at {rate}/s: {'clean' if clean else 'NOT clean'}: {got.words()}")
        report.figure(scenario=transport, server=server.name, search=rate, clean=clean, failed=got.failed, count=got.calls)
        if not server.alive():
            report.wrong(f"{server.name} ended at {rate}/s")
            return best
        if not clean:
            break
        best = rate
    time.sleep(options.rest)  # what was too much for it is over by then
    if server.name == "ringfence":
        server.recorded = server.records()
    elif server.name == "asterisk" and best:
        server.control(0)
    return best
