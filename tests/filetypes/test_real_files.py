"""What real files of every kind are identified as; each is made here, byte by byte or by the tool that makes such."""

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import tarfile
import uuid
import zipfile
import zlib
from pathlib import Path

import pytest

from psengine_host.filetypes import categories_of, identify_bytes, identify_path, takes
from psengine_host.filetypes.libmagic import READ_LIMIT

OOXML = "application/vnd.openxmlformats-officedocument."
ODF = "application/vnd.oasis.opendocument."


def a_zip(*names, pad=0, prefix=b""):
    """A ZIP archive with these entries, and one of ``pad`` incompressible bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, f"content of {name}" * 3)
        if pad:
            archive.writestr("pad.bin", os.urandom(pad))
    return prefix + memory.getvalue()


def an_opendocument(kind, pad=0):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("mimetype", ODF + kind)
        archive.writestr("content.xml", "<office:document-content/>")
        archive.writestr("pad.bin", bytes(pad))
    return memory.getvalue()


def a_tar(mode):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode=mode) as archive:
        member = tarfile.TarInfo("hello.txt")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    return memory.getvalue()


def a_pe(machine=0x14C, characteristics=0x102, subsystem=2):
    """A PE with one section that returns (PE Format, Microsoft Learn: DOS stub, COFF header, optional header)."""
    optional = struct.pack(
        "<HBBIIIIIIIIIHHHHHHIIIIHHIIIIII",
        0x10B, 14, 0, 0x200, 0, 0, 0x1000, 0x1000, 0x2000, 0x400000, 0x1000, 0x200, 6, 0, 0, 0, 6, 0,
        0, 0x3000, 0x200, 0, subsystem, 0, 0x100000, 0x1000, 0x100000, 0x1000, 0, 16,
    ) + bytes(128)  # fmt: skip
    dos = (b"MZ" + bytes(58) + struct.pack("<I", 0x80)).ljust(0x80, b"\0")
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), characteristics)
    section = b".text\0\0\0" + struct.pack("<IIIIIIHHI", 0x200, 0x1000, 0x200, 0x200, 0, 0, 0, 0, 0x60000020)
    return (dos + coff + optional + section).ljust(0x200, b"\0") + b"\xc3" * 0x200


def an_mz(signature):
    """A DOS program with the header of a later format behind it."""
    return b"MZ" + bytes(58) + struct.pack("<I", 0x80) + bytes(0x40) + signature + bytes(100)


def an_elf(kind, bits=64, order="<"):
    """An ELF header (System V ABI, chapter 4) of type ``kind``: 1 object, 2 executable, 3 shared, 4 core."""
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if bits == 64 else "I"
    size, program, section = (64, 56, 64) if bits == 64 else (52, 32, 40)
    machine = 62 if bits == 64 else 8
    return ident + struct.pack(
        f"{order}HHI{word * 3}IHHHHHH", kind, machine, 1, 0, 0, 0, 0, size, program, 0, section, 0, 0
    )


def an_ole2(*streams, fat_padding=0):
    """A compound file (MS-CFB) of 512-byte sectors with these streams of 4,096 bytes.

    ``fat_padding`` puts that many free sectors before the directory, so that it lies far into the file.
    """
    fat_sectors = (3 + fat_padding + 8 * len(streams)) // 128 + 1
    directory_at = fat_sectors + fat_padding
    fat = [0xFFFFFFFD] * fat_sectors + [0xFFFFFFFF] * fat_padding + [0xFFFFFFFE]
    entries, data = [], b""
    for number, (name, content) in enumerate(streams, 1):
        at = len(fat)
        fat += [*range(at + 1, at + 8), 0xFFFFFFFE]
        entries.append(_ole2_entry(name, 2, at, 4096, right=number + 1 if number < len(streams) else 0xFFFFFFFF))
        data += content.ljust(4096, b"\0")
    directory = _ole2_entry("Root Entry", 5, 0xFFFFFFFE, 0, child=1 if streams else 0xFFFFFFFF) + b"".join(entries)
    header = (
        bytes.fromhex("d0cf11e0a1b11ae1")
        + bytes(16)
        + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(6)
        + struct.pack("<10I", 0, fat_sectors, directory_at, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0, 0)
        + struct.pack(f"<{fat_sectors - 1}I", *range(1, fat_sectors))
    ).ljust(512, b"\xff")
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(512 * fat_sectors, b"\xff")
    return header + table + bytes(512 * fat_padding) + directory.ljust(512, b"\0") + data


def _ole2_entry(name, kind, start, size, child=0xFFFFFFFF, right=0xFFFFFFFF):
    text = name.encode("utf-16-le") + b"\0\0"
    head = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, 0xFFFFFFFF, right, child)
    return head + bytes(16) + struct.pack("<IQQIQ", 0, 0, 0, start, size)


def a_summary(application):
    """A SummaryInformation stream (MS-OLEPS) that names the application which wrote the file."""
    name = application.encode() + b"\0"
    name = name.ljust(-(-len(name) // 4) * 4, b"\0")
    section = struct.pack("<IIII", 16 + 8 + len(name), 1, 18, 16) + struct.pack("<II", 30, len(name)) + name
    fmtid = uuid.UUID("f29f85e0-4ff9-1068-ab91-08002b27b3d9").bytes_le
    return struct.pack("<HHI16sI", 0xFFFE, 0, 0x20005, bytes(16), 1) + fmtid + struct.pack("<I", 48) + section


def an_ar(*members):
    """An archive of ``ar``, which a Debian package is."""
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content)
    return b"".join(parts)


def a_film(signature, version):
    """A Flash film of one frame; the part after eight bytes is packed as the signature says."""
    body = bytes.fromhex("7800055f00000fa000000c01004408000000430200000000bf1400") + bytes(60)
    head = signature + bytes([version]) + struct.pack("<I", 8 + len(body))
    if signature == b"CWS":
        return head + zlib.compress(body)
    if signature == b"ZWS":
        packed = lzma.compress(body, lzma.FORMAT_ALONE)
        return head + struct.pack("<I", len(packed) - 13) + packed[:5] + packed[13:]
    return head + body


def an_eot():
    """The header of an Embedded OpenType font (W3C submission) of the family Arial."""
    family = "Arial".encode("utf-16-le")
    fixed = struct.pack("<IIII", 400, 200, 0x00020001, 0) + bytes(10) + b"\1\0" + struct.pack("<I", 400)
    return (fixed + struct.pack("<H", 0) + b"LP" + bytes(46) + struct.pack("<H", len(family)) + family).ljust(
        400, b"\0"
    )


def a_font(flavour, tables):
    return (
        flavour
        + struct.pack(">HHHH", len(tables), 128, 3, 64)
        + b"".join(tag + struct.pack(">III", 0, 12 + 16 * len(tables), 16) for tag in tables)
        + bytes(64)
    )


TRUETYPE = [b"OS/2", b"cmap", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp", b"name", b"post"]
RPM = b"\xed\xab\xee\xdb\3\0\0\0\0\1" + b"hello-1.0-1".ljust(66, b"\0") + b"\0\1\0\5" + bytes(16) + b"\x8e\xad\xe8\1"
DEB = an_ar(("debian-binary", b"2.0\n"), ("control.tar.gz", gzip.compress(b"x")), ("data.tar.gz", gzip.compress(b"x")))
ICON = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, 40, 22) + struct.pack("<I", 40) + bytes(60)
FAT_MACH_O = (
    struct.pack(">II", 0xCAFEBABE, 2)
    + struct.pack(">IIIII", 0x01000007, 3, 4096, 100, 12)
    + struct.pack(">IIIII", 0x0100000C, 0, 8192, 100, 14)
    + bytes(100)
)
DOCX_PARTS = ("[Content_Types].xml", "_rels/.rels", "docProps/app.xml")

# (what, content, mimetype, a category that the table promises for it)
FILES = [
    ("zip", a_zip("hello.txt"), "application/zip", "archives"),
    ("empty zip", b"PK\5\6" + bytes(18), "application/zip", "archives"),
    ("jar", a_zip("META-INF/MANIFEST.MF", "Main.class"), "application/java-archive", "archives"),
    ("jar, manifest last", a_zip("Main.class", "META-INF/MANIFEST.MF"), "application/java-archive", "archives"),
    ("apk", a_zip("AndroidManifest.xml", "classes.dex"), "application/vnd.android.package-archive", "android"),
    (
        "apk, signature first, then resources",
        a_zip("META-INF/MANIFEST.MF", "res/icon.png", "resources.arsc", "AndroidManifest.xml", "classes.dex"),
        "application/vnd.android.package-archive",
        "android",
    ),
    ("tar", a_tar("w"), "application/x-tar", "archives"),
    ("gzip", gzip.compress(b"hello"), "application/gzip", "archives"),
    ("tar.gz", a_tar("w:gz"), "application/gzip", "archives"),
    ("bzip2", bz2.compress(b"hello"), "application/x-bzip2", "archives"),
    ("xz", lzma.compress(b"hello"), "application/x-xz", "archives"),
    ("7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24), "application/x-7z-compressed", "archives"),
    ("rar 4", b"Rar!\x1a\7\0" + bytes(20), "application/vnd.rar", "archives"),
    ("rar 5", b"Rar!\x1a\7\1\0" + bytes(20), "application/vnd.rar", "archives"),
    ("pe", a_pe(), "application/x-dosexec", "pe"),
    ("pe of x86-64", a_pe(machine=0x8664), "application/x-dosexec", "winnt"),
    ("dll", a_pe(characteristics=0x2102), "application/x-dosexec", "pe"),
    ("driver", a_pe(subsystem=1), "application/x-dosexec", "winnt"),
    ("dos program", b"MZ" + bytes(200), "application/x-dosexec", "pe"),
    ("16-bit windows program", an_mz(b"NE"), "application/x-dosexec", "pe"),
    ("virtual device driver", an_mz(b"LE"), "application/x-dosexec", "pe"),
    ("elf object", an_elf(1), "application/x-object", "elf"),
    ("elf executable", an_elf(2), "application/x-executable", "elf"),
    ("elf executable, 32-bit, big-endian", an_elf(2, bits=32, order=">"), "application/x-executable", "linux"),
    ("elf shared object", an_elf(3), "application/x-sharedlib", "elf"),
    ("elf core dump", an_elf(4), "application/x-coredump", "linux"),
    ("mach-o 64", struct.pack("<8I", 0xFEEDFACF, 0x01000007, 3, 2, 0, 0, 0, 0), "application/x-mach-binary", "mach-o"),
    ("mach-o 32", struct.pack(">7I", 0xFEEDFACE, 18, 0, 2, 0, 0, 0), "application/x-mach-binary", "osx"),
    ("mach-o universal", FAT_MACH_O, "application/x-mach-binary", "osx"),
    ("deb", DEB, "application/x-dpkg", "linux"),
    ("rpm", RPM, "application/x-rpm", "linux"),
    ("cpio", b"070701" + b"0" * 104, "application/x-cpio", "linux"),
    ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", "application/pdf", "pdf"),
    ("rtf", b"{\\rtf1\\ansi hello}", "application/rtf", "rtf"),
    ("doc", an_ole2(("WordDocument", b"\xec\xa5\xc1\0")), "application/msword", "office (ms)"),
    ("xls", an_ole2(("Workbook", b"\x09\x08\x10\0")), "application/vnd.ms-excel", "office (ms)"),
    (
        "ppt",
        an_ole2(("PowerPoint Document", b""), ("\5SummaryInformation", a_summary("Microsoft Office PowerPoint"))),
        "application/vnd.ms-powerpoint",
        "office (ms)",
    ),
    ("docx", a_zip(*DOCX_PARTS, "word/document.xml"), OOXML + "wordprocessingml.document", "office (ms)"),
    ("docm", a_zip(*DOCX_PARTS, "word/vbaProject.bin"), OOXML + "wordprocessingml.document", "office (ms)"),
    ("xlsx", a_zip(*DOCX_PARTS, "xl/workbook.xml"), OOXML + "spreadsheetml.sheet", "office (ms)"),
    ("pptx", a_zip(*DOCX_PARTS, "ppt/presentation.xml"), OOXML + "presentationml.presentation", "office (ms)"),
    ("odt", an_opendocument("text"), ODF + "text", "office (open)"),
    ("ods", an_opendocument("spreadsheet"), ODF + "spreadsheet", "office (open)"),
    ("odp", an_opendocument("presentation"), ODF + "presentation", "office (open)"),
    ("odb", an_opendocument("base"), ODF + "database", "office (open)"),
    (
        "abw",
        b'<?xml version="1.0"?>\n<abiword xmlns:awml="x">\n</abiword>',
        "application/x-abiword",
        "office (abiword)",
    ),
    ("ics", b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n", "text/calendar", "office (etc)"),
    ("vcs", b"BEGIN:VCALENDAR\r\nVERSION:1.0\r\nEND:VCALENDAR\r\n", "text/calendar", "office (etc)"),
    ("swf", a_film(b"FWS", 6), "application/x-shockwave-flash", "flash"),
    ("swf, zlib", a_film(b"CWS", 10), "application/x-shockwave-flash", "flash"),
    ("swf, lzma", a_film(b"ZWS", 13), "application/x-shockwave-flash", "flash"),
    ("ttf", a_font(b"\0\1\0\0", TRUETYPE), "font/ttf", "font"),
    ("ttf of apple", a_font(b"true", TRUETYPE), "font/ttf", "font"),
    ("otf", a_font(b"OTTO", [b"CFF ", *TRUETYPE]), "font/otf", "font"),
    ("woff", b"wOFF\0\1\0\0" + bytes(36), "font/woff", "font"),
    ("woff2", b"wOF2\0\1\0\0" + bytes(40), "font/woff2", "font"),
    ("eot", an_eot(), "application/vnd.ms-fontobject", "font"),
    ("ico", ICON, "image/vnd.microsoft.icon", "winnt"),
    ("html", b"<!DOCTYPE html><html><body></body></html>", "text/html", "text & script"),
    ("xml", b'<?xml version="1.0"?>\n<a/>\n', "text/xml", "text & script"),
    ("json", b'{"a": [1, 2, {"b": null}]}', "application/json", "text & script"),
    ("sh", b"#!/bin/sh\necho hello\n", "application/x-sh", "text & script"),
    ("bash", b"#!/bin/bash\necho hello\n", "application/x-sh", "text & script"),
    ("sh through env", b"#!/usr/bin/env sh\necho hello\n", "application/x-sh", "text & script"),
    ("csh", b"#!/bin/csh -f\nset a = 1\n", "application/x-csh", "text & script"),
    ("tcsh through env", b"#!/usr/bin/env -S tcsh\nset a = 1\n", "application/x-csh", "text & script"),
    ("python", b"#!/usr/bin/env python3\nimport os\n", "text/x-python", "text & script"),
    ("python without its first line", b"import os\n\ndef main():\n    pass\n", "text/x-python", "text & script"),
    ("php", b"<?php\necho 1;\n", "application/x-httpd-php", "text & script"),
    ("javascript", b"#!/usr/bin/env node\nconsole.log(1)\n", "application/javascript", "text & script"),
    ("text", b"Nothing to see here.\n", "text/plain", "text & script"),
    ("unknown", b"\0\1\2\3\x80\xff" * 20, "application/octet-stream", "archives"),
]


@pytest.mark.parametrize(("content", "mimetype", "promised"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_real_file_has_the_type_and_the_category_of_the_table(tmp_path, content, mimetype, promised):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert identify_path(path) == identify_bytes(content) == mimetype
    assert promised in categories_of(mimetype)
    assert takes(mimetype, (), (promised,))


# What the table has no place for, or libmagic no name: documented in docs/reference/file-types.md.
HONEST = [
    ("csv", b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n", "text/csv"),
    ("json lines", b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson"),
    ("perl", b"#!/usr/bin/perl\nprint 1;\n", "text/x-perl"),
    ("batch", b"@echo off\r\necho hello\r\n", "text/x-msdos-batch"),
    ("powershell", b"$a = New-Object Net.WebClient\n", "text/plain"),
    ("vbscript", b'Set a = CreateObject("WScript.Shell")\r\n', "text/plain"),
    ("javascript without a hint", b"var a = 1;\nalert(a);\n", "text/plain"),
    ("coffeescript", b"square = (x) -> x * x\n", "text/plain"),
    ("a line that only looks like a shell's", b"#!/opt/not-a-shell/crash\n", "text/plain"),
    ("encrypted office", an_ole2(("EncryptedPackage", b""), ("EncryptionInfo", b"")), "application/encrypted"),
    ("compound file without a known stream", an_ole2(("Something", b"")), "application/x-ole-storage"),
    ("powerpoint without its summary", an_ole2(("PowerPoint Document", b"")), "application/x-ole-storage"),
    ("ar", an_ar(("a.txt", b"hello!")), "application/x-archive"),
    ("nothing", b"", "application/x-empty"),
]


@pytest.mark.parametrize(("content", "mimetype"), [row[1:] for row in HONEST], ids=[row[0] for row in HONEST])
def test_what_libmagic_cannot_tell_or_the_table_has_not_is_said_honestly(tmp_path, content, mimetype):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert identify_path(path) == identify_bytes(content) == mimetype


def test_the_programs_that_run_this_test_are_elf():
    import _ctypes

    for path in (Path(sys.executable).resolve(), Path(_ctypes.__file__)):
        assert "elf" in categories_of(identify_path(path)), path
    assert identify_path(_ctypes.__file__) == "application/x-sharedlib"


@pytest.mark.parametrize(
    ("names", "mimetype"),
    [
        (("a.txt",), "application/zip"),
        ((*DOCX_PARTS, "word/document.xml"), OOXML + "wordprocessingml.document"),
        ((*DOCX_PARTS, "xl/workbook.xml"), OOXML + "spreadsheetml.sheet"),
        ((*DOCX_PARTS, "ppt/presentation.xml"), OOXML + "presentationml.presentation"),
        (("Main.class", "META-INF/MANIFEST.MF"), "application/java-archive"),
        (("res/a", "AndroidManifest.xml", "classes.dex"), "application/vnd.android.package-archive"),
    ],
)
def test_a_zip_container_larger_than_what_libmagic_reads_keeps_its_type(tmp_path, names, mimetype):
    content = a_zip(*names, pad=READ_LIMIT + 1000)
    (tmp_path / "big").write_bytes(content)
    assert identify_path(tmp_path / "big") == identify_bytes(content) == mimetype


def test_a_zip_with_more_before_and_behind_is_read_by_where_its_directory_ends(tmp_path):
    inner = a_zip("res/a", "AndroidManifest.xml", "classes.dex")
    shifted = a_zip("b.txt") + inner  # the offsets in the second directory are off by the first archive's length
    path = tmp_path / "file"
    path.write_bytes(shifted)
    assert identify_path(path) == "application/vnd.android.package-archive"
    commented = bytearray(inner)
    commented[-2:] = struct.pack("<H", 500)
    path.write_bytes(bytes(commented) + b"c" * 500)
    assert identify_path(path) == "application/vnd.android.package-archive"


def test_a_zip64_directory_is_found(tmp_path):
    plain = a_zip("res/a", "AndroidManifest.xml", "classes.dex")
    end = plain.rindex(b"PK\5\6")
    count, length, start = struct.unpack_from("<HII", plain, end + 10)
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, length, start)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    final = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path = tmp_path / "file"
    path.write_bytes(plain[:end] + record + locator + final)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 3
    assert identify_path(path) == "application/vnd.android.package-archive"


def test_a_name_inside_another_name_or_inside_content_does_not_change_the_type():
    assert (
        identify_bytes(a_zip("a/AndroidManifest.xml", "a/classes.dex", "x.META-INF/MANIFEST.MF")) == "application/zip"
    )
    assert identify_bytes(a_zip("x", "AndroidManifest.xml.txt", "classes.dex.txt", "sword/x")) == "application/zip"
    assert identify_bytes(a_zip("x", "[Content_Types].xml", "sword/x")) == "application/zip"
    assert identify_bytes(a_zip("x", "word/document.xml")) == "application/zip"


@pytest.mark.parametrize("cut", [1, 10, 22, 40, 60])
def test_a_damaged_zip_is_still_a_zip(tmp_path, cut):
    content = a_zip("hello.txt", pad=READ_LIMIT)[:-cut]
    (tmp_path / "file").write_bytes(content)
    assert identify_path(tmp_path / "file") == identify_bytes(content) == "application/zip"


def test_the_directory_of_a_large_word_document_is_found_far_behind_what_is_read(tmp_path):
    content = an_ole2(("WordDocument", b"\xec\xa5\xc1\0"), fat_padding=2 * READ_LIMIT // 512)
    assert content.index("WordDocument".encode("utf-16-le")) > READ_LIMIT
    path = tmp_path / "big.doc"
    path.write_bytes(content)
    assert identify_path(path) == "application/msword"
