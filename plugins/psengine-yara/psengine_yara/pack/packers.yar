// Executable packers by structure: where the entry point lies, which sections are empty on disk, and the stub's code.

import "pe"
import "math"

private rule Is_UPX_Layout
{
    condition:
        pe.is_pe and pe.sections.len() >= 2 and
        pe.sections[0].raw_data_size == 0 and pe.sections[0].virtual_size > 0 and
        pe.sections[0].characteristics & pe.SECTION_MEM_WRITE != 0 and
        (
            // pushad; mov esi, compressed; lea edi, [esi - distance]
            (uint16(pe.entry_point) == 0xBE60 and uint16(pe.entry_point + 6) == 0xBE8D) or
            // push rbx; push rsi; push rdi; push rbp; lea rsi, compressed; lea rdi, [rsi - distance]
            (uint32(pe.entry_point) == 0x55575653 and uint16(pe.entry_point + 4) == 0x8D48 and
             uint16(pe.entry_point + 11) == 0x8D48)
        )
}

rule UPX_Packed_PE : packer
{
    meta:
        description = "Windows program packed with unmodified UPX: empty first section, entry stub and UPX's own marker"
        verdict = "informational"
        family = "UPX"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $marker = "UPX!"
    condition:
        Is_UPX_Layout and $marker in (0 .. 4096)
}

rule UPX_Tampered_PE : packer
{
    meta:
        description = "UPX stub and layout with UPX's marker removed, which keeps upx -d from unpacking it"
        verdict = "suspicious"
        family = "UPX-Tampered"
        confidence = 70
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $marker = "UPX!"
    condition:
        Is_UPX_Layout and not $marker in (0 .. 4096)
}

rule MPRESS_Packed_PE : packer
{
    meta:
        description = "Windows program packed with MPRESS: its section pair and the entry stub in the second one"
        verdict = "suspicious"
        family = "MPRESS"
        confidence = 50
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    condition:
        pe.is_pe and pe.sections.len() >= 2 and
        pe.sections[0].name == ".MPRESS1" and pe.sections[1].name == ".MPRESS2" and
        pe.sections[0].characteristics & pe.SECTION_MEM_WRITE != 0 and
        (
            // pushad; call $+5; pop eax; add eax, imm32
            (uint32be(pe.entry_point) == 0x60E80000 and uint32be(pe.entry_point + 4) == 0x00005805) or
            // push rdi; push rsi; push rbx; push rcx; push rdx; push r8; lea rax, [rip + x]
            (uint32be(pe.entry_point) == 0x57565351 and uint32be(pe.entry_point + 4) == 0x52415048)
        )
}

rule ASPack_Packed_PE : packer
{
    meta:
        description = "Windows program packed with ASPack: the stub's jump-over-garbage opening in the last sections"
        verdict = "suspicious"
        family = "ASPack"
        confidence = 50
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    condition:
        pe.is_pe and pe.sections.len() >= 2 and
        // pushad; call +3; (skipped) jmp; pop ebp; inc ebp; push ebp; ret
        uint32be(pe.entry_point) == 0x60E80300 and uint32be(pe.entry_point + 4) == 0x0000E9EB and
        uint32be(pe.entry_point + 8) == 0x045D4555 and
        for any section in pe.sections : (
            section.name == ".adata" and section.raw_data_size == 0
        )
}

rule PE_Generic_Packed : packer
{
    meta:
        description = "Windows program that starts in a writable, nearly random section and imports almost nothing"
        verdict = "suspicious"
        family = "Generic-Packed-PE"
        confidence = 60
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    condition:
        pe.is_pe and not pe.is_dll() and pe.number_of_imports <= 2 and
        pe.characteristics & pe.EXECUTABLE_IMAGE != 0 and
        for any section in pe.sections : (
            section.raw_data_size >= 4096 and
            section.characteristics & pe.SECTION_MEM_EXECUTE != 0 and
            section.characteristics & pe.SECTION_MEM_WRITE != 0 and
            pe.entry_point >= section.raw_data_offset and
            pe.entry_point < section.raw_data_offset + section.raw_data_size and
            math.entropy(section.raw_data_offset, section.raw_data_size) > 7.4
        )
}

// The fields are read by hand: the elf module parses every symbol of every program that is scanned, at 80 MB/s.

private rule Is_ELF64_Without_Sections
{
    condition:
        uint32(0) == 0x464C457F and uint8(4) == 2 and uint8(5) == 1 and         // 64 bits, little-endian
        (uint16(16) == 2 or uint16(16) == 3) and                                // ET_EXEC or ET_DYN
        uint16(0x3C) == 0 and uint16(0x36) == 56 and uint16(0x38) >= 1 and uint16(0x38) <= 4
}

private rule Is_ELF32_Without_Sections
{
    condition:
        uint32(0) == 0x464C457F and uint8(4) == 1 and uint8(5) == 1 and         // 32 bits, little-endian
        (uint16(16) == 2 or uint16(16) == 3) and
        uint16(0x30) == 0 and uint16(0x2A) == 32 and uint16(0x2C) >= 1 and uint16(0x2C) <= 4
}

rule ELF_Packed_Without_Sections : packer linux
{
    meta:
        description = "Linux program without section table, interpreter or notes whose code is nearly random data"
        verdict = "suspicious"
        family = "Generic-Packed-ELF"
        confidence = 60
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    condition:
        (
            Is_ELF64_Without_Sections and
            // No PT_INTERP and no PT_NOTE; an executable PT_LOAD of high entropy.
            for all i in (0 .. uint16(0x38) - 1) : (
                with kind = uint32(uint32(0x20) + i * 56) : (kind != 3 and kind != 4)
            ) and
            for any i in (0 .. uint16(0x38) - 1) : (
                with segment = uint32(0x20) + i * 56 : (
                    uint32(segment) == 1 and uint32(segment + 4) & 1 != 0 and uint32(segment + 32) > 2048 and
                    math.entropy(uint32(segment + 8), uint32(segment + 32)) > 7.2
                )
            )
        ) or (
            Is_ELF32_Without_Sections and
            for all i in (0 .. uint16(0x2C) - 1) : (
                with kind = uint32(uint32(0x1C) + i * 32) : (kind != 3 and kind != 4)
            ) and
            for any i in (0 .. uint16(0x2C) - 1) : (
                with segment = uint32(0x1C) + i * 32 : (
                    uint32(segment) == 1 and uint32(segment + 24) & 1 != 0 and uint32(segment + 16) > 2048 and
                    math.entropy(uint32(segment + 4), uint32(segment + 16)) > 7.2
                )
            )
        )
}
