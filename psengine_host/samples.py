"""Harmless samples: the EICAR test string, plain and wrapped, and files that only look like it.

The string is the industry's agreed test file (https://www.eicar.org/download-anti-malware-testfile/): 68 bytes
that every scanner reports and that do nothing. It is kept encoded here, and no file of this package holds it in
clear, so that no virus scanner removes the package.

What a sample is expected to be is said for an engine that searches a file's bytes for the 68 bytes of the string,
wherever they stand. An engine that unpacks or decodes finds it in more of them; each description says what is inside.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psengine_host.errors import PsengineError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Expected", "Sample", "SampleError", "eicar", "write_samples"]

Expected = Literal["malicious", "benign"]
"""The answer of an engine that searches the bytes of a file for the EICAR test string."""

_ENCODED = "C`KwzH%u-heKT7xBw%=5Ra!kVOhhm<T2d23EGH&xIzk{Idu}WsASpp4JtsLOEIcwgLosMOJ6<w#Y%M@mB}Xk;"
"""The EICAR test string, exclusive-ored with ``_KEY`` repeated, in base 85."""

_KEY = b"psengine-host: harmless"

_DATE = (2024, 1, 1, 0, 0, 0)
_DATE_SECONDS = 1_704_067_200
"""The same moment in every archive (UTC), so that the samples are the same bytes each time."""


class SampleError(PsengineError):
    """The samples cannot be written where they were asked for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it was written.

    Attributes:
        path: The file.
        description: What is in it, in one line.
        expected: The answer of an engine that searches the file's bytes for the EICAR test string.
    """

    path: Path
    description: str
    expected: Expected


@dataclasses.dataclass(frozen=True, slots=True)
class _Recipe:
    """How one sample is made: its file name, what it is, and its bytes."""

    name: str
    expected: Expected
    description: str
    make: Callable[[], bytes]


@functools.cache
def eicar() -> bytes:
    """The EICAR test string, decoded on the first call.

    Returns:
        The 68 bytes, without a line end.
    """
    import base64

    key = _KEY * 3
    return bytes(byte ^ mask for byte, mask in zip(base64.b85decode(_ENCODED), key, strict=False))


def write_samples(folder: Path) -> tuple[Sample, ...]:
    """Write all samples into a folder, which is made if it is missing.

    A folder that holds anything else is left as it is. Samples that are there already with the same bytes stay, so
    that a second run, or one after an interruption, completes the folder.

    Args:
        folder: Where to write. Its parents are made too.

    Returns:
        Every sample, those that were there already too, in the order they are listed in.

    Raises:
        SampleError: The folder holds something else, is no folder, or cannot be written.
    """
    contents = {recipe.name: recipe.make() for recipe in _recipes()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = _present(folder, contents)
    except (FileExistsError, NotADirectoryError) as error:
        raise SampleError(f"{error.filename}: is a file, not a folder: name another folder") from error
    except OSError as error:
        raise SampleError(
            f"{error.filename or folder}: cannot be used ({error.strerror}): name another folder"
        ) from error
    samples = []
    for recipe in _recipes():
        path = folder / recipe.name
        if recipe.name not in present:
            _write(path, contents[recipe.name])
        samples.append(Sample(path, recipe.description, recipe.expected))
    return tuple(samples)


def _present(folder: Path, contents: dict[str, bytes]) -> set[str]:
    """The names of the samples that stand in the folder already; anything else there is an error."""
    present = set()
    for path in sorted(folder.iterdir()):
        expected = contents.get(path.name)
        if expected is None:
            raise SampleError(f"{folder}: holds {path.name!r}, which is no sample: name an empty or a new folder")
        # The size is compared first: a file that took a sample's name may be huge.
        regular = path.is_file() and not path.is_symlink()
        if not regular or path.stat().st_size != len(expected) or path.read_bytes() != expected:
            raise SampleError(f"{path}: is not the sample of that name: remove it, or name an empty or a new folder")
        present.add(path.name)
    return present


def _write(path: Path, content: bytes) -> None:
    """Write a new file; one that appeared meanwhile is not overwritten."""
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except OSError as error:
        raise SampleError(
            f"{path}: cannot be written ({error.strerror}): free the place or name another folder; "
            "a virus scanner that guards it may be at work"
        ) from error


def _zip(name: str, content: bytes, *, deflated: bool = False) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    member = zipfile.ZipInfo(name, _DATE)
    member.create_system = 3  # Unix, on every platform
    member.external_attr = 0o100644 << 16
    member.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


def _gzip(content: bytes) -> bytes:
    import gzip
    import io

    buffer = io.BytesIO()
    # Not gzip.compress(): its header differs between Python versions.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def _tar(name: str, content: bytes) -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mtime = _DATE_SECONDS
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _pdf(text: str, attachment: bytes | None = None) -> bytes:
    """A one-page PDF 1.4 without compression, scripts or actions, with a file attached or not."""
    shown = f"BT /F1 18 Tf 72 720 Td ({text}) Tj ET".encode("ascii")
    names = b"" if attachment is None else b" /Names << /EmbeddedFiles << /Names [(eicar.com) 6 0 R] >> >>"
    fonts = b"<< /Font << /F1 5 0 R >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R" + names + b" >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources " + fonts + b" >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(shown), shown),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    if attachment is not None:
        objects += [
            b"<< /Type /Filespec /F (eicar.com) /EF << /F 7 0 R >> >>",
            b"<< /Type /EmbeddedFile /Length %d >>\nstream\n%s\nendstream" % (len(attachment), attachment),
        ]
    document = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    document += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(document)


def _png() -> bytes:
    """A grey picture of one pixel (PNG specification, third edition, section 5)."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00\x80", level=0)  # stored: the same bytes with every zlib
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _mail() -> bytes:
    import base64

    return (
        b"From: Samples <samples@example.com>\r\n"
        b"To: You <you@example.com>\r\n"
        b"Subject: The EICAR test file\r\n"
        b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
        b"Message-ID: <eicar@example.com>\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="sample"\r\n'
        b"\r\n"
        b"--sample\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"\r\n"
        b"The test file is attached.\r\n"
        b"--sample\r\n"
        b"Content-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="eicar.com"\r\n'
        b"\r\n" + base64.encodebytes(eicar()).replace(b"\n", b"\r\n") + b"--sample--\r\n"
    )


def _html(body: bytes) -> bytes:
    return (
        b'<!DOCTYPE html>\n<html lang="en"><head><title>Sample</title></head>\n<body>\n' + body + b"\n</body></html>\n"
    )


def _data_uri() -> bytes:
    import base64

    return b"data:application/octet-stream;base64," + base64.b64encode(eicar())


def _json() -> bytes:
    import json

    return json.dumps({"name": "eicar.com", "content": eicar().decode("ascii")}, indent=2).encode("ascii") + b"\n"


def _recipes() -> tuple[_Recipe, ...]:
    """Every sample: first those in which the string stands in clear, then those that hide it, then the look-alikes."""
    return (
        _Recipe("eicar.com", "malicious", "the EICAR test file: the 68 bytes and nothing else", eicar),
        _Recipe(
            "eicar-padded.com",
            "malicious",
            "the EICAR test file with white space after it, up to the 128 bytes that its definition allows",
            lambda: (eicar() + b" \t\r\n\x1a").ljust(128, b" "),
        ),
        _Recipe("eicar-line.txt", "malicious", "the EICAR test string with a line end", lambda: eicar() + b"\r\n"),
        _Recipe(
            "eicar-in-text.txt",
            "malicious",
            "text with the EICAR test string in the middle (its definition asks for it at the start of a file)",
            lambda: b"The test string is\n\n    " + eicar() + b"\n\nand it does nothing.\n",
        ),
        _Recipe(
            "eicar.html",
            "malicious",
            "a web page that shows the EICAR test string",
            lambda: _html(b"<pre>" + eicar() + b"</pre>"),
        ),
        _Recipe(
            "eicar.sh",
            "malicious",
            "a shell script that prints the EICAR test string from a here-document",
            lambda: b"#!/bin/sh\ncat <<'END'\n" + eicar() + b"\nEND\n",
        ),
        _Recipe(
            "eicar.pdf",
            "malicious",
            "a PDF document with the EICAR test file attached, not compressed",
            lambda: _pdf("The EICAR test file is attached", eicar()),
        ),
        _Recipe(
            "eicar-stored.zip",
            "malicious",
            "a ZIP archive that stores the EICAR test file without compression",
            lambda: _zip("eicar.com", eicar()),
        ),
        _Recipe(
            "eicar-stored-twice.zip",
            "malicious",
            "a ZIP archive in a ZIP archive, both without compression, with the EICAR test file in the inner one",
            lambda: _zip("eicar.zip", _zip("eicar.com", eicar())),
        ),
        _Recipe(
            "eicar.tar",
            "malicious",
            "a tar archive with the EICAR test file (tar does not compress)",
            lambda: _tar("eicar.com", eicar()),
        ),
        _Recipe(
            "hidden-deflated.zip",
            "benign",
            "the EICAR test file in a ZIP archive, compressed (deflate): a search of the bytes does not see it",
            lambda: _zip("eicar.com", eicar(), deflated=True),
        ),
        _Recipe(
            "hidden.com.gz",
            "benign",
            "the EICAR test file compressed with gzip: a search of the bytes does not see it",
            lambda: _gzip(eicar()),
        ),
        _Recipe(
            "hidden.eml",
            "benign",
            "an e-mail with the EICAR test file attached in base64: a search of the bytes does not see it",
            _mail,
        ),
        _Recipe(
            "hidden-data-uri.html",
            "benign",
            "a web page that links to the EICAR test file as a base64 data: URI: a search of the bytes does not see it",
            lambda: _html(b'<a download="eicar.com" href="' + _data_uri() + b'">eicar.com</a>'),
        ),
        _Recipe(
            "hidden-utf16.txt",
            "benign",
            "the EICAR test string as UTF-16 text, two bytes a character: a search of the bytes does not see it",
            lambda: b"\xff\xfe" + eicar().decode("ascii").encode("utf-16-le"),
        ),
        _Recipe(
            "hidden-hex.txt",
            "benign",
            "the EICAR test string in hexadecimal: a search of the bytes does not see it",
            lambda: eicar().hex().encode("ascii") + b"\n",
        ),
        _Recipe(
            "hidden.json",
            "benign",
            "the EICAR test string in JSON, where its backslash is doubled: a search of the bytes does not see it",
            _json,
        ),
        _Recipe(
            "broken.com",
            "benign",
            "the EICAR test file with one letter changed (TAST instead of TEST)",
            lambda: eicar().replace(b"-TEST-", b"-TAST-"),
        ),
        _Recipe("lower-case.com", "benign", "the EICAR test file in lower case", lambda: eicar().lower()),
        _Recipe("cut-short.com", "benign", "the EICAR test file without its last byte", lambda: eicar()[:-1]),
        _Recipe(
            "two-lines.txt",
            "benign",
            "the EICAR test string broken by a line end",
            lambda: eicar()[:35] + b"\n" + eicar()[35:] + b"\n",
        ),
        _Recipe(
            "about-eicar.txt",
            "benign",
            "text about the EICAR test file, with its name in it",
            lambda: (
                b"Scanners report the file of 68 bytes that contains EICAR-STANDARD-ANTIVIRUS-TEST-FILE,\n"
                b"which was agreed upon so that an installation can be tested without any danger.\n"
            ),
        ),
        _Recipe("empty.bin", "benign", "an empty file", lambda: b""),
        _Recipe("pixel.png", "benign", "a picture of one grey pixel", _png),
        _Recipe(
            "page.pdf", "benign", "a PDF document of one page, without scripts", lambda: _pdf("Nothing to see here")
        ),
        _Recipe("page.html", "benign", "a web page without scripts", lambda: _html(b"<p>Nothing to see here.</p>")),
        _Recipe(
            "list-files.sh",
            "benign",
            "a shell script that lists the files of a folder",
            lambda: b'#!/bin/sh\n# Lists a folder, newest first.\nset -eu\nls -lt -- "${1:-.}"\n',
        ),
        _Recipe(
            "settings.json",
            "benign",
            "settings in JSON",
            lambda: b'{\n  "language": "en",\n  "window": {"width": 800, "height": 600},\n  "recent": []\n}\n',
        ),
    )
