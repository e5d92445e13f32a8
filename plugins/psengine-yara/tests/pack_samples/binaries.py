"""EICAR, packers, programs and archives."""

from yara_pack_samples.making import CODE, EXECUTE, READ, WRITE, eicar, elf, noise, pe, tar_of, text, zip_of

UPX_STUB = bytes.fromhex("60be00104000 8dbe00f0ffff 57 83cdff eb10".replace(" ", ""))
MPRESS_STUB = bytes.fromhex("60e80000000058055a0b00008b3003f02bc08bfe66ad".replace(" ", ""))
ASPACK_STUB = bytes.fromhex("60e803000000e9eb045d4555c3e801000000eb5d")
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
