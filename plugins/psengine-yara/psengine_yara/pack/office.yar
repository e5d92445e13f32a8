// Office documents. Parts of an OOXML file that are compressed inside its zip are out of sight here: such rules go by the
// zip's entry names in combination, or by parts stored uncompressed and the single-file XML forms of Office.

private rule Is_OLE_File
{
    condition:
        uint32(0) == 0xE011CFD0 and uint32(4) == 0xE11AB1A1
}

private rule Is_OOXML_Zip
{
    strings:
        $types = /PK\x03\x04.{26}\[Content_Types\]\.xml/s
    condition:
        uint32(0) == 0x04034B50 and $types
}

private rule Is_RTF
{
    strings:
        // Word takes "{\rt" and ignores what follows.
        $header = "{\\rt"
    condition:
        $header at 0
}

rule Office_AutoExec_Macro_Shell : office macro
{
    meta:
        description = "Office document with a macro that starts by itself and runs a program"
        verdict = "malicious"
        family = "Office-MacroDropper"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $project = "_VBA_PROJECT" wide
        $auto = /\b(Auto_?Open|Auto_?Exec|Auto_?Close|Document_?Open|Document_Close|Workbook_Open|Workbook_Activate)\b/i
        $run1 = "WScript.Shell" nocase ascii wide
        $run2 = "Shell.Application" nocase ascii wide
        $run3 = /\bShell[ (]{1,3}["'(]?[a-z]{2}/i
        $run4 = /\bwinmgmts:[^\r\n]{0,40}Win32_Process\b/i
        $run5 = "ShellExecuteA"
        $what1 = /\bpowershell(\.exe)?\b/i
        $what2 = /\bcmd(\.exe)?[ \t]{1,3}\/[ck]\b/i
        $what3 = "URLDownloadToFile" nocase
        $what4 = /\b(MSXML2\.|Microsoft\.)(Server)?XMLHTTP\b/i
        $what5 = "ADODB.Stream" nocase
        $what6 = /\b(mshta|rundll32|regsvr32|certutil|bitsadmin|wscript|cscript)(\.exe)?[ \t]/i
    condition:
        Is_OLE_File and $project and $auto and any of ($run*) and any of ($what*)
}

rule OOXML_Macro_And_ActiveX : office macro
{
    meta:
        description = "Office document that holds both a macro project and ActiveX binaries, a way to start macros unseen"
        verdict = "suspicious"
        family = "Office-ActiveXMacro"
        confidence = 55
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $macro = /PK\x03\x04.{26}(word|xl|ppt)\/vbaProject\.bin/s
        $activex = /PK\x03\x04.{26}(word|xl|ppt)\/activeX\/activeX[0-9]{1,3}\.bin/s
    condition:
        Is_OOXML_Zip and $macro and $activex
}

rule OOXML_Excel4_Macro_Sheet : office macro
{
    meta:
        description = "Modern workbook with an Excel 4.0 macro sheet, a form of the nineties that scanners overlook"
        verdict = "suspicious"
        family = "Office-XLM"
        confidence = 65
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $workbook = /PK\x03\x04.{26}xl\/workbook\.(xml|bin)/s
        $sheet = /PK\x03\x04.{26}xl\/macrosheets\/[a-z]{1,20}[0-9]{1,4}\.(xml|bin)/si
    condition:
        Is_OOXML_Zip and $workbook and $sheet
}

rule Office_Remote_Template : office
{
    meta:
        description = "Office document that loads its template from a web server when it is opened"
        verdict = "malicious"
        family = "Office-RemoteTemplate"
        confidence = 80
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        // Attributes come in any order, so each stands for itself within one element.
        $first = /<Relationship [^<>]{0,300}relationships\/attachedTemplate"[^<>]{0,300}Target[ ]?=[ ]?"(https?|ftp|mhtml|\\\\\\\\)[^"<>]{2,200}"[^<>]{0,100}TargetMode[ ]?=[ ]?"External"/i
        $second = /<Relationship [^<>]{0,300}TargetMode[ ]?=[ ]?"External"[^<>]{0,100}relationships\/attachedTemplate"[^<>]{0,300}Target[ ]?=[ ]?"https?:/i
        $third = /<Relationship [^<>]{0,300}Target[ ]?=[ ]?"https?:[^"<>]{2,200}"[^<>]{0,100}relationships\/attachedTemplate"/i
        $flat = "<?mso-application progid=\"Word.Document\"?>"
        $package = "http://schemas.microsoft.com/office/2006/xmlPackage"
    condition:
        (Is_OOXML_Zip or ($flat in (0 .. 1024) and $package)) and any of ($first, $second, $third)
}

rule RTF_Remote_Template : office rtf
{
    meta:
        description = "RTF document whose template destination is a web address"
        verdict = "malicious"
        family = "RTF-RemoteTemplate"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $template = /\{\\\*\\template[ \t\r\n]{1,8}(https?:\/\/|\\u-?[0-9]{2})[^}\r\n]{4,400}\}/
        $body = /\\(pard|par|sectd|fonttbl)\b/
    condition:
        Is_RTF and $template and $body
}

rule Office_DDE_Command : office dde
{
    meta:
        description = "Document field that starts a program through dynamic data exchange"
        verdict = "malicious"
        family = "Office-DDE"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $field = /\bDDE(AUTO)?[ \t]{1,4}["'\\]{0,3}([a-z]:)?[^\r\n<>{}]{0,48}\b(cmd|powershell|mshta|rundll32|regsvr32|wscript|cscript)(\.exe)?\b/i
        $instruction1 = /<w:(instrText|fldSimple)\b/
        $instruction2 = "\\fldinst"
        $flat = "<?mso-application"
    condition:
        $field and (
            (Is_RTF and $instruction2) or
            ((Is_OOXML_Zip or $flat in (0 .. 1024)) and $instruction1) or
            Is_OLE_File
        )
}

rule Spreadsheet_Text_DDE_Formula : office dde
{
    meta:
        description = "Delimited text whose cells are formulas that start a program when a spreadsheet opens them"
        verdict = "malicious"
        family = "CSV-DDE"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $cell = /(^|[,;\t\n]"?)[=+@-][A-Z0-9+*()-]{0,20}(cmd|powershell|mshta|rundll32|regsvr32|msexcel)(\.exe)?\|[ \t]?'[^'\r\n]{2,400}'![A-Z_']/i
        $command = /\|[ \t]?'[ \t]*(\/[ck][ \t]|-[a-z]{1,20}[ \t]|https?:|\\\.\.\\)/i
        $html = /<(html|body|p|div|code|pre)\b/i
        $fence = "\n```"
    condition:
        $cell and $command and not $html and not $fence and filesize < 4MB
}

rule RTF_Equation_Editor_Object : office rtf exploit
{
    meta:
        description = "RTF document with an embedded Equation Editor object, the carrier of CVE-2017-11882 and its kin"
        verdict = "malicious"
        family = "RTF-EquationEditor"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $object = "\\objdata"
        $embed = /\\(objemb|objupdate|objocx|objautlink|object)\b/
        // "Equation.3" and "Equation.2" as the hexadecimal text of an object header
        $class = /4571756174696f6e2e3[23]/i
        // CLSID 0002CE02-0000-0000-C000-000000000046 in its on-disk byte order
        $clsid = "02ce020000000000c000000000000046" nocase
    condition:
        Is_RTF and $object and $embed and ($class or $clsid)
}

rule RTF_Link_Object_Download : office rtf exploit
{
    meta:
        description = "RTF document with a self-updating link object on a web address, the technique of CVE-2017-0199"
        verdict = "malicious"
        family = "RTF-LinkDownload"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $object = "\\objdata"
        $update = /\\(objupdate|objautlink)\b/
        $link = "4f4c45324c696e6b" nocase                       // "OLE2Link"
        $moniker = "e0c9ea79f9bace118c8200aa004ba90b" nocase    // CLSID of the URL moniker
        $address1 = "680074007400700073003a002f002f00" nocase   // "https://" in UTF-16
        $address2 = "68007400740070003a002f002f00" nocase       // "http://" in UTF-16
    condition:
        Is_RTF and $object and $update and ($link or $moniker) and any of ($address*)
}

rule RTF_Package_With_Program : office rtf
{
    meta:
        description = "RTF document that carries a packaged program or script"
        verdict = "malicious"
        family = "RTF-Package"
        confidence = 80
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $object = "\\objdata"
        // "Package" with its terminating zero, as an OLE 1.0 class name
        $package = "5061636b61676500" nocase
        // ".exe", ".scr", ".vbs", ".js", ".hta", ".bat", ".cmd", ".ps1", ".lnk", ".sct", each with the zero that ends the file name
        $program = /2e(657865|736372|766273|6a73|687461|626174|636d64|707331|6c6e6b|736374)00/i
    condition:
        Is_RTF and $object and $package and $program
}
