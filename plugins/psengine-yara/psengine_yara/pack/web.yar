// Pages and pictures for browsers.

rule HTML_Smuggling : html
{
    meta:
        description = "Page that builds a program or archive from text in itself and saves it without asking"
        verdict = "malicious"
        family = "HTML-Smuggling"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $page = /<(html|script|!doctype[ \t]+html|body|head)\b/i
        $decode = /\b(atob[ \t]*\(|charCodeAt[ \t]*\()/
        $blob = /\bnew[ \t]+(Blob|File)[ \t]*\([ \t]*\[/
        $link = /\bcreateObjectURL[ \t]*\(/
        $name = /\.download[ \t]*=|setAttribute[ \t]*\([ \t]*["']download["']/
        $click = /\.click[ \t]*\([ \t]*\)/
        $old = /\bmsSaveOrOpenBlob[ \t]*\(|\bmsSaveBlob[ \t]*\(/
        // base64 of: MZ; PK; 7z; Rar!; MSCF; OLE; LNK; "Rar!" behind a quotation mark
        $payload = /["'`](TVqQ|TVpQ|TVpB|UEsDB|N3q8r|UmFyI|TVNDR|0M8R4|TAAAA)[A-Za-z0-9+\/\\\r\n]{40}/
    condition:
        $page in (0 .. 4096) and $decode and $blob and $payload and (($link and $name and $click) or $old)
}

rule SVG_Script_Redirect : svg
{
    meta:
        description = "SVG picture whose script decodes text or leads the browser to another place"
        verdict = "suspicious"
        family = "SVG-Script"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $svg = /<svg[ \t\r\n>]/i
        $page = /<(html|!doctype[ \t]+html)\b/i
        $script = /<script\b[^<>]{0,200}>/i
        $handler = /<svg\b[^<>]{0,400}[ \t\r\n]onload[ \t]*=/i
        $move = /\b(window|document|top|self|parent)\.location(\.href)?[ \t]*=|\blocation\.(replace|assign)[ \t]*\(/
        $decode = /\beval[ \t]*\(|\batob[ \t]*\(|String\.fromCharCode[ \t]*\(|\bunescape[ \t]*\(|\bFunction[ \t]*\(/
        $remote = /["'`](https?:)?\/\/[a-z0-9.-]{4}/i
    condition:
        $svg in (0 .. 2048) and not $page in (0 .. 2048) and ($script or $handler) and
        (($move and ($remote or $decode)) or (#decode > 1))
}

rule HTML_Packed_Script : html obfuscation
{
    meta:
        description = "Page that writes or runs a long escaped text as its own content, as packed phishing pages do"
        verdict = "suspicious"
        family = "HTML-Packed"
        confidence = 65
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $page = /<(html|script|!doctype[ \t]+html|body|head)\b/i
        $escaped = /\b(document\.write|eval)[ \t]*\([ \t]*(unescape|decodeURIComponent)[ \t]*\([ \t]*["'](%[0-9a-f]{2}){60}/i
        $coded = /\b(document\.write|eval)[ \t]*\([ \t]*(window\.)?atob[ \t]*\([ \t]*["'][A-Za-z0-9+\/=]{200}/
    condition:
        $page in (0 .. 4096) and any of ($escaped, $coded)
}

rule HTML_Attachment_Login_Form : html phishing
{
    meta:
        description = "Page on its own that asks for a mailbox password and sends it to a script elsewhere or a chat bot"
        verdict = "suspicious"
        family = "HTML-Phishing"
        confidence = 70
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $page = /<(html|!doctype[ \t]+html)\b/i
        $password = /<input\b[^<>]{0,300}type[ \t]*=[ \t]*["']?password/i
        $prefilled = /<input\b[^<>]{0,300}value[ \t]*=[ \t]*["'][a-z0-9._%+-]{1,64}@[a-z0-9.-]{3}/i
        $action = /<form\b[^<>]{0,100}action[ \t]*=[ \t]*["']https?:\/\/[^"'<>]{4,120}\.php["']/i
        $bot = /https:\/\/api\.telegram\.org\/bot[0-9]{6,12}:/
        $lure = /(session (has )?expired|verify your (account|identity|password)|sign in to (view|continue|access) (the |your )?(document|file|message)|mailbox (is )?(full|quota))/i
    condition:
        $page in (0 .. 2048) and $password and $lure and ($bot or ($action and $prefilled))
}
