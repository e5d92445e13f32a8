// Batch files, Windows Script Host, HTML applications, scriptlets and shortcuts.

rule Batch_Certutil_Download : windows downloader
{
    meta:
        description = "Command script that downloads a program with certutil and starts it"
        verdict = "malicious"
        family = "Batch-Downloader"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $fetch = /\bcertutil(\.exe)?["']?[ \t][^\r\n]{0,30}[-\/]urlcache[ \t][^\r\n]{0,40}https?:\/\/[^\s"]{4,120}\.(exe|dll|scr|bat|cmd|ps1|vbs|js|hta|txt|png|jpg)\b/i
        $start1 = /(^|[\r\n&|][ \t]*)@?(start|call)[ \t]+("[^"\r\n]{0,40}"[ \t]+)?(\/[a-z]+[ \t]+)*["']?[^\r\n&|]{0,120}\.(exe|bat|cmd|vbs|js|hta|scr)\b/i
        $start2 = /\b(rundll32|regsvr32|wscript|cscript|powershell)(\.exe)?[ \t]+[^\r\n]{0,100}(%temp%|%appdata%|%public%|%programdata%)/i
        $start3 = /&&?[ \t]*["']?(%temp%|%appdata%|%public%|%programdata%)[^\r\n]{1,80}\.(exe|bat|cmd|scr)/i
        $batch = /(^|[\r\n])[ \t]*@?(echo[ \t]+off|setlocal|set[ \t]+[a-z0-9_]{1,30}=)/i
    condition:
        filesize < 512KB and $fetch and any of ($start*) and $batch
}

rule Batch_Bitsadmin_Download : windows downloader
{
    meta:
        description = "Command script that downloads a program with bitsadmin and starts it"
        verdict = "malicious"
        family = "Batch-Downloader"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $fetch = /\bbitsadmin(\.exe)?["']?[ \t]+\/transfer[ \t][^\r\n]{1,60}https?:\/\/[^\s"]{4,120}\.(exe|dll|scr|bat|cmd|ps1|vbs|js|hta)\b/i
        $start = /(^|[\r\n&|][ \t]*)@?(start|call|rundll32|regsvr32|wscript|cscript)[ \t]+[^\r\n&|]{1,100}\.(exe|dll|bat|cmd|vbs|js|hta|scr)\b/i
        $batch = /(^|[\r\n])[ \t]*@?(echo[ \t]+off|setlocal|set[ \t]+[a-z0-9_]{1,30}=)/i
    condition:
        filesize < 512KB and all of them
}

rule Mshta_Inline_Script : windows
{
    meta:
        description = "Command line that has mshta run inline script with a shell object or a remote scriptlet"
        verdict = "malicious"
        family = "Mshta-Script"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $inline = /\bmshta(\.exe)?["']?[ \t]+["']?(vbscript|javascript):[^\r\n]{4}/i ascii wide
        $object = /(CreateObject|ActiveXObject)[ \t]?\([ \t]?["'\\]{1,4}(WScript\.Shell|Shell\.Application)/i ascii wide
        $scriptlet = /GetObject[ \t]?\([ \t]?["'\\]{1,4}script:https?:/i ascii wide
        $close = /(window\.close|close\(\)|self\.close)/i ascii wide
        $run = /\.(Run|ShellExecute|Exec)\b/i ascii wide
    condition:
        filesize < 1MB and $inline and $close and ($scriptlet or ($object and $run))
}

rule Regsvr32_Remote_Scriptlet : windows
{
    meta:
        description = "Command line that has regsvr32 fetch and run a scriptlet through scrobj.dll, in a script or a shortcut"
        verdict = "malicious"
        family = "Regsvr32-Scriptlet"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $command = /\bregsvr32(\.exe)?["']?[ \t][^\r\n]{0,40}[\/-]i:["']?https?:\/\/[^\s]{4,120}[ \t]["']?scrobj(\.dll)?/i
        $quiet = /\bregsvr32(\.exe)?["']?[ \t][^\r\n]{0,40}[\/-][su]\b/i
        $batch = /(^|[\r\n])[ \t]*@?(echo[ \t]+off|setlocal|set[ \t]+[a-z0-9_]{1,30}=|cmd(\.exe)?[ \t]+\/c|start[ \t])/i
        $host = /\b(CreateObject|ActiveXObject)[ \t]?\([ \t]?["'](WScript\.Shell|Shell\.Application)/i
    condition:
        filesize < 1MB and $command and $quiet and ($batch or $host)
}

rule Scriptlet_With_Shell : windows
{
    meta:
        description = "COM scriptlet whose registration script starts a program"
        verdict = "malicious"
        family = "Scriptlet"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $scriptlet = /<scriptlet[ \t\r\n>]/i
        $registration = /<registration[ \t\r\n>]/i
        $script = /<script[ \t\r\n]+language[ \t]*=/i
        $object = /(CreateObject|ActiveXObject)[ \t]?\([ \t]?["'](WScript\.Shell|Shell\.Application)/i
        $run = /\.(Run|ShellExecute|Exec)[ \t]?\(?[ \t]?["']/i
    condition:
        $scriptlet in (0 .. 1024) and $registration and $script and $object and $run
}

rule VBScript_Dropper : windows dropper
{
    meta:
        description = "VBScript that downloads or decodes a file, saves it and runs it"
        verdict = "malicious"
        family = "VBS-Dropper"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $set = /\bset[ \t]+[a-z_0-9]{1,40}[ \t]*=[ \t]*(WScript\.)?CreateObject[ \t]*\(/i
        $stream = /CreateObject[ \t]*\([ \t]*"(ADODB\.Stream|Scripting\.FileSystemObject)"/i
        $source1 = /CreateObject[ \t]*\([ \t]*"(MSXML2\.(Server)?XMLHTTP[0-9.]{0,6}|Microsoft\.XMLHTTP|WinHttp\.WinHttpRequest\.5\.1)"/i
        $source2 = "bin.base64" nocase
        $save = /\.SaveToFile\b/i
        $run1 = /\.Run\b[ \t]*\(?[ \t]*[^\r\n]{1,160}(,[ \t]*(0|vbHide|false)|\.(exe|vbs|js|bat|scr|dll)")/i
        $run2 = /\.ShellExecute\b/i
        $html = /<(html|body|hta:application)\b/i
    condition:
        filesize < 4MB and not $html and $set and $stream and any of ($source*) and $save and any of ($run*)
}

rule JScript_Dropper : windows dropper
{
    meta:
        description = "Script for Windows Script Host that downloads or decodes a file, saves it and runs it"
        verdict = "malicious"
        family = "JS-Dropper"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $object = /(new[ \t]+ActiveXObject|WScript\.CreateObject)[ \t]*\([ \t]*["']/i
        $stream = /["']ADODB\.Stream["']/i
        $shell = /["'](WScript\.Shell|Shell\.Application)["']/i
        $source1 = /["'](MSXML2\.(Server)?XMLHTTP[0-9.]{0,6}|Microsoft\.XMLHTTP|WinHttp\.WinHttpRequest\.5\.1)["']/i
        $source2 = /["']bin\.base64["']/i
        $save = /\.SaveToFile[ \t]*\(/i
        $run = /\.(Run|ShellExecute|Exec)[ \t]*\(/i
        $syntax = /\b(var|function|let|const)[ \t]+[A-Za-z_$]/
    condition:
        filesize < 4MB and $syntax and $object and $stream and $shell and any of ($source*) and $save and $run
}

rule HTA_Starts_Program : windows
{
    meta:
        description = "HTML application that hides its window and starts a command interpreter"
        verdict = "malicious"
        family = "HTA-Dropper"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $hta = /<hta:application\b/i
        $script = /<script\b/i
        $object = /(CreateObject|ActiveXObject)[ \t]*\([ \t]*["'](WScript\.Shell|Shell\.Application)["']/i
        $run = /\.(Run|ShellExecute|Exec)\b[ \t]*\(?[^\r\n]{0,120}\b(powershell|cmd|mshta|rundll32|regsvr32|certutil|bitsadmin)\b/i
        $hide1 = /(showintaskbar[ \t]*=[ \t]*["']?no|windowstate[ \t]*=[ \t]*["']?minimize)/i
        $hide2 = /(window\.)?(resizeTo[ \t]*\(?[ \t]*0[ \t]*,[ \t]*0|moveTo[ \t]*\(?[ \t]*-[0-9]{3,5})/i
        $hide3 = /(self|window)\.close\b/i
    condition:
        $hta and $script and $object and $run and any of ($hide*)
}

rule LNK_Starts_Script : windows
{
    meta:
        description = "Windows shortcut that starts a script interpreter with a hidden or downloading command"
        verdict = "malicious"
        family = "LNK-Downloader"
        confidence = 85
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $program = /(powershell|pwsh|mshta|cmd|wscript|cscript|rundll32|forfiles)(\.exe)?/i wide
        $download1 = /(DownloadString|DownloadFile|Invoke-WebRequest|Invoke-Expression|FromBase64String|\biex\b|\biwr\b)/i wide
        $download2 = /(mshta|regsvr32)[^\r\n]{0,40}https?:\/\//i wide
        $hide = /[-\/]w(in|indowstyle)?[ \t:]{1,3}["']?(hid|h\b|1\b)/i wide
        $encoded = /[-\/]e(nc|ncodedcommand|c)?[ \t]{1,4}[A-Za-z0-9+\/]{40}/i wide
        $search = /(findstr|more[ \t]*\+[0-9]|for[ \t]+\/f)[^\r\n]{0,120}(\.lnk|%temp%)/i wide
    condition:
        uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and uint32(16) == 0x46000000 and
        filesize < 4MB and $program and ($download2 or $encoded or $search or ($hide and $download1))
}

rule Windows_Recovery_Destruction : windows ransomware
{
    meta:
        description = "Deletes shadow copies and switches off recovery: the preparation of ransomware"
        verdict = "malicious"
        family = "Ransom-Preparation"
        confidence = 85
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $shadow1 = /\bvssadmin(\.exe)?["']?[ \t]+delete[ \t]+shadows[ \t]+\/all[ \t]+\/quiet/i ascii wide
        $shadow2 = /\bwmic(\.exe)?["']?[ \t]+shadowcopy[ \t]+delete/i ascii wide
        $shadow3 = /\bGet-WmiObject[ \t]+Win32_Shadowcopy[^\r\n]{0,60}Delete\(\)/i ascii wide
        $recovery1 = /\bbcdedit(\.exe)?["']?[ \t]+\/set[ \t]+\{?default\}?[ \t]+recoveryenabled[ \t]+no/i ascii wide
        $recovery2 = /\bbcdedit(\.exe)?["']?[ \t]+\/set[ \t]+\{?default\}?[ \t]+bootstatuspolicy[ \t]+ignoreallfailures/i ascii wide
        $backup = /\bwbadmin(\.exe)?["']?[ \t]+delete[ \t]+(catalog|systemstatebackup)[ \t]+-/i ascii wide
        $logs = /\bwevtutil(\.exe)?["']?[ \t]+cl[ \t]+(security|system|application)/i ascii wide
        $markup = /<(html|body|div|code|pre)\b/i
        $fence = "\n```"
    condition:
        any of ($shadow*) and any of ($recovery*, $backup, $logs) and
        (uint16(0) == 0x5A4D or not ($markup or $fence))
}

rule Windows_Defender_Tampering : windows evasion
{
    meta:
        description = "Script that switches off Windows Defender's protection and excludes a path from it"
        verdict = "malicious"
        family = "Defender-Tampering"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $off1 = /\bSet-MpPreference[ \t]+[^\r\n]{0,80}-Disable(RealtimeMonitoring|BehaviorMonitoring|IOAVProtection|ScriptScanning)[ \t]+(\$true|1)/i ascii wide
        $off2 = /DisableAntiSpyware["']?[ \t][^\r\n]{0,60}(REG_DWORD|DWord)[^\r\n]{0,30}[ \t]1\b/i ascii wide
        $off3 = /\b(sc|net)(\.exe)?[ \t]+(stop|delete|config)[ \t]+["']?WinDefend/i ascii wide
        $exclude = /\bAdd-MpPreference[ \t]+[^\r\n]{0,40}-Exclusion(Path|Process|Extension)[ \t]+["']?(\$env:|%|[A-Za-z]:\\|\.?(exe|dll))/i ascii wide
        $action = /\b(Start-Process|Invoke-WebRequest|DownloadFile|DownloadString|Invoke-Expression|iex|start)\b/i ascii wide
        $markup = /<(html|body|div|code|pre)\b/i
        $fence = "\n```"
    condition:
        filesize < 4MB and any of ($off*) and $exclude and $action and not ($markup or $fence)
}

rule Autorun_Inf_Disguise : windows worm
{
    meta:
        description = "autorun.inf that starts a program from the medium while posing as opening the folder"
        verdict = "suspicious"
        family = "Autorun-Worm"
        confidence = 70
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $section = /(^|\n)[ \t]*\[autorun(\.[a-z0-9]+)?\]/i
        $open = /\n[ \t]*(open|shellexecute)[ \t]*=[ \t]*[^\r\n]{1,160}\.(exe|vbs|js|bat|cmd|scr|pif|com|lnk|dll)\b/i
        $verb = /\n[ \t]*shell\\(open|explore|auto|find)\\command[ \t]*=/i
        $pose1 = /\n[ \t]*action[ \t]*=[ \t]*open[ \t]+folder/i
        $pose2 = /\n[ \t]*icon[ \t]*=[ \t]*[^\r\n]{0,60}shell32\.dll[ \t]*,[ \t]*[0-9]/i
        $bin = /(recycler|\$recycle\.bin|system volume information)\\/i
    condition:
        filesize < 64KB and $section in (0 .. 1024) and $open and $verb and any of ($pose1, $pose2, $bin)
}

rule Zip_Disguised_Program : archive
{
    meta:
        description = "Zip archive whose only entry is a program with a document's name: double extension, padding or reversal"
        verdict = "suspicious"
        family = "Disguised-Program"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $local = { 50 4B 03 04 }
        $central = { 50 4B 01 02 }
        $double = /PK\x01\x02.{42}[^\x00-\x1f]{1,120}\.(pdf|docx?|xlsx?|pptx?|jpe?g|png|txt|rtf|mp4)[ _]{0,80}\.(exe|scr|com|pif|bat|cmd|vbs|vbe|js|jse|wsf|hta|lnk)/si
        $reversed = /PK\x01\x02.{42}[^\x00-\x1f]{1,120}\xe2\x80\xae[^\x00-\x1f]{1,40}\.(exe|scr|com|pif)/s
    condition:
        $local at 0 and #central == 1 and ($double or $reversed)
}
