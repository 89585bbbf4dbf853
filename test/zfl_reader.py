#!/usr/bin/env python3
"""Reader of zfl/1 written from docs/formats/zfl.md alone.

usage: zfl_reader.py OBJECTS DIGEST FOLDER    extracts the flist DIGEST from the folder of objects to FOLDER
"""
import ctypes
import ctypes.util
import hashlib
import os
import stat
import struct
import sys

BLOCK = 4096
TYPES = ["directory", "file", "symlink", "character", "block", "fifo", "socket", "hardlink"]
BITS = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "symlink": stat.S_IFLNK, "character": stat.S_IFCHR,
        "block": stat.S_IFBLK, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}

zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_isError.restype = ctypes.c_uint
zstd.ZSTD_isError.argtypes = [ctypes.c_size_t]


def sha256(data):
    return hashlib.sha256(data).digest()


def leaves(data):
    out = []
    for at in range(0, len(data), BLOCK):
        out.append(sha256(data[at:at + BLOCK].ljust(BLOCK, b"\0")))
    return b"".join(out)


def unpack(data, limit):
    room = min(limit, 1 << 20)
    while True:
        out = ctypes.create_string_buffer(room)
        size = zstd.ZSTD_decompress(out, ctypes.c_size_t(room), data, ctypes.c_size_t(len(data)))
        if not zstd.ZSTD_isError(size):
            return out.raw[:size]
        if room == limit:
            raise ValueError("damaged zstd frame, or more than an object may have")
        room = min(limit, room * 4)


def read_object(objects, identity, kind):
    name = identity.hex()
    with open(os.path.join(objects, name[:2], name[2:]), "rb") as file:
        stored = file.read()
    raw, packed, limit = (1, 2, 512 << 10) if kind == "chunk" else (3, 4, 256 << 20)
    prefix = stored[0] & ~0x10
    if prefix == raw:
        data = stored[1:]
    elif prefix == packed:
        data = unpack(stored[1:], limit)
    else:
        raise ValueError(f"{name} is no {kind}")
    found = sha256(leaves(data)) if kind == "chunk" else sha256(data)
    if found != identity:
        raise ValueError(f"{name} has the id {found.hex()}")
    return data


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, count):
        if self.at + count > len(self.data):
            raise ValueError("manifest ends early")
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def blob(self):
        return self.bytes(self.varint())


def chunk_size(size):
    return 512 << 10 if size > 64 << 20 else 128 << 10


def is_packed(size):
    return 0 < size <= 16384


def packing(types, parents, sizes):
    """Blocks of each pack, and (pack, first block) of each packed entry."""
    members = {n: [] for n, t in enumerate(types) if t == "directory"}
    for n, t in enumerate(types):
        if t == "file" and is_packed(sizes[n]):
            members[parents[n]].append(n)
    packs, places = [], {}
    for directory in sorted(members):
        is_open = False
        for n in members[directory]:
            blocks = -(-sizes[n] // BLOCK)
            if not is_open or packs[-1] + blocks > 32:
                packs.append(0)
                is_open = True
            places[n] = (len(packs) - 1, packs[-1])
            packs[-1] += blocks
    return packs, places


def decode(data):
    c = Cursor(data)
    if c.bytes(6) != b"zfl/1\n" or c.varint() not in (1, 2):
        raise ValueError("not zfl/1")
    count = c.varint()
    types = [TYPES[t] for t in c.bytes(count)]
    parents, stack = [0], [0]
    for n in range(1, count):
        for _ in range(c.varint()):
            stack.pop()
        parents.append(stack[-1])
        if types[n] == "directory":
            stack.append(n)
    names = [b""] + [c.blob() for _ in range(count - 1)]
    sets = [[]]
    for _ in range(c.varint()):
        sets.append([(c.blob(), c.blob()) for _ in range(c.varint())])
    owners = [(c.varint(), c.varint(), c.varint(), c.varint()) for _ in range(c.varint())]
    own = [n for n in range(count) if types[n] != "hardlink"]
    owner = {n: owners[c.varint()] for n in own}
    seconds, last = {}, 0
    for n in own:
        z = c.varint()
        last += z // 2 if z % 2 == 0 else -(z + 1) // 2
        seconds[n] = last
    nanoseconds = {n: c.varint() for n in own}
    sizes = {n: c.varint() for n in range(count) if types[n] == "file"}
    targets = {n: c.blob() for n in range(count) if types[n] == "symlink"}
    devices = {n: (c.varint(), c.varint()) for n in range(count) if types[n] in ("character", "block")}
    links = {n: n - c.varint() for n in range(count) if types[n] == "hardlink"}
    packs, places = packing(types, parents, sizes)

    named = 0

    def reference():
        nonlocal named
        n = c.varint()
        if n == 1:
            named += 1
            return named - 1
        return None if n == 0 else n - 2

    pack_refs = [reference() for _ in packs]
    chunk_refs = {n: [reference() for _ in range(-(-size // chunk_size(size)))]
                  for n, size in sizes.items() if size > 16384}
    for _ in range(c.varint()):
        reference()
    ids = [c.bytes(32) for _ in range(named)]
    fingerprints = c.bytes(32)
    c.blob()
    for _ in range(c.varint()):
        c.blob(), c.blob(), c.varint(), c.blob()
    c.bytes(32), c.varint(), c.varint(), c.varint(), c.bytes(32)
    for _ in range(c.varint()):
        c.varint()
    if c.at != len(data):
        raise ValueError("bytes after the manifest")
    return locals()


def fs_verity(data, size):
    hashes = leaves(data)
    while len(hashes) > 32:
        hashes = leaves(hashes)
    root = hashes if size else bytes(32)
    return sha256(struct.pack("<BBBB4xQ32s", 1, 1, 12, 0, size, root).ljust(256, b"\0"))


def extract(objects, digest, folder):
    m = decode(read_object(objects, bytes.fromhex(digest), "blob"))
    prints = read_object(objects, m["fingerprints"], "blob")
    os.mkdir(folder)
    paths, file_number = [os.fsencode(folder)], 0

    def content(n):
        size = m["sizes"][n]
        if size == 0:
            return b""
        if n in m["places"]:
            pack, block = m["places"][n]
            data = read_object(objects, m["ids"][m["pack_refs"][pack]], "chunk")
            return data[block * BLOCK:block * BLOCK + size]
        parts = []
        for ref in m["chunk_refs"][n]:
            parts.append(bytes(chunk_size(size)) if ref is None else read_object(objects, m["ids"][ref], "chunk"))
        return b"".join(parts)[:size]

    def dress(n):
        mode, uid, gid, attributes = m["owner"][n]
        os.chown(paths[n], uid, gid, follow_symlinks=False)
        for name, value in m["sets"][attributes]:
            os.setxattr(paths[n], name, value, follow_symlinks=False)
        if m["types"][n] != "symlink":
            os.chmod(paths[n], mode)
        time = m["seconds"][n] * 10**9 + m["nanoseconds"][n]
        os.utime(paths[n], ns=(time, time), follow_symlinks=False)

    for n, kind in enumerate(m["types"]):
        if n == 0:
            continue
        path = os.path.join(paths[m["parents"][n]], m["names"][n])
        paths.append(path)
        if kind == "directory":
            os.mkdir(path)
        elif kind == "file":
            data = content(n)
            if fs_verity(data, m["sizes"][n]) != prints[32 * file_number:32 * file_number + 32]:
                raise ValueError(f"{path} has another fingerprint")
            file_number += 1
            with open(path, "xb") as file:
                file.write(data)
        elif kind == "symlink":
            os.symlink(m["targets"][n], path)
        elif kind == "hardlink":
            os.link(paths[m["links"][n]], path, follow_symlinks=False)
        else:
            device = os.makedev(*m["devices"][n]) if n in m["devices"] else 0
            os.mknod(path, BITS[kind] | 0o600, device)
        if kind not in ("directory", "hardlink"):
            dress(n)
    for n in reversed(range(len(paths))):
        if m["types"][n] == "directory":
            dress(n)


if __name__ == "__main__":
    extract(*sys.argv[1:4])
