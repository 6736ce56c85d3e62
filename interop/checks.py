"""The checks of the rig, each a function from a `Lab` to results. See `run`."""

import contextlib
import itertools
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import audio
import capture
from phones import KINDS
from phones.base import Config, PhoneError
from servers import Account

LIMIT = 0.9  # "audio arrived" (both directions), see audio.py
DEAF = 0.2  # a capture taken as PCMU must stay below: noise against 30 s of voice reaches 0.1
TALK = 5.5  # seconds of a call: some sixteen windows
FIRST_NUMBER = 101


@dataclass
class Result:
    check: str
    passed: bool | None  # None: skipped, and the detail says why
    detail: str
    figures: dict = field(default_factory=dict)


class Lab:
    """The server, an account for each phone, and the phones that are up."""

    def __init__(self, server, folder):
        self.server = server
        self.folder = Path(folder)
        self.accounts = {}
        self.running = {}
        self._numbers = itertools.count(FIRST_NUMBER)
        self._ports = itertools.count(7000, 100)
        self._voices = itertools.count(1)

    def account(self, name):
        """Every phone has an extension of its own, so that none takes another's calls."""
        if name not in self.accounts:
            self.accounts[name] = self.server.extension(str(next(self._numbers)), f"Rig {name}")
        return self.accounts[name]

    def voice(self, name):
        """A voice of its own for each phone: 30 s that no other phone of this run speaks."""
        path = self.folder / f"{name}.wav"
        audio.write(path, audio.voice(next(self._voices), 30))
        return path

    def phone(self, kind, name=None, voice=None, account=None, **settings):
        """A phone, not started. `name` is its folder."""
        name = name or kind
        account = account or self.account(name)
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        settings.setdefault("ca", self.server.ca)
        config = Config(
            folder=folder,
            number=account.number,
            secret=account.secret,
            domain=account.domain,
            port=account.port,
            voice=voice or self.voice(name),
            local=next(self._ports),
            **settings,
        )
        return KINDS[kind](config)

    def up(self, kind):
        """The ordinary phone of this kind, registered; the same one for all checks."""
        phone = self.running.get(kind)
        if phone is None:
            phone = self.phone(kind)
            phone.start()
            self.running[kind] = phone
            phone.wait_registered()
        return phone

    def stop(self):
        for phone in self.running.values():
            phone.stop()
        self.running.clear()


@contextlib.contextmanager
def started(phone):
    try:
        phone.start()
        yield phone
    finally:
        phone.stop()


def talk(caller, callee, seconds=TALK, number=None):
    """One call from setting up to hanging up, the caller hangs up. Returns the two matches: (to callee, to caller)."""
    caller.forget()
    callee.forget()
    here, there = caller.mark(), callee.mark()
    caller.call(number or callee.config.number)
    event = caller.wait(("up", "ended"), 10, here)
    if event[1] == "ended":
        raise PhoneError(f"call ended before it was up: {event[2]}; see {caller.log}")
    callee.wait("up", 5, there)
    time.sleep(seconds)
    here, there = caller.mark(), callee.mark()
    caller.hangup()
    caller.wait("ended", 5, here)
    callee.wait("ended", 5, there)
    time.sleep(0.3)  # the recorders close their files
    return heard(caller, callee), heard(callee, caller)


def heard(speaker, listener):
    if not listener.recording.exists():
        return audio.Match(0.0, 0.0, 0, 0.0, 0.0)
    return audio.match(audio.read(speaker.config.voice), audio.read(listener.recording))


def pairs(lab):
    """The phones register with certificate verification and call each other, all ordered pairs."""
    results = []
    for kind in KINDS:
        try:
            phone = lab.up(kind)
            took = phone.wait("registered", 0)[0] - phone.began
            results.append(Result("register", True, f"{kind}: over TLS, certificate verified, {took:.2f} s"))
        except PhoneError as error:
            results.append(Result("register", False, str(error)))
    for a, b in itertools.permutations(KINDS, 2):
        name = f"{a} > {b}"
        try:
            caller, callee = lab.up(a), lab.up(b)
            there, back = talk(caller, callee)
            codec, suite = caller.agreed()
            codec_b, suite_b = callee.agreed()
            figures = {
                "caller": a,
                "callee": b,
                "there": asdict(there),
                "back": asdict(back),
                "codec": [codec, codec_b],
                "suite": [suite, suite_b],
            }
            ok = min(there.correlation, back.correlation) > LIMIT and codec == codec_b == "PCMU/8000"
            ok = ok and all("HMAC" in s or "AEAD" in s for s in (suite, suite_b))
            detail = f"there {there.correlation:.4f} back {back.correlation:.4f} {codec} {suite} / {suite_b}"
            slip = max(there.drift_ms, back.drift_ms)
            detail += f" (slipped {slip:.0f} ms)" if slip >= 5 else ""
            results.append(Result(name, ok, detail, figures))
        except PhoneError as error:
            results.append(Result(name, False, str(error)))
    return results


def records(lab):
    """What the server wrote down of the six calls: who, answered, and both legs protected on the wire and in the media."""
    if not hasattr(lab.server, "records"):
        return [Result("records", None, "this server keeps no call records that the rig can read")]
    results = []
    for a, b in itertools.permutations(KINDS, 2):
        if a not in lab.accounts or b not in lab.accounts:
            return [Result("records", None, "no calls were made: run the check `pairs` before this one")]
        record = None
        until = time.monotonic() + 5  # a record may wait for the last statistics of the media
        while record is None and time.monotonic() < until:
            numbers = [lab.accounts[a].number, lab.accounts[b].number]
            found = [r for r in lab.server.records() if [r["from"], r["to"]] == numbers and r["answered"]]
            record = found[0] if found else time.sleep(0.2)
        if record is None:
            results.append(Result("records", False, f"{a} > {b}: no record of an answered call"))
            continue
        legs = record["legs"]
        ok = len(legs) == 2 and all(leg["media"] and leg["signalling"] for leg in legs)
        # baresip 1.1 knows no digest but MD5: exactly that must show as a weakness, and nothing else.
        ok = ok and all(leg["weaknesses"] == (["digest uses MD5"] if "MD5" in leg["proof"] else []) for leg in legs)
        ok = ok and abs(record["seconds"] - TALK) < 2
        told = "; ".join(f"{leg['side']} {leg['signalling']}, {leg['media']}, {leg['proof'] or 'no proof'}" for leg in legs)
        results.append(Result("records", ok, f"{a} > {b}: {record['seconds']} s, {record['disposition']}; {told}", record))
    return results


def muted(lab):
    """Control: where one phone says nothing, the check of that direction must fail, and only of that one."""
    listener = lab.up("baresip")
    with started(lab.phone("pjsua2", "pjsua2-muted")) as mute:
        mute.wait_registered()
        mute.mute()
        there, back = talk(mute, listener)
    ok = there.correlation < DEAF and back.correlation > LIMIT
    detail = f"control: muted direction {there.correlation:.4f} (not heard, as it must), other {back.correlation:.4f}"
    return [Result("muted leg", ok, detail, {"muted": asdict(there), "other": asdict(back)})]


def wire(lab):
    """A capture of a whole call shows no SIP and no voice; the same search finds both in a call without encryption."""
    results = []
    controls = [p.control for p in lab.running.values() if p.control]
    phones = [lab.phone(kind, f"{kind}-wire") for kind in ("linphone", "pjsua2")]
    watch = capture.Capture(lab.folder / "call.pcap", controls)
    try:
        with contextlib.ExitStack() as stack:
            for phone in phones:
                stack.enter_context(started(phone)).wait_registered()
            there, back = talk(*phones)
    finally:
        seen = watch.stop()
    voices = [audio.read(p.config.voice) for p in phones]
    verdict = capture.look(seen, [lab.accounts[p.folder.name] for p in phones], voices)
    complete = min(there.correlation, back.correlation) > LIMIT and verdict.streams >= 4
    ok = complete and not verdict.words and verdict.voice < DEAF
    detail = f"{verdict.octets} octets from REGISTER to BYE, {verdict.streams} media streams: "
    detail += f"words {verdict.words or 'none'}, voice {verdict.voice:.3f}" + ("" if complete else "; the call itself failed")
    results.append(Result("capture", ok, detail, asdict(verdict)))

    nobody = [Account(n, "plain-secret", "pbx.test", 0) for n in ("201", "202")]
    ends = [
        lab.phone("pjsua2", f"plain-{a.number}", account=a, register=False, srtp=False, transport="udp") for a in nobody
    ]
    watch = capture.Capture(lab.folder / "plain.pcap", controls)
    try:
        with started(ends[0]), started(ends[1]):
            talk(*ends, number=f"sip:202@127.0.0.1:{ends[1].config.local}")
    finally:
        seen = watch.stop()
    verdict = capture.look(seen, nobody, [audio.read(p.config.voice) for p in ends])
    ok = len(verdict.words) >= 8 and verdict.voice > LIMIT
    detail = f"control, UDP and RTP: {len(verdict.words)} words found, voice {verdict.voice:.3f}"
    results.append(Result("capture", ok, detail, asdict(verdict)))
    return results


def wrong_ca(lab):
    """A phone that trusts another authority, or wanted another host, does not register, and says that the
    certificate is why. (`other.test` leads to the same server, whose certificate does not carry it.)"""
    other = lab.folder / "other-ca.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other"
    subprocess.run(command.split() + ["-keyout", "/dev/null", "-out", str(other)], check=True, capture_output=True)
    results = []
    for kind in KINDS:
        account = lab.account(f"{kind}-stranger")
        elsewhere = replace(account, domain="other.test")
        for check, settings in (("wrong CA", {"account": account, "ca": other}), ("wrong name", {"account": elsewhere})):
            with started(lab.phone(kind, f"{kind}-{check.replace(' ', '-')}", **settings)) as phone:
                try:
                    event = phone.wait(("registered", "certificate refused"), 12)
                    ok, why = event[1] == "certificate refused", event[2].strip()[-100:]
                except PhoneError as error:
                    ok, why = False, str(error)
            results.append(Result(check, ok, f"{kind}: {why}"))
    return results


def plain_rtp(lab):
    """A registered phone that offers plain RTP is refused with 488, and the callee does not ring."""
    callee = lab.up("baresip")
    with started(lab.phone("pjsua2", "pjsua2-plain-rtp", srtp=False)) as phone:
        phone.wait_registered()
        here, there = phone.mark(), callee.mark()
        phone.call(callee.config.number)
        try:
            event = phone.wait(("ended", "up"), 10, here)
            rang = [e for e in callee.events[there:] if e[1] in ("incoming", "up")]
            ok = event[1] == "ended" and event[2].startswith("488") and not rang
            detail = f"answer to RTP/AVP: {event[2]}" + ("; but the callee rang" if rang else "; the callee did not ring")
        except PhoneError as error:
            ok, detail = False, str(error)
    return [Result("plain RTP", ok, detail)]


ALL = {"pairs": pairs, "records": records, "muted": muted, "capture": wire, "wrong-ca": wrong_ca, "plain-rtp": plain_rtp}
