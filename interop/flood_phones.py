"""Phones over UDP in one process: they register, and half of them call the other half, so many a second.

    flood_phones.py SERVER PORT < accounts, as a line of JSON

Then a line `{"calls_a_second": 50, "seconds": 20}` for each run; the answer is a line of JSON.
A call is INVITE with digest, an answer at once, a second of nothing, and BYE. Requests are repeated as
RFC 3261 has it. A call counts as completed when it was answered and its BYE was confirmed.
"""

import asyncio
import json
import re
import sys
import time

import load
from servers import Account

T1 = 0.5
LASTS = 1.0


class Wire(asyncio.DatagramProtocol):
    """Stands where a stream's writer does: takes whole messages."""

    def __init__(self, phone):
        self.phone = phone

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, _):
        self.phone.received(data)

    def write(self, data):
        self.transport.sendto(data)


class Phone(load.Client):
    """A light phone over datagrams."""

    def __init__(self, account, host):
        super().__init__(account, None)
        self._host = host
        self._answered = {}  # branch and method of a request -> what was answered

    async def connect(self):
        a = self.account
        place = {"local_addr": (self._host, 0), "remote_addr": (a.domain, a.port)}
        _, self._writer = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Wire(self), **place)
        self._local = self._writer.transport.get_extra_info("sockname")

    def _contact(self):
        return f"sip:{self.account.number}@{self._local[0]}:{self._local[1]}"

    def _sdp(self, call):
        here, port = call.media.getsockname()
        lines = ["v=0", "o=load 1 1 IN IP4 " + here, "s=-", f"c=IN IP4 {here}", "t=0 0"]
        return "\r\n".join([*lines, f"m=audio {port} RTP/AVP 0", "a=sendrecv"]) + "\r\n"

    def _send(self, start, branch, sequence, lines, body=""):
        via = f"Via: SIP/2.0/UDP {self._local[0]}:{self._local[1]};branch={branch};rport"
        head = [start, via, "Max-Forwards: 70", *lines, f"CSeq: {sequence}", f"Content-Length: {len(body)}"]
        data = ("\r\n".join(head) + "\r\n\r\n" + body).encode()
        self._writer.write(data)
        if not start.startswith("ACK"):
            asyncio.ensure_future(self._repeat(data, branch))

    async def _repeat(self, data, branch):
        gap = T1
        while gap < 8:
            await asyncio.sleep(gap)
            if branch not in self._answers:
                return
            self._writer.write(data)
            gap *= 2

    def received(self, data):
        head, _, body = data.decode().partition("\r\n\r\n")
        message = load.Message(head, body)
        branch = re.search(r"branch=([^;,\s]+)", message.get("via")).group(1)
        if message.status:
            if branch in self._answers:
                self._answers[branch].put_nowait(message)
            elif message.status == 200 and message.get("cseq").endswith("INVITE"):
                self._again(message)
        elif (branch, message.method) in self._answered:
            self._writer.write(self._answered[branch, message.method])
        else:
            self._asked(message)

    def _reply(self, message, status, more=(), body=""):
        wire, self._writer = self._writer, self
        try:
            super()._reply(message, status, more, body)
        finally:
            self._writer = wire
        branch = re.search(r"branch=([^;,\s]+)", message.get("via")).group(1)
        self._answered[branch, message.method] = self._replied
        wire.write(self._replied)

    def write(self, data):
        self._replied = data


async def one_call(caller, number, out):
    began = time.monotonic()
    try:
        call = await caller.call(number, timeout=10)
        if call.status != 200:
            out["refused"].append(call.status)
            return
        out["setup"].append(time.monotonic() - began)
        await asyncio.sleep(LASTS)
        if (await caller.hang_up(call)).status == 200:
            out["completed"] += 1
        caller.calls.pop(call.id, None)
    except (load.LoadError, asyncio.TimeoutError, TimeoutError) as error:
        out["lost"].append(str(error) or "no answer to BYE")


async def run(phones, calls_a_second, seconds):
    out = {"attempted": 0, "completed": 0, "refused": [], "lost": [], "setup": []}
    callers, called = phones[::2], phones[1::2]
    running = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        while out["attempted"] < elapsed * calls_a_second:
            place = out["attempted"] % len(callers)
            running.append(asyncio.ensure_future(one_call(callers[place], called[place].account.number, out)))
            out["attempted"] += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*running)
    setup = sorted(out.pop("setup")) or [0]
    out["setup_median_ms"] = round(setup[len(setup) // 2] * 1000)
    out["setup_99_ms"] = round(setup[len(setup) * 99 // 100] * 1000)
    out["cpu"] = time.process_time()
    return out


async def main():
    server, port = sys.argv[1], int(sys.argv[2])
    accounts = json.loads(sys.stdin.readline())
    phones = [Phone(Account(a["number"], a["secret"], server, port), a["host"]) for a in accounts]
    for phone in phones:
        phone.answers = True
        await phone.register(3600)
    print(json.dumps({"registered": len(phones)}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await run(phones, **json.loads(line))), flush=True)


asyncio.run(main())
