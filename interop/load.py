"""Many light phones in one process: SIP over TLS with digest, offers of SDES-SRTP, and no sound.

For checks that need two hundred calls, or the exact second of a BYE; a real softphone is in `phones`. A phone
here offers SRTP like any other and has a port that takes what comes, but never says anything and never decrypts.
Everything runs in one thread with an event loop of its own: `Load.run` brings a coroutine there.
"""

import asyncio
import base64
import hashlib
import os
import re
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY_AND_SALT = 30  # octets
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass
class Call:
    """One call that a phone made. Times are monotonic seconds."""

    number: str
    id: str
    status: int = 0  # of the final answer; 0: none yet
    phrase: str = ""
    reason: str = ""  # of the final answer, or of the BYE that ended the call
    warning: str = ""
    rang: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    ended_by: str = ""  # `them`, `us`; empty while up or never answered
    offer: str = ""
    answer: str = ""
    to: str = ""
    target: str = ""
    routes: list = field(default_factory=list)
    sequence: int = 0
    branch: str = ""
    media: object = None
    final: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def seconds(self):
        return self.ended - self.answered if self.answered and self.ended else 0.0


class LoadError(Exception):
    pass


class Load:
    """The thread in which the phones of a check live. Use with `with`."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.clients = []
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.run(self._leave())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)

    def run(self, work, timeout=60):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    async def _leave(self):
        readers = [client._task for client in self.clients if client._task is not None]
        for client in self.clients:
            client.drop()
        await asyncio.gather(*readers, return_exceptions=True)

    def client(self, account, ca):
        client = Client(account, ca)
        self.clients.append(client)
        return client

    def register(self, accounts, ca):
        """A phone for each account, registered."""
        clients = [self.client(account, ca) for account in accounts]
        self.run(together([client.register() for client in clients]))
        return clients


async def together(work, at_once=16):
    """Handshakes cost both sides; a burst of hundreds says more about the machine than about the server."""
    places = asyncio.Semaphore(at_once)

    async def one(part):
        async with places:
            return await part

    return await asyncio.gather(*(one(part) for part in work))


class Client:
    """One phone over one connection. Its methods run in the thread of its `Load`."""

    def __init__(self, account, ca):
        self.account = account
        self.ca = ca
        self.calls = {}
        self._answers = {}  # branch -> queue
        self._nonce = None  # (realm, nonce, algorithm, opaque)
        self._count = 0
        self._sequence = 0
        self._writer = None
        self._task = None
        self.answers = False  # calls that come in; else 486
        self._instance = secrets.token_hex(6)

    async def connect(self):
        context = ssl.create_default_context(cafile=str(self.ca))
        a = self.account
        reader, self._writer = await asyncio.open_connection(a.domain, a.port, ssl=context, server_hostname=a.domain)
        self._local = self._writer.get_extra_info("sockname")
        self._task = asyncio.ensure_future(self._read(reader))

    def drop(self):
        """The phone is gone: no goodbye, its ports close."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._task.cancel()
            self._writer = None
        for call in self.calls.values():
            if call.media is not None:
                call.media.close()

    async def register(self, expires=600):
        if self._writer is None:
            await self.connect()
        a = self.account
        tag, call = secrets.token_hex(6), secrets.token_hex(12)
        lines = [f"From: <sip:{a.number}@{a.domain}>;tag={tag}", f"To: <sip:{a.number}@{a.domain}>", f"Call-ID: {call}"]
        lines += [f"Contact: <{self._contact()}>", f"Expires: {expires}"]
        answer = await self._ask("REGISTER", f"sip:{a.domain}", lines)
        if answer.status != 200:
            raise LoadError(f"{a.number}: registration refused: {answer.status} {answer.phrase}")

    def _contact(self):
        return f"sip:{self.account.number}-{self._instance}@{self._local[0]}:{self._local[1]};transport=tls"

    async def call(self, number, timeout=15):
        """Returns when there is a final answer."""
        a = self.account
        call = Call(number, secrets.token_hex(12))
        self.calls[call.id] = call
        call.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        call.media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # nobody reads it
        call.media.bind((self._local[0], 0))
        call.tag = secrets.token_hex(6)
        call.offer = self._sdp(call)
        uri = f"sip:{number}@{a.domain}"
        lines = [f"From: <sip:{a.number}@{a.domain}>;tag={call.tag}", f"To: <{uri}>", f"Call-ID: {call.id}"]
        lines += [f"Contact: <{self._contact()}>", "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS", "Content-Type: application/sdp"]
        answer = await self._ask("INVITE", uri, lines, call.offer, timeout, call)
        call.status, call.phrase = answer.status, answer.phrase
        call.reason, call.warning = answer.get("reason"), answer.get("warning")
        if answer.status == 200:
            call.answered, call.answer = time.monotonic(), answer.body
            call.to = answer.get("to")
            call.target = re.search(r"<([^>]*)>", answer.get("contact")).group(1)
            call.routes = list(reversed(answer.all("record-route")))
            self._within(call, "ACK", call.sequence)
        else:
            call.ended = time.monotonic()
            call.media.close()
            call.over.set()
        call.final.set()
        return call

    async def hang_up(self, call):
        call.ended, call.ended_by = time.monotonic(), "us"
        self._sequence += 1
        branch = self._within(call, "BYE", self._sequence)
        queue = self._answers[branch] = asyncio.Queue()
        try:
            return await asyncio.wait_for(queue.get(), 5)
        finally:
            del self._answers[branch]
            call.media.close()
            call.over.set()

    def _within(self, call, method, sequence):
        a = self.account
        branch = "z9hG4bK" + secrets.token_hex(8)
        lines = [f"Route: {route}" for route in call.routes]
        lines += [f"From: <sip:{a.number}@{a.domain}>;tag={call.tag}", f"To: {call.to}", f"Call-ID: {call.id}"]
        self._send(f"{method} {call.target} SIP/2.0", branch, f"{sequence} {method}", lines)
        return branch

    def _sdp(self, call):
        key = base64.b64encode(os.urandom(KEY_AND_SALT)).decode()
        here, port = call.media.getsockname()
        lines = ["v=0", f"o=load {secrets.randbits(31)} 1 IN IP4 {here}", "s=-", f"c=IN IP4 {here}", "t=0 0"]
        lines += [f"m=audio {port} RTP/SAVP 0", "a=rtpmap:0 PCMU/8000", f"a=crypto:1 {SUITE} inline:{key}", "a=sendrecv"]
        return "\r\n".join(lines) + "\r\n"

    # Transactions.

    async def _ask(self, method, uri, lines, body="", timeout=10, call=None):
        """The final answer; a challenge is answered once."""
        header = None
        for attempt in range(3):
            self._sequence += 1
            branch = "z9hG4bK" + secrets.token_hex(8)
            if call is not None:
                call.sequence, call.branch = self._sequence, branch
            queue = self._answers[branch] = asyncio.Queue()
            proof = [self._proof(header, method, uri)] if header else []
            self._send(f"{method} {uri} SIP/2.0", branch, f"{self._sequence} {method}", lines + proof, body)
            try:
                answer = await asyncio.wait_for(self._final(queue, call), timeout)
            except asyncio.TimeoutError:
                raise LoadError(f"{self.account.number}: no answer to {method} {uri} within {timeout} s") from None
            finally:
                del self._answers[branch]
            if method == "INVITE" and answer.status >= 300:
                to = [f"To: {answer.get('to')}" if line.startswith("To: ") else line for line in lines[:3]]
                self._send(f"ACK {uri} SIP/2.0", branch, f"{self._sequence} ACK", to)
            if answer.status not in (401, 407) or attempt == 2:
                return answer
            header = "Authorization" if answer.status == 401 else "Proxy-Authorization"
            self._challenge(answer.all("www-authenticate" if answer.status == 401 else "proxy-authenticate"))

    async def _final(self, queue, call):
        while True:
            answer = await queue.get()
            if answer is None:
                raise LoadError(f"{self.account.number}: the connection is gone")
            if answer.status >= 200:
                return answer
            if call is not None and answer.status == 180 and not call.rang:
                call.rang = time.monotonic()

    def _challenge(self, challenges):
        for text in challenges:
            part = lambda name: (re.search(rf'\b{name}="?([^",]*)"?', text, re.I) or [None, ""])[1]  # noqa: E731
            if (part("algorithm") or "MD5") in HASHES:
                self._nonce = (part("realm"), part("nonce"), part("algorithm") or "MD5", part("opaque"))
                self._count = 0
                return
        raise LoadError(f"no digest that is known here: {challenges}")

    def _proof(self, header, method, uri):
        realm, nonce, algorithm, opaque = self._nonce
        digest = lambda text: HASHES[algorithm](text.encode()).hexdigest()  # noqa: E731
        self._count += 1
        count, ours = f"{self._count:08x}", secrets.token_hex(8)
        ha1 = digest(f"{self.account.number}:{realm}:{self.account.secret}")
        response = digest(f"{ha1}:{nonce}:{count}:{ours}:auth:{digest(f'{method}:{uri}')}")
        text = f'Digest username="{self.account.number}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        text += f'algorithm={algorithm}, qop=auth, nc={count}, cnonce="{ours}"'
        return f"{header}: {text}" + (f', opaque="{opaque}"' if opaque else "")

    # The wire.

    def _send(self, start, branch, sequence, lines, body=""):
        if self._writer is None:
            raise LoadError(f"{self.account.number}: not connected")
        via = f"Via: SIP/2.0/TLS {self._local[0]}:{self._local[1]};branch={branch};rport"
        head = [start, via, "Max-Forwards: 70", *lines, f"CSeq: {sequence}", f"Content-Length: {len(body)}"]
        self._writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    async def _read(self, reader):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lstrip("\r\n")
                if not head:
                    continue
                size = re.search(r"^(?:content-length|l)\s*:\s*(\d+)", head, re.M | re.I)
                body = (await reader.readexactly(int(size.group(1)))).decode() if size else ""
                message = Message(head, body)
                if message.status:
                    branch = re.search(r"branch=([^;,\s]+)", message.get("via")).group(1)
                    if branch in self._answers:
                        self._answers[branch].put_nowait(message)
                    elif message.status == 200 and message.get("cseq").endswith("INVITE"):
                        self._again(message)
                else:
                    self._asked(message)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        self._writer = None
        for queue in self._answers.values():
            queue.put_nowait(None)

    def _again(self, message):
        """A repeated 200 wants its ACK again."""
        call = self.calls.get(message.get("call-id"))
        if call is not None and call.answered:
            self._within(call, "ACK", call.sequence)

    def _asked(self, message):
        call = self.calls.get(message.get("call-id"))
        if message.method == "ACK":
            return
        if message.method == "BYE" and call is not None:
            if not call.ended:
                call.ended, call.ended_by, call.reason = time.monotonic(), "them", message.get("reason")
                call.media.close()
            call.over.set()
            self._reply(message, "200 OK")
        elif message.method == "INVITE" and call is not None and call.answered and not call.ended:
            more = [f"Contact: <{self._contact()}>", "Content-Type: application/sdp"]
            self._reply(message, "200 OK", more, call.offer)
        elif message.method in ("OPTIONS", "UPDATE"):
            self._reply(message, "200 OK")
        elif message.method == "INVITE" and self.answers:
            self._take(message)
        elif message.method == "INVITE":
            self._reply(message, "486 Busy Here")
        else:
            self._reply(message, "481 Call/Transaction Does Not Exist")

    def _take(self, message):
        """Answers at once. Who calls is of no interest here, only that the call comes up."""
        call = Call("", message.get("call-id"))
        call.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        call.media.bind((self._local[0], 0))
        call.answered = time.monotonic()
        call.offer = self._sdp(call)
        self.calls[call.id] = call
        more = [f"Contact: <{self._contact()}>", "Content-Type: application/sdp"]
        self._reply(message, "200 OK", more, call.offer)

    def _reply(self, message, status, more=(), body=""):
        lines = [f"SIP/2.0 {status}"] + [f"Via: {via}" for via in message.all("via")]
        to = message.get("to")
        lines += [f"From: {message.get('from')}", f"To: {to}" if "tag=" in to else f"To: {to};tag={secrets.token_hex(4)}"]
        lines += [f"Call-ID: {message.get('call-id')}", f"CSeq: {message.get('cseq')}", *more, f"Content-Length: {len(body)}"]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


class Message:
    """As much of a message as this needs: `status` (0 for requests), `method`, headers by lower-case name."""

    def __init__(self, head, body):
        start, *lines = head.rstrip("\r\n").split("\r\n")
        self.body = body
        self.status = int(start[8:11]) if start.startswith("SIP/2.0 ") else 0
        self.phrase = start[12:] if self.status else ""
        self.method = "" if self.status else start.split(" ")[0]
        self._headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def all(self, name):
        return [value for known, value in self._headers if known == name]

    def get(self, name):
        return next(iter(self.all(name)), "")
