"""Makers of small files of known structure."""

import base64
import random
import struct

MARK = "¦"


def text(marked: str) -> bytes:
    """The text without its marks."""
    return marked.replace(MARK, "").encode()


def eicar() -> bytes:
    return text("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EI¦CAR-STANDARD-ANTI¦VIRUS-TEST-FILE!$H+H*")


def noise(size: int) -> bytes:
    """Bytes of nearly eight bits of entropy each, the same every time."""
    return random.Random(7).randbytes(size)


def encoded_command(command: str) -> str:
    return base64.b64encode(command.encode("utf-16-le")).decode()


READ, WRITE, EXECUTE, CODE = 0x40000000, 0x80000000, 0x20000000, 0x20


def pe(sections: list[tuple[str, bytes, int]], entry: int, *, gap: bytes = b"") -> bytes:
    """A 32-bit Windows program: sections as name, bytes on disk and flags, each 64 KiB of memory, and no imports.

    The entry point is the start of section number ``entry``; ``gap`` stands between the headers and the sections.
    """
    count = len(sections)
    headers = 0x1000
    optional = struct.pack("<HBBIIIIII", 0x10B, 14, 0, 0x1000, 0, 0, 0x10000 * (entry + 1), 0x10000, 0x10000)
    size = 0x10000 * (count + 1)
    optional += struct.pack("<IIIHHHHHHIIIIHH", 0x400000, 0x10000, 0x200, 6, 0, 0, 0, 6, 0, 0, size, headers, 0, 3, 0)
    optional += struct.pack("<IIIIII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16) + bytes(16 * 8)
    image = b"MZ" + bytes(58) + struct.pack("<I", 0x80)
    image = image.ljust(0x80, b"\0") + b"PE\0\0"
    image += struct.pack("<HHIIIHH", 0x14C, count, 0, 0, 0, len(optional), 0x102) + optional
    body = b""
    for index, (name, raw, flags) in enumerate(sections):
        padded = raw + bytes(-len(raw) % 0x200)
        offset = headers + len(body) if raw else 0
        where = (0x10000, 0x10000 * (index + 1), len(padded), offset)
        image += struct.pack("<8sIIIIIIHHI", name.encode(), *where, 0, 0, 0, 0, flags)
        body += padded
    return (image + gap).ljust(headers, b"\0") + body


def elf32(code: bytes) -> bytes:
    """A 32-bit Linux program of one segment, without sections."""
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    header += struct.pack("<IIIIIIII", 1, 84, 0x8048000, 0x8048000, len(code), len(code), 5, 0x1000)
    return header + code


def elf(code: bytes, *, sections: int = 0, kinds: tuple[int, ...] = (1,)) -> bytes:
    """A 64-bit Linux program whose segments, of the given kinds, are all the same bytes."""
    start = 64 + 56 * len(kinds)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400000 + start, 64, 0, 0, 64, 56, len(kinds), 64, sections, 0)
    for kind in kinds:
        header += struct.pack("<IIQQQQQQ", kind, 5, start, 0x400000, 0x400000, len(code), len(code), 0x1000)
    return header + code


def zip_of(*members: tuple[str, bytes]) -> bytes:
    """A zip archive that stores its members without compression."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def pdf(*objects: str) -> bytes:
    """A PDF document of these objects, without a cross-reference table (readers rebuild it)."""
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in enumerate(objects, start=1))
    return text("%PDF-1.7\n" + body + "trailer\n<< /Root 1 0 R >>\n%%EOF\n")


def ole(*streams: bytes, names: tuple[str, ...] = ()) -> bytes:
    """An OLE file's magic, its directory names in UTF-16, and the streams one after another."""
    directory = b"".join(name.encode("utf-16-le").ljust(128, b"\0") for name in names)
    return bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504) + directory + b"".join(streams)


def tar_of(name: str, content: bytes) -> bytes:
    """A tar archive of one file."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
