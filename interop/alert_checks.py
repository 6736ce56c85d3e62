"""Alerts against a real mail server (aiosmtpd) and a webhook: who is told, in which words, how often. See `run`.

The attack is a real one: SIP over TLS from many addresses of loopback, a wrong password each.
"""

import email
import email.policy
import hashlib
import hmac
import http.server
import json
import queue
import re
import secrets
import socket
import ssl
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from checks import Result
from office import Office

HOST = "carrier.test"  # where mail server and webhook listen: an address of their own
USER, TO, FROM = "pbx", "grace@example.com", "pbx@example.com"


class Mailbox:
    """aiosmtpd that wants STARTTLS and a login, and keeps what it takes. `stop` and `start` as often as wanted."""

    def __init__(self, certificate, port=2525):
        self.port = port
        self.password = secrets.token_urlsafe(12)
        self.taken = queue.Queue()
        self.answer = "250 taken"
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate.chain, certificate.key)
        self._controller = None

    async def handle_DATA(self, server, session, envelope):
        if self.answer.startswith("250"):
            self.taken.put((envelope.mail_from, envelope.rcpt_tos, bytes(envelope.content)))
        return self.answer

    def _login(self, server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (USER.encode(), self.password.encode()))

    def start(self):
        self._controller = Controller(
            self,
            hostname=socket.gethostbyname(HOST),
            port=self.port,
            tls_context=self._tls,
            require_starttls=True,
            auth_required=True,
            authenticator=self._login,
        )
        self._controller.start()

    def stop(self):
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def next(self, timeout=20):
        """The mail as a mail program reads it, and its raw bytes."""
        sender, to, raw = self.taken.get(timeout=timeout)
        assert (sender, to) == (FROM, [TO]), (sender, to)
        return email.message_from_bytes(raw, policy=email.policy.default), raw


class Hook:
    """A webhook over HTTPS that keeps what it takes, and answers as told."""

    def __init__(self, certificate, port=8443):
        self.secret = secrets.token_urlsafe(12)
        self.taken = queue.Queue()
        self.status = 204
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if hook.status == 204:
                    hook.taken.put((dict(self.headers), body))
                self.send_response(hook.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer((socket.gethostbyname(HOST), port), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate.chain, certificate.key)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"https://{HOST}:{port}/alerts/{secrets.token_urlsafe(8)}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def next(self, timeout=20):
        headers, body = self.taken.get(timeout=timeout)
        signed = headers["ringfence-timestamp"].encode() + b"." + body
        expected = "v1=" + hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["ringfence-signature"] == expected, headers
        return json.loads(body)


def guess(server, account, addresses, user=None):
    """One wrong password for this account from each of these addresses of loopback."""
    context = ssl.create_default_context(cafile=str(server.ca))
    user = user or account
    for address in addresses:
        raw = socket.create_connection((server.name, server.port), 10, source_address=(address, 0))
        with context.wrap_socket(raw, server_hostname=server.name) as stream:
            challenge = ask(stream, server, user, "")
            words = dict(re.findall(r'(\w+)="?([^",\s]+)"?', challenge))
            response = secrets.token_hex(32 if words.get("algorithm") == "SHA-256" else 16)
            proof = f'Authorization: Digest username="{user}", realm="{words["realm"]}", nonce="{words["nonce"]}", '
            proof += f'uri="sip:{server.name}", response="{response}", algorithm={words.get("algorithm", "MD5")}, '
            proof += 'qop=auth, nc=00000001, cnonce="00"' + (f', opaque="{words["opaque"]}"' if "opaque" in words else "")
            ask(stream, server, user, proof + "\r\n")


def ask(stream, server, user, proof):
    plain = re.sub(r"[^a-z0-9]", "x", user)
    branch, here = secrets.token_hex(8), stream.getsockname()
    text = f"REGISTER sip:{server.name} SIP/2.0\r\nVia: SIP/2.0/TLS {here[0]}:{here[1]};branch=z9hG4bK{branch}\r\n"
    text += f"From: <sip:{plain}@{server.name}>;tag={branch}\r\nTo: <sip:{plain}@{server.name}>\r\nCall-ID: {branch}\r\n"
    text += f"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:{plain}@{here[0]}:{here[1]};transport=tls>\r\n"
    stream.sendall((text + proof + "Content-Length: 0\r\n\r\n").encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        more = stream.recv(4096)
        if not more:
            break
        answer += more
    return answer.decode(errors="replace")


def alerts(folder):
    """Once for each incident, in the right words, to a real mail server and a webhook; a dead one loses nothing."""
    results = []

    def check(ok, detail):
        results.append(Result("alerts", bool(ok), detail))

    with Office(folder, "alerts") as office:
        server, certificate = office.server, office.authority.issue(HOST, socket.gethostbyname(HOST))
        mailbox, hook = Mailbox(certificate), Hook(certificate)
        mailbox.start()
        try:
            numbers = [office.extension().number for _ in range(4)]
            sinks(office, mailbox, hook)
            check(*distrusted(office, mailbox))

            swarm = [f"127.0.1.{host}" for host in range(1, 9)]
            guess(server, numbers[0], swarm)
            mail, _ = mailbox.next()
            post = hook.next()
            title = f"many machines guess the password of account {numbers[0]}"
            text = mail.get_content()
            words = ["What happened", "127.0.1.", "Done already", "To do", f"ringfence alerts show {post['incident']}"]
            ok = mail["subject"] == f"[critical] {title}" and (post["title"], post["severity"]) == (title, "critical")
            check(ok and all(word in text for word in words), f"a swarm of 8: one mail, one request: {mail['subject']}")

            guess(server, numbers[0], [f"127.0.2.{host}" for host in range(1, 41)])
            until = time.monotonic() + 10
            while (seen := incident(server, post["incident"]))["events"] < 40 and time.monotonic() < until:
                time.sleep(0.2)
            ok = mailbox.taken.empty() and hook.taken.empty() and seen["events"] >= 40
            check(ok, f"40 more addresses: the same incident, {seen['events']} events, nobody told again")

            hostile = "x\u202egnp\u2028Bcc: all@example.com"
            guess(server, "", [f"127.0.3.{host}" for host in range(1, 6)], user=hostile)
            mail, raw = mailbox.next()
            post = hook.next()
            shown = mail["subject"] + mail.get_content() + json.dumps(post, ensure_ascii=False)
            ok = mail["bcc"] is None and not re.search("[\u2028\u202e]", shown) and raw.isascii() and "gnp" in shown
            check(ok, f"a hostile account name breaks out of nothing: {mail['subject']}")

            check(*outage(office, mailbox, hook, numbers[1:]))
        finally:
            mailbox.stop()
            hook.stop()
    return results


def incident(server, number):
    return next(one for one in server.command("alerts") if one["incident"] == number)


def sinks(office, mailbox, hook):
    password, key = office.folder / "mail.secret", office.folder / "hook.secret"
    for path, text in ((password, mailbox.password), (key, hook.secret)):
        path.write_text(text + "\n")
        path.chmod(0o600)
    trust = ["--authority", office.authority.certificate, "--private"]
    words = ["alerts", "sink", "add", "mail", "--to", TO, "--from", FROM, "--server", f"{HOST}:{mailbox.port}"]
    office.server.say(*words, "--user", USER, "--secret-file", password, *trust)
    office.server.say("alerts", "sink", "add", "webhook", "--url", hook.url, "--secret-file", key, *trust)


def distrusted(office, mailbox):
    """Control: the same mail server where nobody vouches for its certificate, and where it isn't public."""
    words = ["alerts", "sink", "add", "mail", "--to", TO, "--from", FROM, "--server", f"{HOST}:{mailbox.port}", "--json"]
    refused = []
    for more, why in ((["--private"], "not trusted here"), ([], "--private")):
        sink = None
        try:
            sink = json.loads(office.server.say(*words, *more))[0]["sink"]
            office.server.say("alerts", "sink", "test", sink)
        except Exception as error:
            refused.append(why in str(error))
        if sink is not None:
            office.server.say("alerts", "sink", "remove", sink)
    return refused == [True, True] and mailbox.taken.empty(), "control: an unknown authority and a private address get no mail"


def outage(office, mailbox, hook, numbers):
    """Both dead, through a restart of the node: nothing is lost, order is kept, and nobody is told twice."""
    server = office.server
    mailbox.stop()
    hook.status = 503
    for number in numbers:
        server.say("extension", "reveal", number)
    until = time.monotonic() + 15
    while not all(sink["why"] for sink in server.command("alerts", "sink", "list")):
        if time.monotonic() > until:
            return False, "the sinks don't say that they fail"
        time.sleep(0.1)
    server.stop()
    server.start()
    mailbox.start()
    hook.status = 204
    mail, _ = mailbox.next(timeout=30)
    text = mail.get_content()
    at = [text.find(f"extension {number}") for number in numbers]
    posts = [hook.next(timeout=30)["about"] for _ in numbers]
    time.sleep(1)
    names = [entry["name"] for entry in server.command("journal", "show", "--limit", "10000")]
    once = mailbox.taken.empty() and hook.taken.empty()
    ok = f"{len(numbers)} alerts" in mail["subject"] and -1 not in at and at == sorted(at)
    ok = ok and posts == [f"extension {number}" for number in numbers] and once
    ok = ok and server.command("journal", "verify")["intact"] and names.count("incident-opened") == 2 + len(numbers)
    return ok, f"both dead, the node restarted: {mail['subject']}; {len(posts)} requests in order; nobody told twice"


ALL = {"alerts": alerts}
