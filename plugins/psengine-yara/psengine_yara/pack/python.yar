// Python that runs what it first has to decode or fetch.

rule Python_Encoded_Stager : python obfuscation
{
    meta:
        description = "Python that runs code kept as a long encoded, compressed or marshalled literal"
        verdict = "malicious"
        family = "Python-Stager"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $run = /\b(exec|eval)[ \t]*\([ \t]*(compile[ \t]*\([ \t]*)?((__import__[ \t]*\([ \t]*["'](zlib|base64|marshal|codecs|lzma|bz2|gzip)["'][ \t]*\)|zlib|base64|marshal|codecs|lzma|bz2|gzip)[ \t]*\.[ \t]*)(decompress|b64decode|b85decode|b32decode|loads|decode|urlsafe_b64decode)[ \t]*\(/
        $literal = /(decompress|b64decode|b85decode|b32decode|loads|decode|urlsafe_b64decode)[ \t]*\([ \t]*(\([ \t]*)?(bytes[ \t]*\([ \t]*)?b?["'][A-Za-z0-9+\/=\\_-]{120}/
    condition:
        filesize < 4MB and $run and $literal
}

rule Python_Remote_Exec : python downloader
{
    meta:
        description = "Python that fetches text from the network and executes it unseen"
        verdict = "malicious"
        family = "Python-Downloader"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $urllib = /\bexec[ \t]*\([ \t]*(compile[ \t]*\([ \t]*)?(urllib\.request\.|urllib2?\.|__import__[ \t]*\([ \t]*["']urllib[^)]{0,20}\)(\.request)?\.)?urlopen[ \t]*\([ \t]*["']http:\/\/[^"'\r\n]{3,120}["']/
        $requests = /\bexec[ \t]*\([ \t]*(__import__[ \t]*\([ \t]*["']requests["'][ \t]*\)|requests)\.get[ \t]*\([ \t]*["']https?:\/\/[^"'\r\n]{3,120}["'][^\r\n]{0,40}\.(text|content)/
        $hide = /(CREATE_NO_WINDOW|creationflags|0x08000000|pythonw|SW_HIDE|daemon[ \t]*=[ \t]*True|except[ \t]*(Exception)?[ \t]*:[ \t\r\n]*pass|os\.fork[ \t]*\(|devnull)/
    condition:
        filesize < 4MB and any of ($urllib, $requests) and $hide
}
