// PDF documents that act by themselves. A name may be written with #xx escapes; PDF_Escaped_Action_Names covers those.

private rule Is_PDF
{
    strings:
        $header = "%PDF-"
    condition:
        $header in (0 .. 1024)
}

rule PDF_OpenAction_JavaScript : pdf
{
    meta:
        description = "PDF that runs JavaScript when it is opened"
        verdict = "suspicious"
        family = "PDF-AutoJavaScript"
        confidence = 60
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $open = /\/(OpenAction|AA)[ \t\r\n]*(<<|\[|[0-9]{1,10}[ \t\r\n]+[0-9]{1,5}[ \t\r\n]+R)/
        $action = /\/S[ \t\r\n]*\/JavaScript[ \t\r\n\/>]/
        $script = /\/JS[ \t\r\n]*(\(|<|[0-9]{1,10}[ \t\r\n]+[0-9]{1,5}[ \t\r\n]+R)/
    condition:
        Is_PDF and $open and $action and $script
}

rule PDF_JavaScript_Exploit_Pattern : pdf exploit
{
    meta:
        description = "PDF whose JavaScript unpacks a large string and fills memory or calls an interface known for its flaws"
        verdict = "malicious"
        family = "PDF-Exploit"
        confidence = 85
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $script = /\/JS[ \t\r\n]*(\(|<|[0-9]{1,10}[ \t\r\n]+[0-9]{1,5}[ \t\r\n]+R)/
        $unescape = /unescape[ \t]*\\?\([ \t]*\\?["'](%u[0-9a-f]{4}){4}/i
        $sled = /(%u9090|%u0c0c|%u0a0a|%u0d0d){2}/i
        $grow = /while[ \t]*\\?\([^)\r\n]{1,60}\.length[ \t]*<[ \t]*[0-9]/i
        $api1 = /Collab\.(collectEmailInfo|getIcon)[ \t]*\\?\(/
        $api2 = /util\.printf[ \t]*\\?\([ \t]*\\?["']%[0-9]{4,6}/
        $api3 = /media\.newPlayer[ \t]*\\?\([ \t]*null/
        $api4 = /\.(syncAnnotScan|getAnnots)[ \t]*\\?\(/
    condition:
        Is_PDF and $script and $unescape and ($sled or $grow) and ($grow or any of ($api*))
}

rule PDF_Launch_Program : pdf
{
    meta:
        description = "PDF with a launch action that starts a command interpreter or script host"
        verdict = "malicious"
        family = "PDF-Launch"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $launch = /\/S[ \t\r\n]*\/Launch[ \t\r\n\/>]/
        $program = /\/F[ \t\r\n]*\([^)\r\n]{0,100}(cmd|powershell|pwsh|mshta|wscript|cscript|rundll32|regsvr32|certutil)(\.exe)?[ \t]*\)/i
        $shell = /\/F[ \t\r\n]*\([^)\r\n]{0,40}\/bin\/(ba|da|z)?sh[ \t]*\)/
    condition:
        Is_PDF and $launch and ($program or $shell)
}

rule PDF_Embedded_File_Auto_Open : pdf
{
    meta:
        description = "PDF that exports and starts an embedded file when it is opened"
        verdict = "malicious"
        family = "PDF-EmbeddedDropper"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $embedded = /\/Type[ \t\r\n]*\/EmbeddedFile[ \t\r\n\/>]/
        $open = /\/(OpenAction|AA)[ \t\r\n]*(<<|\[|[0-9]{1,10}[ \t\r\n]+[0-9]{1,5}[ \t\r\n]+R)/
        $export = /exportDataObject[ \t]*\\?\([^;]{0,200}nLaunch\\?["']?[ \t]*:[ \t]*[12]/
    condition:
        Is_PDF and $embedded and $open and $export
}

rule PDF_Escaped_Action_Names : pdf obfuscation
{
    meta:
        description = "PDF that hides the names of its actions behind #xx escapes, which no writer does"
        verdict = "suspicious"
        family = "PDF-Obfuscated"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        // One letter or more escaped. Every alternative keeps one literal "#" so that the plain name cannot match.
        $javascript1 = /\/(J|#4[aA])(a|#61)(v|#76)(a|#61)#53(c|#63)(r|#72)(i|#69)(p|#70)(t|#74)/
        $javascript2 = /\/(#4[aA](a|#61)|J#61)(v|#76)(a|#61)(S|#53)(c|#63)(r|#72)(i|#69)(p|#70)(t|#74)/
        $javascript3 = /\/(J|#4[aA])(a|#61)(v|#76)(a|#61)(S|#53)(c|#63)(r|#72)(i|#69)(#70(t|#74)|p#74)/
        $action1 = /\/(#4[fF](p|#70)|O#70)(e|#65)(n|#6[eE])(A|#41)(c|#63)(t|#74)(i|#69)(o|#6[fF])(n|#6[eE])/
        $action2 = /\/(O|#4[fF])(p|#70)(e|#65)(n|#6[eE])(#41|A#63|Ac#74)/
        $launch = /\/(#4[cC](a|#61)|L#61)(u|#75)(n|#6[eE])(c|#63)(h|#68)/
        $object = /[0-9]{1,10}[ \t\r\n]+[0-9]{1,5}[ \t\r\n]+obj\b/
    condition:
        Is_PDF and $object and (any of ($javascript*) or any of ($action*) or $launch)
}
