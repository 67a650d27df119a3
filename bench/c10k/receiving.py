"""Who pays for receiving: the server for what it receives.

Fact: a packet that one end of a veth pair sends is received by the other *in the sender's
softirq*.  So the clients' core would do the server's receiving: each ACK that opens a window, and
with it the sending of what fits into that window, which is much of the kernel's work for a slow
client.  The server's core would do the clients' receiving.  And what is done in an interrupt while
the server's core idles is on nobody's account.

Decision: the server's end receives by NAPI in a thread of its own (the kernel's "threaded NAPI"),
which is in the server's control group: its work is counted there, and waits when the quota is used
up, as it would on a slow processor.  The clients' end receives where the packet was sent, by the
server in most cases.  Steering it to the clients' core (RPS) was tried: an interrupt to another
core costs a virtual machine several times what receiving does, and the server would pay for it.

Cost: a wake-up of that thread for each batch of packets, in place of a network card's interrupt,
and the clients' receiving, in place of a network card's driver and its interrupts for what is sent.

Two facts of veth.  It has NAPI only where generic receive offload is on; and it uses it for TCP
only where the *other* end has no segmentation offload.  So the clients' end has none: they send
commands and ACKs, which are no segments of anything.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from pathlib import Path

from c10k.cgroups import Group
from c10k.tools import NoBoxError, said

SIOCETHTOOL = 0x8946
ETHTOOL_STSO = 0x1F
ETHTOOL_SGRO = 0x2C


def prepare(outer: str, inner: str) -> None:
    """Before the devices are up: the server's makes its NAPI instances then.

    Raises:
        NoBoxError: the kernel's veth cannot.
    """
    switch(outer, ETHTOOL_STSO, 0, "segmentation offload that can be switched off")
    switch(inner, ETHTOOL_SGRO, 1, "receive offload")


def switch(device: str, command: int, value: int, what: str) -> None:
    data = ctypes.create_string_buffer(struct.pack("II", command, value))
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(data))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)
        except OSError as error:
            raise NoBoxError(f"{device} has no {what}: {error}") from error


def give_thread(namespace: str, inner: str, group: Group) -> None:
    """Once the device is up: its thread is made, and moved into the group.

    Raises:
        NoBoxError: this kernel has no threaded NAPI (Linux 5.12 has).
    """
    script = f"echo 1 > /sys/class/net/{inner}/threaded"
    said(["ip", "netns", "exec", namespace, "sh", "-c", script])
    for thread in threads_of(inner):
        group.adopt(thread)


def threads_of(device: str) -> list[int]:
    found = [
        int(place.parent.name)
        for place in Path("/proc").glob("[0-9]*/comm")
        if read(place).startswith(f"napi/{device}-")
    ]
    if not found:
        raise NoBoxError(f"{device} has no thread that receives")
    return found


def read(place: Path) -> str:
    try:
        return place.read_text()
    except OSError:  # the process has ended
        return ""
