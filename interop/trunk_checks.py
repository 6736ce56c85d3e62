"""Trunks and money against a real carrier, each check a function from a folder to results. See `run`.

Each has an office of its own (`office.py`) and its control: the same measure where the defence is off, or where the thing is
broken, which must then come out the other way.
"""

import asyncio
import contextlib
import statistics
import time

import audio
from checks import LIMIT, Result
from load import LoadError, together
from servers import ServerError, charged
from office import EARLY, LONG, OURS, VOICE, Office

TALK = 4.0  # seconds of a call whose voices are compared: some ten windows
INCREMENT = 1.0  # seconds, of every rate here
NATIONAL = ("1", "United States", "0.12")


# The carrier itself.


def itself(folder):
    """The rig alone: a softphone that registers at the carrier directly is heard and hears, so what a check finds
    missing later was not missing at the carrier. No Ringfence takes part."""
    results = []
    for kind, transport in (("pjsua2", "udp"), ("baresip", "udp"), ("pjsua2", "tls")):
        what = f"{kind}, {transport}{' + SRTP' if transport == 'tls' else ''}"
        with Office(folder, f"itself-{kind}-{transport}", start=False) as office:
            line = office.line(srtp=transport == "tls", algorithm="MD5" if kind == "baresip" else "SHA-256")
            at = office.carrier(accounts=[line], trusted=None)
            phone = office.phone_at(at, kind, line, transport)
            out, back = outward(phone, at, VOICE)
            into, reply = inward(phone, at, line.user)
            worst = min(out, back, into, reply)
            billed = at.bill(2, 2)
            ok = worst > LIMIT and len(billed) == 2 and all(abs(b.seconds - TALK) < 1 for b in billed)
            detail = f"{what}: {worst:.4f} at the worst of four, billed {', '.join(f'{b.seconds:.3f} s' for b in billed)}"
            results.append(Result("carrier alone", ok, detail))
    return results


def outward(phone, at, number, seconds=TALK):
    """The phone calls the carrier and hangs up: correlations (at the carrier, at the phone)."""
    phone.forget()
    here = phone.mark()
    phone.call(number)
    event = phone.wait(("up", "ended"), 12, here)
    if event[1] == "ended":
        raise ServerError(f"call to {number} ended before it was up: {event[2]}; see {phone.log}")
    time.sleep(seconds)
    return _end(phone, at, at.recording())


def inward(phone, at, where, seconds=TALK):
    """The carrier calls the phone, which hangs up: the same pair."""
    phone.forget()
    here = phone.mark()
    unique = at.call(where)
    phone.wait("up", 8, here)
    time.sleep(seconds)
    return _end(phone, at, at.recording(unique))


def _end(phone, at, recording):
    here = phone.mark()
    phone.hangup()
    phone.wait("ended", 5, here)
    until = time.monotonic() + 3
    while at.channels() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)  # the recorders close their files
    voice = audio.read(phone.config.voice)
    there = audio.match(voice, audio.read(recording)).correlation if recording.exists() else 0.0
    back = audio.match(audio.read(at.voice), audio.read(phone.recording)).correlation if phone.recording.exists() else 0.0
    return there, back


# Calls both ways.

KINDS_OF_TRUNK = [
    # phone, access, transport, SRTP, digest, weaknesses that must be named
    ("pjsua2", "register", "udp", False, "MD5", ["signalling", "audio", "MD5"]),
    ("pjsua2", "address", "udp", False, None, ["signalling", "audio"]),
    ("baresip", "register", "tcp", False, "SHA-256", ["signalling", "audio"]),
    ("linphone", "register", "tls", True, "SHA-256", []),
    ("pjsua2", "address", "tls", True, None, []),
]


def calls(folder):
    """A softphone calls out and is called in over each kind of trunk; both hear each other; the record says what each
    leg really was, and names what was weak."""
    results = []
    for kind, access, transport, srtp, digest, weak in KINDS_OF_TRUNK:
        what = f"{access} {transport}{' + SRTP' if srtp else ''}{' ' + digest if digest else ''}, {kind}"
        try:
            with Office(folder, f"calls-{access}-{transport}") as office:
                results += _both_ways(office, what, kind, access, transport, srtp, digest, weak)
        except Exception as error:
            results.append(Result("trunk call", False, f"{what}: {type(error).__name__}: {error}"))
    return results


def _both_ways(office, what, kind, access, transport, srtp, digest, weak):
    line = office.line(srtp=srtp, algorithm=digest) if digest else None
    at = office.carrier(accounts=[line] if line else [], known_by_address=line is None)
    listed = office.trunk("main", at, transport, line, srtp)
    office.rates([NATIONAL])
    account = office.extension()
    office.server.say("number", "add", OURS, "--trunk", "main", "--to", account.number)
    office.server.say("extension", "caller-id", account.number, OURS)
    phone = office.phone(kind, account)
    results = []
    out = outward(phone, at, VOICE)
    billed = at.bill(2, 1)[-1]
    # Where it registered, the carrier calls the number at the Contact that it was given; else at our address.
    into = inward(phone, at, f"{OURS}@{line.user if line else f'to-{transport}'}")
    worst = min(*out, *into)
    detail = f"{what}: out {out[0]:.4f} / {out[1]:.4f}, in {into[0]:.4f} / {into[1]:.4f}"
    results.append(Result("trunk call", worst > LIMIT, detail))

    if kind == "pjsua2" and srtp:
        results.append(_before_the_answer(phone, at))
    made, came = [record for record in reversed(office.records(10)) if record["answered"]][:2]
    problems = []
    for record, direction in ((made, "out"), (came, "in")):
        legs = {leg["side"]: leg for leg in record["legs"]}
        ours = [leg for leg in record["legs"] if leg.get("trunk")]
        if len(ours) != 1 or ours[0]["trunk"] != "main":
            problems.append(f"{direction}: no leg names the trunk: {legs}")
            continue
        named = " ".join(ours[0]["weaknesses"])
        # A carrier's call to us is not challenged: no digest was weak in it.
        told = [word for word in weak if (direction, word) != ("in", "MD5")]
        problems += [f"{direction}: weakness not named: {word} in {named!r}" for word in told if word not in named]
        problems += [f"{direction}: weakness named without cause: {named}"] if named and not weak else []
        problems += [f"{direction}: media {ours[0]['media']!r}"] if bool(ours[0]["media"]) != srtp else []
        problems += [f"{direction}: signalling {ours[0]['signalling']!r}"] if bool(ours[0]["signalling"]) != (transport == "tls") else []
    problems += [] if billed.number == "+1" + VOICE else [f"carrier was asked for {billed.number}"]
    problems += [] if billed.caller == OURS else [f"carrier was shown {billed.caller} as caller"]
    named = " ".join(listed["weaknesses"])
    problems += [f"the list doesn't name {word}: {named!r}" for word in weak if word not in named]
    legs = "; ".join(f"{leg['side']} {leg['signalling'] or 'clear'}, {leg['media'] or 'clear'}" for leg in made["legs"])
    results.append(Result("trunk record", not problems, f"{what}: {'; '.join(problems) or legs}", made))
    return results


def _before_the_answer(phone, at):
    """What a carrier says before it answers is heard: an announcement, or why a number can't be reached."""
    phone.forget()
    here = phone.mark()
    phone.call(EARLY)
    phone.wait("up", 12, here)
    here = phone.mark()
    phone.hangup()
    phone.wait("ended", 5, here)
    time.sleep(0.3)
    early = audio.match(audio.read(at.early), audio.read(phone.recording))
    detail = f"{early.correlation:.4f} of what the carrier said before it answered"
    return Result("early media", early.correlation > LIMIT and early.windows > 2, detail)


# What is refused.

# As somebody dials it; whether it may pass with the first policy, and with Latvia opened. Ours, written from the
# numbering plans and not from the answers.
DIALLED = [
    ("2025550100", True, True),  # national, ten digits
    ("12025550100", True, True),
    ("+12025550100", True, True),
    ("+13125550100", True, True),
    ("8005550100", True, True),  # toll-free
    ("202", True, True),  # an extension
    ("911", True, True),
    ("+37167012300", False, True),  # Latvia, Riga
    ("01137167012300", False, True),
    ("+37126123400", False, True),  # Latvia, mobile
    ("+37190123400", False, False),  # Latvia, premium: its country is open, its price too high or its class closed
    ("+442079460100", False, False),
    ("011442079460100", False, False),
    ("+18765550100", False, False),  # Jamaica: dialled like a national number
    ("8765550100", False, False),
    ("18095550100", False, False),  # Dominican Republic
    ("9005550100", False, False),  # premium
    ("5005550100", False, False),  # personal
    ("+881612345600", False, False),  # satellite
    ("+88299912300", False, False),  # international network
    ("+99912345600", False, False),  # nobody's
    ("299", False, False),  # no such extension
]


def refused(folder):
    """Whatever `policy explain` says of a number is what happens when it is dialled: by rule, by permission, and in the
    carrier's bill. A refusal carries a sentence that a phone can show."""
    with Office(folder, "refused") as office:
        line = office.line()
        at = office.carrier(accounts=[line])
        office.trunk("main", at, "tls", line)
        office.rates([NATIONAL, ("371", "Latvia", "0.30"), ("37190", "Latvia premium", "3.00")])
        caller, callee = office.extension("201"), office.extension("202")
        phones = office.load()
        ringing = phones.register([caller, callee], office.server.ca)
        ringing[1].answers = True
        results = _table(office, at, phones, ringing[0], 1)
        office.server.role("--allow", "international", "--country", "LV")
        results += _table(office, at, phones, ringing[0], 2)

        phone = office.phone("pjsua2", office.extension("203"))
        here = phone.mark()
        phone.call("+442079460100")
        event = phone.wait("ended", 8, here)
        last = [text for ours, text in phone.messages() if not ours and text.startswith("SIP/2.0 403")]
        said = [line for line in (last[-1].splitlines() if last else []) if line.startswith(("Reason:", "Warning:"))]
        ok = event[2].startswith("403") and any(line.startswith("Warning: 399") for line in said) and any("text=" in line for line in said)
        results.append(Result("refusal shown", ok, f"pjsua2 shows {event[2]!r}; {' | '.join(said) or 'no Reason, no Warning'}"))
    return results


def _table(office, at, phones, phone, column):
    wrong, shown = [], []
    for row in DIALLED:
        dialled, expected = row[0], row[column]
        told = office.server.explain(dialled, phone.account.number)
        before = len(at.bill())
        call = phones.run(phone.call(dialled))
        if call.status == 200:
            phones.run(phone.hang_up(call))
        record = office.record_of(dialled)
        rang = len(at.bill(2 if expected and len(dialled) > 3 or dialled == "911" else 0, before + 1)) - before
        permitted = call.status == 200
        if told["permitted"] != permitted or permitted != expected:
            wrong.append(f"{dialled}: explain says {told['permitted']} ({told['rule']}), the call got {call.status}, expected {expected}")
        if record is None or record["rule"] != told["rule"]:
            wrong.append(f"{dialled}: explain says {told['rule']}, the record {record and record['rule']}")
        if rang and not permitted:
            wrong.append(f"{dialled}: refused, and yet the carrier was called")
        if not permitted and "text=" not in call.reason:
            wrong.append(f"{dialled}: {call.status} without a reason in words")
        shown.append(f"{dialled} {told['rule']}")
    allowed = sum(row[column] for row in DIALLED)
    what = "first policy" if column == 1 else "Latvia opened"
    detail = f"{what}: {len(DIALLED)} numbers, {allowed} allowed: {'; '.join(wrong) or 'explain, call, record and bill agree'}"
    return [Result("explain agrees", not wrong, detail, {"table": shown})]


# The end of a budget.

BUDGET_CALLS = 200
PRICES = {2: "0.36", 3: "0.24", 4: "0.18", 5: "0.144", 6: "0.12"}  # seconds that 0.012 buys -> price a minute
BUDGET = "0.012"
AREAS = {2: "202", 3: "203", 4: "205", 5: "206", 6: "207"}


def budget(folder):
    """A call ends when its money does, and the carrier's own bill is within it, two hundred times."""
    with Office(folder, "budget") as office:
        line = office.line()
        at = office.carrier(accounts=[line])
        office.trunk("main", at, "tls", line, channels=250)
        office.rates([(f"1{area}", f"{paid} s", PRICES[paid]) for paid, area in AREAS.items()])
        office.server.role("--calls", 4)
        accounts = [office.extension(str(2001 + n)) for n in range(BUDGET_CALLS)]
        for account in accounts:
            office.server.budget(account.number, BUDGET)
        rich = office.extension("3001")
        phones = office.load()
        clients = phones.register(accounts + [rich], office.server.ca)
        paid = {client.account.number: list(AREAS)[n % len(AREAS)] for n, client in enumerate(clients)}

        async def one(client):
            call = await client.call(f"{AREAS[paid[client.account.number]]}5550105")
            if call.status == 200:
                await asyncio.wait_for(call.over.wait(), 15)
            return client, call

        # The control goes on beside them: the same number, and money enough.
        control = phones.run(clients[-1].call(f"{AREAS[2]}5550105"))
        done = phones.run(together([one(client) for client in clients[:-1]], 60), 120)
        still = not control.over.is_set() and control.status == 200
        phones.run(clients[-1].hang_up(control))
        bills = at.bill(5, BUDGET_CALLS + 1)

    results = []
    failed = [(c.account.number, k.status, k.reason) for c, k in done if k.status != 200]
    late = sorted(k.seconds - paid[c.account.number] for c, k in done if k.status == 200)
    ok = not failed and len(late) == BUDGET_CALLS and -1.01 <= late[0] and late[-1] <= 1.0
    ok = ok and all(k.ended_by == "them" for _, k in done)
    figures = dict(zip(("min", "median", "max"), (min(late), statistics.median(late), max(late)))) if late else {}
    detail = f"{len(late)} calls ended by us, BYE {_spread(late)} s from the paid second" + (f"; not up: {failed[:3]}" if failed else "")
    results.append(Result("budget's end", ok, detail, figures))

    over, steps = [], []
    for bill in bills:
        seconds = next((s for s, area in AREAS.items() if bill.number.startswith(f"+1{area}")), None)
        if seconds is None or bill.seconds > 8:
            continue
        over.append(bill.seconds - seconds)
        steps.append(-(-bill.seconds // INCREMENT) - seconds)
    ok = len(over) == BUDGET_CALLS and max(steps) <= 1
    detail = f"{len(over)} of the carrier's records: {_spread(over)} s beyond what was paid (min/median/max); "
    detail += f"{sum(s > 0 for s in steps)} began one more increment, {sum(s > 1 for s in steps)} more than one"
    results.append(Result("carrier's bill", ok, detail, {"over": sorted(over)}))
    lasted = control.seconds
    results.append(Result("budget's end", still and lasted > 8, f"control: with money enough the same number stayed up for {lasted:.1f} s"))
    return results


def _spread(values):
    values = sorted(values)
    return f"{values[0]:+.3f} / {statistics.median(values):+.3f} / {values[-1]:+.3f}" if values else "none"


# A crash.

CRASH_CALLS = 50
CALLS_EACH = 5


def crash(folder):
    """kill -9 while fifty calls are up over a trunk: ten seconds after the restart none is left at the carrier, and
    every one stands in the records with its cost."""
    with Office(folder, "crash") as office:
        line = office.line()
        at = office.carrier(accounts=[line])
        office.trunk("main", at, "tls", line, channels=100)
        office.rates([NATIONAL])
        office.server.role("--calls", CALLS_EACH)
        accounts = [office.extension() for _ in range(CRASH_CALLS // CALLS_EACH)]
        for account in accounts:
            office.server.budget(account.number, "5")
        phones = office.load()
        clients = phones.register(accounts, office.server.ca)
        made = phones.run(together([client.call(LONG) for client in clients for _ in range(CALLS_EACH)], 25))
        up = sum(call.status == 200 for call in made)
        time.sleep(4)
        before = at.channels()
        office.server.kill()
        time.sleep(2)
        left = at.channels()  # the control: nobody else ends them
        began = time.monotonic()
        office.server.start()
        with contextlib.suppress(LoadError, OSError):
            phones.run(together([client.register() for client in clients]))
        while at.channels() and time.monotonic() - began < 10:
            time.sleep(0.2)
        took, channels = time.monotonic() - began, at.channels()
        bills = [bill for bill in at.bill(2, CRASH_CALLS) if bill.disposition == "ANSWERED"]
        records = office.records(CRASH_CALLS, 5)
        costs = [charged(record) for record in records]
        spent = office.server.spent()
        verified = office.server.say("journal", "verify").strip().splitlines()

    results = []
    ok = up == before == left == CRASH_CALLS and channels == 0
    detail = f"{up} calls up, {left} still at the carrier 2 s after kill -9 (control); {channels} at {took:.1f} s after the restart"
    results.append(Result("crash: channels", ok, detail))
    free = [cost for _, cost in costs if cost <= 0]
    ours = sum(seconds for seconds, _ in costs)
    really = sum(-(-bill.seconds // INCREMENT) for bill in bills)
    total = sum(cost for _, cost in costs)
    # The carrier may begin one increment a call that we don't know of: it stops its clock a round trip later.
    ok = len(records) == CRASH_CALLS and not free and ours >= really - CRASH_CALLS
    detail = f"{len(records)} records, {len(free)} without cost; {ours} s charged, {really:.0f} s billed by the carrier"
    results.append(Result("crash: records", ok, detail))
    held = sum(spent.get(account.number, 0) for account in accounts)
    results.append(Result("crash: budgets", held == total, f"budgets hold {held} millionths, the records {total}"))
    results.append(Result("crash: journal", True, f"verify: {verified[0] if verified else ''}"))
    return results


# A call for help.


def emergency(folder):
    """911 rings at the carrier whatever stands in its way; the ordinary call beside it doesn't (the control)."""
    with Office(folder, "emergency") as office:
        line, plain = office.line(), office.line("plain", False, "MD5")
        at = office.carrier(accounts=[line])
        second = office.carrier("second.test", accounts=[plain])
        office.trunk("main", at, "tls", line, channels=2)
        office.rates([NATIONAL])
        phones = office.load()
        caller, other = phones.register([office.extension(), office.extension()], office.server.ca)
        results = []

        def attempt(what, number, expected, carrier_of, reach="911"):
            billed = len(carrier_of.bill())
            call = phones.run(caller.call(number))
            if call.status == 200:
                phones.run(caller.hang_up(call))
                # A call that gave way for this one may be billed beside it.
                more = 2 if "full" in what else 1
                asked = [bill.number for bill in carrier_of.bill(2, billed + more)[billed:]]
                found = f"{call.status}, the carrier was asked for {reach if reach in asked else asked}"
                ok = expected and reach in asked
            else:
                ok, found = not expected, f"{call.status} {call.reason}"
            results.append(Result("emergency", ok, f"{what}: {number} {found}"))

        classes = next(role["classes"] for role in office.server.command("policy", "show")["roles"] if role["default"])
        attempt("as it is (control)", VOICE, True, at, "+1" + VOICE)

        office.server.role(*(word for name in classes for word in ("--deny", name)))
        attempt("every class denied (control)", VOICE, False, at)
        attempt("every class denied", "911", True, at)
        office.server.role(*(word for name in classes for word in ("--allow", name)))

        office.server.budget(caller.account.number, "0.000001")
        attempt("budget spent (control)", VOICE, False, at)
        attempt("budget spent", "911", True, at)
        office.server.budget(caller.account.number, "5")

        full = phones.run(together([other.call(LONG), other.call(LONG)]))
        attempt("trunk full (control)", VOICE, False, at)
        attempt("trunk full", "911", True, at)
        cut = [call for call in full if call.over.is_set()]
        ok = [call.status for call in full] == [200, 200] and len(cut) == 1
        results.append(Result("emergency", ok, f"trunk full: {len(cut)} of 2 calls gave way, BYE says {cut[0].reason if cut else '-'}"))
        for call in full:
            if not call.over.is_set():
                phones.run(other.hang_up(call))

        office.trunk("spare", second, "udp", plain, srtp=False, more=["--priority", 20])
        at.stop()
        attempt("TLS trunk stopped", "911", True, second)
    return results


# A lost BYE.

SILENCE = 60  # seconds, the shortest that a trunk takes
RECORD_MAX = 100  # seconds: a leg whose phone is gone is waited for so long, and a little more


def lost_bye(folder):
    """Carrier and phone vanish during a call: it ends within the silence limit, and so does its cost."""
    with Office(folder, "lost-bye") as office:
        line, other = office.line(), office.line()
        at, second = office.carrier(accounts=[line]), office.carrier("second.test", accounts=[other])
        limit = ["--silence-limit", f"{SILENCE}s"]
        office.trunk("other", second, "tls", other, more=limit)
        office.rates([NATIONAL])
        phones = office.load()
        gone, stays = phones.register([office.extension(), office.extension()], office.server.ca)
        control = phones.run(stays.call(LONG))
        office.trunk("main", at, "tls", line, more=[*limit, "--priority", 1])
        call = phones.run(gone.call(LONG))
        time.sleep(2)
        there = at.channels()
        at.freeze()
        vanished = time.monotonic()
        phones.loop.call_soon_threadsafe(gone.drop)
        while sum(one["state"] == "up" for one in office.server.calls_up()) > 1 and time.monotonic() - vanished < SILENCE + 10:
            time.sleep(0.1)
        took = time.monotonic() - vanished
        # Our BYE waits in its socket: what it charges until it takes it is what the record must say.
        at.thaw()
        time.sleep(2)
        still = call.status == control.status == 200 and not control.over.is_set()
        phones.run(stays.hang_up(control))
        # Whoever is gone can't take a BYE; the record waits a while for its coming back.
        record = next(r for r in office.records(2, RECORD_MAX) if r["from"] == gone.account.number)
        written = time.monotonic() - vanished - took
        until = time.monotonic() + 5
        while at.channels() and time.monotonic() < until:
            time.sleep(0.1)
        left = at.channels()

    results = [Result("lost BYE", still, f"control: beside it, with its carrier there, a call stayed up for {control.seconds:.1f} s")]
    seconds, cost = charged(record)
    most = vanished - call.answered + SILENCE + 2
    ok = there == 1 and took <= SILENCE + 2 and cost > 0 and seconds <= most
    detail = f"ended {took:.1f} s after both were gone (limit {SILENCE} s); {seconds} s charged, bound {most:.0f} s; "
    detail += f"recorded {written:.0f} s later"
    results.append(Result("lost BYE", ok, detail, record))
    results.append(Result("lost BYE", left == 0, f"back again, the carrier has {left} channels: its BYE had waited"))
    return results


ALL = {
    "carrier": itself,
    "trunk-calls": calls,
    "refused": refused,
    "budget": budget,
    "crash": crash,
    "emergency": emergency,
    "lost-bye": lost_bye,
}
