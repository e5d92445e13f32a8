"""EICAR, packers, programs and archives."""

import base64

from yara_pack_samples.making import CODE, EXECUTE, READ, WRITE, eicar, elf, elf32, noise, pdf, pe, tar_of, text, zip_of

UPX_STUB = bytes.fromhex("60be00104000 8dbe00f0ffff 57 83cdff eb10".replace(" ", ""))
MPRESS_STUB = bytes.fromhex("60e80000000058055a0b00008b3003f02bc08bfe66ad".replace(" ", ""))
ASPACK_STUB = bytes.fromhex("60e803000000e9eb045d4555c3e801000000eb5d")
UPX64_STUB = bytes.fromhex("53565755488d3525f0ffff488dbe00e0feff")
MPRESS64_STUB = bytes.fromhex("5756535152415048 8d05de0a0000".replace(" ", ""))
RWX = READ | WRITE | EXECUTE | CODE


def upx(*, marker: bytes, raw: bytes = b"", stub: bytes = UPX_STUB) -> bytes:
    return pe([("UPX0", raw, RWX), ("UPX1", stub + noise(2048), RWX)], 1, gap=marker)


def bot(*, logins: tuple[str, ...]) -> bytes:
    strings = ["/bin/busybox MI¦RAI", "/dev/misc/watch¦dog", "/proc/net/tcp", "udp flood", *logins]
    return elf(b"\0".join(text(each) for each in strings) + b"\0", sections=5)


PAIRS = {
    "EICAR_Test_File": (eicar() + b"\r\n", b"The string: " + eicar()),
    "EICAR_In_Container": (
        tar_of("sample.com", eicar()),
        tar_of("sample.com", eicar().replace(b"-TEST-", b"-TAST-")),
    ),
    # Both are UPX's layout; without the stub, or with a first section on disk, it is some linker's.
    "UPX_Packed_PE": (upx(marker=b"UPX!"), upx(marker=b"UPX!", stub=bytes(16))),
    "UPX_Tampered_PE": (upx(marker=b"ABC?"), upx(marker=b"UPX!")),
    "MPRESS_Packed_PE": (
        pe([(".MPRESS1", noise(512), RWX), (".MPRESS2", MPRESS_STUB, RWX)], 1),
        pe([(".MPRESS1", noise(512), RWX), (".MPRESS2", b"\x55\x8b\xec" + bytes(20), RWX)], 1),
    ),
    "ASPack_Packed_PE": (
        pe([(".text", noise(512), RWX), (".aspack", ASPACK_STUB, RWX), (".adata", b"", READ | WRITE)], 1),
        pe(
            [(".text", noise(512), RWX), (".aspack", b"\x55\x8b\xec" + bytes(20), RWX), (".adata", b"", READ | WRITE)],
            1,
        ),
    ),
    "PE_Generic_Packed": (
        pe([("code", noise(8192), RWX)], 0),
        pe([("code", b"\x55\x8b\xec\x5d\xc3 plain code " * 512, RWX)], 0),
    ),
    "ELF_Packed_Without_Sections": (elf(noise(8192)), elf(noise(8192), kinds=(1, 3))),
    "ELF_Device_Bot": (bot(logins=("xc3¦511", "7ujMko0¦admin")), bot(logins=("root", "guest"))),
    "Zip_Disguised_Program": (
        zip_of(("invoice.pdf      .exe", b"MZ, but no program")),
        zip_of(("invoice.pdf.txt", b"text"), ("setup.exe", b"MZ, but no program")),
    ),
}

ALSO = {
    "EICAR_Test_File": [eicar(), eicar().ljust(128), eicar() + b"\t\r\n\x1a"],
    "EICAR_In_Container": [
        zip_of(("eicar.com", eicar())),
        b"!<arch>\nsample.com/     0           0     0     644     68        `\n" + eicar(),
        b"070701" + b"0" * 104 + eicar(),
        b"MSCF" + bytes(32) + eicar(),
        pdf("<< /Type /Embedded¦File /Length 68 >>\nstream\n" + eicar().decode() + "\nendstream"),
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(eicar()),
        b'<a href="data:application/octet-stream;base64,' + base64.b64encode(eicar()) + b'">file</a>',
    ],
    "UPX_Packed_PE": [upx(marker=b"UPX!", stub=UPX64_STUB)],
    "UPX_Tampered_PE": [upx(marker=b"", stub=UPX64_STUB)],
    "MPRESS_Packed_PE": [pe([(".MPRESS1", noise(512), RWX), (".MPRESS2", MPRESS64_STUB, RWX)], 1)],
    "ELF_Packed_Without_Sections": [elf32(noise(8192)), elf(noise(8192), kinds=(6, 1, 1))],
    "Zip_Disguised_Program": [zip_of(("report \u202efdp.exe", b"filler")), zip_of(("photo.jpg.scr", b"filler"))],
}
