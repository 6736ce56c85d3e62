"""What somebody on the wire sees of a call: a capture, searched for words and for voice.

Both searches are only worth something if they find what is there, so the rig runs them
over a call without encryption too, where both must find.
"""

import re
import signal
import struct
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import audio

# No line of SIP or SDP comes without one of these. The shortest has six octets: in the
# few hundred kilobytes of a captured call, random octets show one of them once in a million.
WORDS = [
    b"SIP/2.0",
    b"INVITE sip",
    b"REGISTER sip",
    b"Call-ID:",
    b"CSeq: ",
    b"Contact:",
    b"User-Agent:",
    b"Digest username",
    b"application/sdp",
    b"m=audio",
    b"a=rtpmap",
    b"a=crypto",
    b"inline:",
    b"c=IN IP4",
]
RTP_HEADER = 12
DNS = 53


class Capture:
    """tcpdump on loopback from construction until `stop`. `leave_out`: TCP ports of the rig's own remote controls."""

    def __init__(self, path, leave_out=()):
        self.path = Path(path)
        expression = " and ".join(["ip"] + [f"not tcp port {port}" for port in leave_out])
        command = ["tcpdump", "-i", "lo", "-s", "0", "-U", "-B", "8192", "-Z", "root", "-w", str(self.path), expression]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if b"listening on" in line:
                return
        raise RuntimeError("tcpdump does not start")

    def stop(self):
        time.sleep(0.3)
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=10)[1].decode()
        dropped = re.search(r"(\d+) packets? dropped by kernel", said)
        if dropped and int(dropped.group(1)):
            raise RuntimeError(f"tcpdump lost {dropped.group(1)} packets: the capture proves nothing")
        return Seen(self.path)


class Seen:
    """The payloads of a capture, by flow."""

    def __init__(self, path):
        self.udp = defaultdict(list)  # (source port, destination port) -> payloads
        self.tcp = defaultdict(bytearray)  # the same -> octets, in the order of the wire
        self.packets = 0
        raw = Path(path).read_bytes()
        order = "<" if raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        link = struct.unpack(order + "I", raw[20:24])[0]
        if link != 1:
            raise RuntimeError(f"capture of link type {link}, expected Ethernet")
        at = 24
        while at + 16 <= len(raw):
            size = struct.unpack(order + "I", raw[at + 8 : at + 12])[0]
            self._frame(raw[at + 16 : at + 16 + size])
            at += 16 + size

    def _frame(self, frame):
        packet = frame[14:]
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        self.packets += 1
        body = packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4], "big")]
        ports = struct.unpack(">HH", body[:4])
        if packet[9] == 17 and DNS not in ports:
            self.udp[ports].append(body[8:])
        elif packet[9] == 6:
            self.tcp[ports] += body[(body[12] >> 4) * 4 :]

    def octets(self):
        return sum(len(p) for flow in self.udp.values() for p in flow) + sum(map(len, self.tcp.values()))

    def readable(self, private):
        """The words of SIP and the private strings (secrets, numbers as they stand in SIP) that can be read."""
        found = set()
        texts = [bytes(data) for data in self.tcp.values()] + [p for flow in self.udp.values() for p in flow]
        for text in texts:
            lower = text.lower()
            found.update(w.decode() for w in WORDS if w.lower() in lower)
            found.update(w for w in private if w.lower().encode() in lower)
        return sorted(found)

    def streams(self):
        """The UDP flows that look like RTP and are long enough to be a voice, as (flow, payloads in order)."""
        found = []
        for flow, packets in self.udp.items():
            rtp = [p for p in packets if len(p) > RTP_HEADER + 40 and p[0] >> 6 == 2 and not 192 <= p[1] <= 223]
            if len(rtp) < 100:
                continue
            first = int.from_bytes(rtp[0][2:4], "big")
            place = lambda p: (int.from_bytes(p[2:4], "big") - first + 0x8000) & 0xFFFF  # noqa: E731
            found.append((flow, [p[RTP_HEADER:][:160] for p in sorted(rtp, key=place)]))
        return found

    def voice(self, voices):
        """The best correlation of any stream, taken as PCMU, with any voice; and how many streams there are."""
        streams = self.streams()
        best = 0.0
        for _, payloads in streams:
            heard = audio.from_ulaw(b"".join(payloads))
            n = int(audio.WINDOW * audio.RATE)
            for at in range(0, len(heard) - n, n):
                for sent in voices:
                    best = max(best, audio.find(heard[at : at + n], sent)[0])
        return best, len(streams)


@dataclass
class Verdict:
    """`streams` and `octets` tell that there was something to look at."""

    words: list
    voice: float
    streams: int
    octets: int


def look(seen, accounts, voices):
    private = [a.secret for a in accounts]
    for a in accounts:
        private += [f"sip:{a.number}@", f'"{a.number}"', f"<{a.number}>", f"{a.number}@{a.domain}"]
    best, streams = seen.voice(voices)
    return Verdict(seen.readable(private), best, streams, seen.octets())
