"""Connections that mean no good: they say nothing, half a message, or a byte a second, and come back when closed.

    bench_idlers.py HOST PORT COUNT SECONDS SOURCE,...

Of each four: one silent before the handshake, one silent after it, one with half a message, one with a byte a second.
One line of JSON when all have been tried once, one at the end.
"""

import asyncio
import json
import ssl
import sys
import time

BACK = 5.0  # seconds until a closed one comes back
HALF = b"REGISTER sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.3.1:5061;branch=z9hG4bKhalf\r\nFrom: <sip:10"
KINDS = ("bare", "silent", "half", "slow")


class Count:
    tried = opened = closed = refused = now = most = 0


async def idler(kind, place, source, until, count, context):
    while time.monotonic() < until:
        count.tried += 1
        writer = None
        try:
            words = {} if kind == "bare" else {"ssl": context, "ssl_handshake_timeout": 60}
            reader, writer = await asyncio.open_connection(*place, local_addr=(source, 0), **words)
            count.opened += 1
            count.now += 1
            count.most = max(count.most, count.now)
            await stay(kind, reader, writer, until)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        if writer is None:
            count.refused += 1
        else:
            count.now -= 1
            count.closed += time.monotonic() < until
            writer.transport.abort()
        await asyncio.sleep(max(0, min(BACK, until - time.monotonic())))


async def stay(kind, reader, writer, until):
    """Until the server closes, or time is up."""
    if kind == "half":
        writer.write(HALF)
    said = 0
    while time.monotonic() < until:
        wait = min(1.0 if kind == "slow" else 3600.0, until - time.monotonic())
        try:
            if not await asyncio.wait_for(reader.read(4096), max(0.01, wait)):
                return
        except TimeoutError:
            if kind == "slow":
                writer.write(HALF[said % len(HALF) : said % len(HALF) + 1])
                said += 1


async def main():
    host, port, number, seconds, sources = sys.argv[1:6]
    sources, until, count = sources.split(","), time.monotonic() + float(seconds), Count()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # one for all: it takes milliseconds to make
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    running = []
    for n in range(int(number)):
        if time.monotonic() > until:
            break
        kind = KINDS[n % len(KINDS)]
        running.append(asyncio.ensure_future(idler(kind, (host, int(port)), sources[n % len(sources)], until, count, context)))
        if n % 50 == 49:
            await asyncio.sleep(0.05)  # a thousand a second
    tell(count)
    await asyncio.gather(*running, return_exceptions=True)
    tell(count)


def tell(count):
    names = ("tried", "opened", "closed", "refused", "now", "most")
    print(json.dumps({name: getattr(count, name) for name in names}), flush=True)


asyncio.run(main())
