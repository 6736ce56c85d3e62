"""The smallest DNS server that serves: A records of the rig's names, for phones with a
resolver of their own. Everything else does not exist (NXDOMAIN), or has no such record."""

import socket
import struct
import threading


def serve(address, names):
    """Answers in a thread of its own until the program ends. `names`: host name to IPv4 address."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(address)
    threading.Thread(target=_loop, args=(sock, names), daemon=True).start()
    return sock


def _loop(sock, names):
    while True:
        try:
            query, peer = sock.recvfrom(1500)
            sock.sendto(_answer(query, names), peer)
        except (IndexError, struct.error):
            continue  # not a question; whoever sent it gets nothing
        except OSError:
            return


def _answer(query, names):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    question, kind = query[12 : at + 5], struct.unpack(">H", query[at + 1 : at + 3])[0]
    address = names.get(".".join(labels).lower())
    found = address is not None and kind == 1
    flags = 0x8580 | (0 if address is not None else 3)  # answer, authoritative; 3 = NXDOMAIN
    head = query[:2] + struct.pack(">HHHHH", flags, 1, int(found), 0, 0)
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address) if found else b""
    return head + question + record
