"""Where the rig keeps what it installed, and how its programs are started."""

import os
import sys
from pathlib import Path

INTEROP = Path(__file__).resolve().parent
PROJECT = INTEROP.parent
CACHE = Path(os.environ.get("RINGFENCE_INTEROP_CACHE") or Path.home() / ".cache/ringfence-interop")
SID = CACHE / "sid/root"  # unpacked Debian sid packages, run with their own loader
VENV = CACHE / "venv"
# The rig's hosts, for the hosts file and for DNS (see names.py). Each carrier has an address of its own.
NAMES = {"pbx.test": "127.0.0.1", "other.test": "127.0.0.1", "carrier.test": "127.0.0.11", "second.test": "127.0.0.12"}


def sid_command(program):
    """The command line that runs a program of the unpacked tree with the libraries it was built for."""
    library = SID / "usr/lib/x86_64-linux-gnu"
    return [SID / "usr/lib64/ld-linux-x86-64.so.2", "--argv0", Path(program).name, "--library-path", library, SID / program]


def enter():
    """Goes on in the rig's own Python and in a private network, so that no port can be taken
    by somebody else and no packet can leave: replaces this process by itself, there."""
    if os.environ.get("RINGFENCE_INTEROP_INSIDE") == "1":
        return
    if os.geteuid() != 0:
        sys.exit("interop: needs root, for a network namespace and a capture in it")
    python = VENV / "bin/python"
    if not python.exists():
        sys.exit(f"interop: {python} is missing; run interop/setup first")
    hosts = CACHE / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in NAMES.items()))
    resolver = CACHE / "resolv.conf"  # see names.py
    resolver.write_text("nameserver 127.0.0.1\n")
    # linphone registers only where a default route exists; this one leads nowhere.
    wire = "ip link add rig0 type veth peer name rig1 && ip addr add 198.18.0.1/24 dev rig0 && "
    wire += "ip link set rig0 up && ip link set rig1 up && ip route add default via 198.18.0.2 && "
    inner = wire + 'ip link set lo up && mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'
    command = ["unshare", "--net", "--mount", "sh", "-c", inner, "sh", str(hosts), str(resolver), str(python), *sys.argv]
    os.environ["RINGFENCE_INTEROP_INSIDE"] = "1"
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.execvp("unshare", command)
