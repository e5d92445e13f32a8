// PowerShell command lines and scripts that hide what they run.

rule PowerShell_Encoded_Command : powershell obfuscation
{
    meta:
        description = "Hidden or policy-evading PowerShell with an encoded command: base64 whose every other byte is zero"
        verdict = "malicious"
        family = "PowerShell-Encoded"
        confidence = 85
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        // Base64 of UTF-16 text from ASCII: of each eight characters four are bound to a few letters.
        $command = /\b(powershell|pwsh)(\.exe)?["']?[ \t][^\r\n]{0,100}[-\/]e(nc?|nco[a-z]{0,11}|c)?[ \t]{1,4}["']?([A-Za-z0-9+\/][AQgw][AB][A-Za-z0-9+\/]A[A-H][AEIMQUYcgkosw048]A){4}/i ascii wide
        $hide = /[-\/]w(in|indowstyle)?[ \t:]{1,3}["']?(hid|h\b|1\b)/i ascii wide
        $profile = /[-\/]nop(rofile)?\b/i ascii wide
        $policy = /[-\/]e(p|x|xec|xecutionpolicy)[ \t:]{1,3}["']?(bypass|unrestricted)/i ascii wide
        $batch = /[-\/]noni(nteractive)?\b/i ascii wide
    condition:
        $command and any of ($hide, $profile, $policy, $batch)
}

rule PowerShell_Download_Cradle : powershell downloader
{
    meta:
        description = "PowerShell that fetches text from the network and runs it, hidden or from a bare address"
        verdict = "malicious"
        family = "PowerShell-Cradle"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $run = /\b(iex|invoke-expression)\b/i ascii wide
        $fetch = /\bnew-object[ \t]{1,3}["']?(system\.)?net\.webclient["']?[ \t]?\)[ \t]?\.[ \t]?["']?download(string|data)/i ascii wide
        $get = /\b(iwr|irm|invoke-webrequest|invoke-restmethod|curl)\b[^\r\n|;]{1,40}https?:\/\/[a-z0-9]/i ascii wide
        $pipe = /\|[ \t]{0,4}(iex|invoke-expression)\b/i ascii wide
        $hide = /\b(powershell|pwsh)(\.exe)?["']?[ \t][^\r\n]{0,60}[-\/]w(in|indowstyle)?[ \t:]{1,3}["']?(hid|h\b|1\b)/i ascii wide
        $bare = /https?:\/\/([0-9]{1,3}\.){3}[0-9]{1,3}[:\/][^\r\n"']/ ascii wide
        $split = /["']dow["'][ \t]?\+[ \t]?["']nl/i ascii wide
    condition:
        $run and ($fetch or ($get and $pipe)) and any of ($hide, $bare, $split)
}

rule PowerShell_AMSI_Bypass : powershell evasion
{
    meta:
        description = "PowerShell that switches off the antimalware interface of its own process"
        verdict = "malicious"
        family = "AMSI-Bypass"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $utils = /Automation\.['"+ \t]{0,8}A['"+ \t]{0,8}msi['"+ \t]{0,8}Ut['"+ \t]{0,8}ils/i ascii wide
        $failed = /amsi['"+ \t]{0,8}Init['"+ \t]{0,8}Failed/i ascii wide
        $context = /amsi['"+ \t]{0,8}(Context|Session)["'][ \t]?,/i ascii wide
        $set1 = /\.SetValue[ \t]?\([ \t]?\$null[ \t]?,/i ascii wide
        $set2 = /NonPublic[ \t]?,[ \t]?Static/i ascii wide
        $buffer = /Amsi['"+ \t]{0,8}Scan['"+ \t]{0,8}Buffer/i ascii wide
        $protect = "VirtualProtect" nocase ascii wide
        $copy = /\[?(System\.Runtime\.InteropServices\.)?Marshal\]?(::|\.)(Copy|WriteByte)/i ascii wide
        $load = /GetProcAddress[^;]{0,80}LoadLibrary|LoadLibrary[^;]{0,80}GetProcAddress/is ascii wide
    condition:
        (($failed or $context) and $utils and any of ($set*)) or
        ($buffer and $protect and $copy and $load)
}

rule PowerShell_Shellcode_Loader : powershell loader
{
    meta:
        description = "PowerShell that decodes machine code into executable memory and calls it"
        verdict = "malicious"
        family = "PowerShell-Shellcode"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $bytes1 = /\[Byte\[\]\][ \t]?\$[a-z_0-9]{1,40}[ \t]?=[ \t]?(\[(System\.)?Convert\]::FromBase64String|0x[0-9a-f]{1,2}[ \t]?,)/i
        $memory = "VirtualAlloc" nocase
        $copy = /\[(System\.Runtime\.InteropServices\.)?Marshal\]::Copy\(/i
        $call1 = "GetDelegateForFunctionPointer" nocase
        $call2 = /::CreateThread\(/i
        $rights = /\b0x40[ \t]?\)/
    condition:
        $bytes1 and $memory and $copy and $rights and any of ($call*)
}
