"""Thousands of idle phones over TLS in one process: each signs in, and again each minute, and does nothing else.

    bench_phones.py HOST PORT NAME CA.pem < [[number, secret, source], ...] as a line of JSON

Says how many are registered once all were tried, as a line of JSON; goes on until its input closes.
"""

import asyncio
import json
import secrets
import ssl
import sys

import bench_load

AGAIN = 60  # seconds; a registration over a connection is granted for 90
AT_ONCE = 24  # handshakes


class Phone:
    def __init__(self, number, secret, source):
        self.number, self.secret, self.source = number, secret, source
        self.registered = False
        self.why = ""
        self._call, self._sequence, self._credentials = secrets.token_hex(8), 0, ""

    async def start(self, host, port, name, context):
        try:
            self.reader, self.writer = await asyncio.wait_for(
                asyncio.open_connection(host, port, ssl=context, server_hostname=name, local_addr=(self.source, 0)), 20
            )
            await self.register(name)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, bench_load.LoadError) as error:
            self.registered, self.why = False, f"{type(error).__name__}: {error}"

    async def register(self, name):
        self.registered = False
        for _ in range(3):
            self._sequence += 1
            self.writer.write(self._request(name))
            head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)).decode(errors="replace")
            if head.startswith("SIP/2.0 200"):
                self.registered = True
                return
            if not head.startswith("SIP/2.0 401"):
                break
            self._credentials = bench_load.authorization(head, "REGISTER", f"sip:{name}", self.number, self.secret)
        raise bench_load.LoadError(head.splitlines()[0])

    def _request(self, name):
        here = self.writer.get_extra_info("sockname")
        rows = [
            f"REGISTER sip:{name} SIP/2.0",
            f"Via: SIP/2.0/TLS {here[0]}:{here[1]};branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:{self.number}@{name}>;tag={self._call}",
            f"To: <sip:{self.number}@{name}>",
            f"Call-ID: {self._call}",
            f"CSeq: {self._sequence} REGISTER",
            f"Contact: <sip:{self.number}@{here[0]}:{here[1]};transport=tls>;expires=600",
        ]
        rows += [self._credentials] if self._credentials else []
        return ("\r\n".join([*rows, "Content-Length: 0"]) + "\r\n\r\n").encode()


async def keep(phone, place):
    """Signs in again each minute, with a challenge of its own each time."""
    while phone.registered:
        await asyncio.sleep(AGAIN)
        phone._credentials = ""
        try:
            await phone.register(place)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, bench_load.LoadError) as error:
            phone.registered, phone.why = False, f"{type(error).__name__}: {error}"


async def main():
    host, port, name, authority = sys.argv[1:5]
    context = ssl.create_default_context(cafile=authority)
    phones = [Phone(*row) for row in json.loads(sys.stdin.readline())]
    places = asyncio.Semaphore(AT_ONCE)
    keepers = []

    async def one(phone):
        async with places:
            await phone.start(host, int(port), name, context)
        keepers.append(asyncio.ensure_future(keep(phone, name)))

    await asyncio.gather(*(one(phone) for phone in phones))
    loop = asyncio.get_running_loop()
    while True:
        why = sorted({phone.why for phone in phones if phone.why})[:3]
        print(json.dumps({"registered": sum(phone.registered for phone in phones), "why": why}), flush=True)
        if not await loop.run_in_executor(None, sys.stdin.readline):
            break


asyncio.run(main())
