// The EICAR test file, as eicar.org defines it, and the same string inside an uncompressed wrapping.
// The string is written in hexadecimal so that no scanner removes this file.

import "math"

rule EICAR_Test_File : test
{
    meta:
        description = "EICAR anti-virus test file: the 68-byte string at the start, then nothing but white space"
        verdict = "malicious"
        family = "EICAR-Test-File"
        confidence = 100
        heuristic = false
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $eicar = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24
                   45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D 54 45 53 54
                   2D 46 49 4C 45 21 24 48 2B 48 2A }
    condition:
        filesize <= 128 and $eicar at 0 and (
            filesize == 68 or
            for all i in (68 .. math.min(filesize, 128) - 1) : (
                uint8(i) == 0x20 or uint8(i) == 0x09 or uint8(i) == 0x0A or uint8(i) == 0x0D or uint8(i) == 0x1A
            )
        )
}

rule EICAR_In_Container : test
{
    meta:
        description = "EICAR test file stored uncompressed in an archive or PDF, or as base64 in a mail message or data: URI"
        verdict = "malicious"
        family = "EICAR-Test-File"
        confidence = 95
        heuristic = false
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $eicar = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24
                   45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D 54 45 53 54
                   2D 46 49 4C 45 21 24 48 2B 48 2A }
        // The first 57 bytes only: a mail's base64 lines may be as short as 76 characters.
        $base64 = { 57 44 56 50 49 56 41 6C 51 45 46 51 57 7A 52 63 55 46 70 59 4E 54 51 6F 55 46 34 70 4E 30
                    4E 44 4B 54 64 39 4A 45 56 4A 51 30 46 53 4C 56 4E 55 51 55 35 45 51 56 4A 45 4C 55 46 4F
                    56 45 6C 57 53 56 4A 56 55 79 31 55 }
        $mime = /content-transfer-encoding:[ \t]*base64/i
        $uri = "data:application/octet-stream;base64,WDVPIVAl"
        $attached = /\/Type[ \t\r\n]*\/EmbeddedFile/
    condition:
        (
            $eicar and (
                uint32(0) == 0x04034B50 or                                      // zip
                (uint32(257) == 0x61747375 and uint8(261) == 0x72) or           // tar
                (uint32(0) == 0x72613C21 and uint32(4) == 0x0A3E6863) or        // ar
                uint32(0) == 0x4643534D or                                      // cab
                (uint32(0) == 0x37303730 and uint16(4) == 0x3130) or            // cpio (newc)
                (uint32(0) == 0x46445025 and $attached)                         // pdf
            )
        )
        or ($base64 and ($mime or $uri))
}
