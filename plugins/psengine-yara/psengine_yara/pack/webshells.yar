// Web shells: server pages that run what a visitor sends.

rule PHP_Eval_Request : webshell php
{
    meta:
        description = "PHP that evaluates code from the request, plain or decoded"
        verdict = "malicious"
        family = "PHP-Webshell"
        confidence = 95
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $open = /<\?(php\b|=|[ \t\r\n@])/i
        $eval = /\b(eval|assert)[ \t]*\([ \t]*@?([a-z0-9_]{3,30}[ \t]*\([ \t]*@?){0,4}\$_(GET|POST|REQUEST|COOKIE)[ \t]*\[/i
        $function = /\bcreate_function[ \t]*\([ \t]*['"][^'"]{0,40}['"][ \t]*,[ \t]*@?\$_(GET|POST|REQUEST|COOKIE)[ \t]*\[/i
        $input = /\beval[ \t]*\([ \t]*@?([a-z0-9_]{3,30}[ \t]*\([ \t]*){1,3}file_get_contents[ \t]*\([ \t]*['"]php:\/\/input/i
    condition:
        $open in (0 .. 4096) and any of ($eval, $function, $input)
}

rule PHP_Command_From_Request : webshell php
{
    meta:
        description = "PHP that runs a command line from the request"
        verdict = "malicious"
        family = "PHP-Webshell"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $open = /<\?(php\b|=|[ \t\r\n@])/i
        $call = /\b(system|shell_exec|passthru|exec|popen|proc_open|pcntl_exec)[ \t]*\([ \t]*@?((base64_decode|trim|stripslashes|urldecode|str_rot13)[ \t]*\([ \t]*)?@?\$_(GET|POST|REQUEST|COOKIE)[ \t]*\[/i
        $ticks = /`[ \t]*\{?\$_(GET|POST|REQUEST|COOKIE)[ \t]*\[[^`\r\n]{1,40}`/i
        $indirect = /\$_(GET|POST|REQUEST|COOKIE)[ \t]*\[[^\]\r\n]{1,20}\][ \t]*\([ \t]*@?\$_(GET|POST|REQUEST|COOKIE)[ \t]*\[/i
    condition:
        $open in (0 .. 4096) and any of ($call, $ticks, $indirect)
}

rule PHP_Packed_Eval : webshell php obfuscation
{
    meta:
        description = "PHP that evaluates a long encoded and compressed text carried in itself"
        verdict = "malicious"
        family = "PHP-Packed"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $open = /<\?(php\b|=|[ \t\r\n@])/i
        $packed = /\beval[ \t]*\([ \t]*@?((gzinflate|gzuncompress|gzdecode|str_rot13|strrev|convert_uudecode|urldecode)[ \t]*\([ \t]*@?){1,5}(base64_decode[ \t]*\([ \t]*)?["'][A-Za-z0-9+\/=\\%]{160}/i
        $coded = /\beval[ \t]*\([ \t]*@?['"]?[ \t?>.]{0,6}['"]?[ \t.]{0,3}base64_decode[ \t]*\([ \t]*["'][A-Za-z0-9+\/=]{160}/i
    condition:
        $open in (0 .. 4096) and ($packed or $coded)
}

rule JSP_Command_Shell : webshell jsp
{
    meta:
        description = "JSP page that runs a command line from the request and prints what it says"
        verdict = "malicious"
        family = "JSP-Webshell"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $page = /<%(@[ \t]*page\b|!|=|[ \t\r\n])/
        $parameter = /request[ \t]*\.[ \t]*getParameter[ \t]*\([ \t]*"/
        $runtime = /Runtime[ \t]*\.[ \t]*getRuntime[ \t]*\([ \t]*\)[ \t]*\.[ \t]*exec[ \t]*\(/
        $builder = /new[ \t]+(java\.lang\.)?ProcessBuilder[ \t]*\(/
        $output = /\.getInputStream[ \t]*\(/
        $shell = /"(cmd(\.exe)?|\/bin\/(ba)?sh)"|exec[ \t]*\([ \t]*request[ \t]*\./
    condition:
        $page in (0 .. 4096) and $parameter and ($runtime or $builder) and $output and $shell
}

rule ASP_Command_Shell : webshell asp
{
    meta:
        description = "ASP or ASP.NET page that evaluates the request or runs it in a command interpreter"
        verdict = "malicious"
        family = "ASP-Webshell"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $page = /<%[ \t\r\n=@a-z]/i
        $server = /runat[ \t]*=[ \t]*["']?server/i
        $eval = /\b(eval|execute|executeglobal)[ \t]*\(?[ \t]*request[ \t]*(\.(item|form|querystring))?[ \t]*[\[\(][ \t]*["'][^"'\r\n]{1,40}["'][ \t]*[\]\)]/i
        $start = /(new[ \t]+(System\.Diagnostics\.)?(ProcessStartInfo|Process)|Process\.Start)[ \t]*\(/i
        $argument = /\b(Arguments|FileName)[ \t]*=[^;\r\n]{0,80}(Request[ \t]*[\.\[\(]|\/c[ \t"])/i
        $shell = /["'](cmd(\.exe)?|[^"'\r\n]{0,60}\\cmd\.exe|powershell(\.exe)?)["']/i
        $request = /\bRequest[ \t]*(\.[ \t]*(Form|QueryString|Params|Item))?[ \t]*[\[\(][ \t]*"/i
        $wsh = /\bCreateObject[ \t]*\([ \t]*"WScript\.Shell"[ \t]*\)/i
        $exec = /\.(Exec|Run)[ \t]*\(?[^\r\n]{0,60}Request[ \t]*[\.\(]/i
    condition:
        ($page in (0 .. 4096) or $server in (0 .. 4096)) and (
            ($page and $eval) or
            ($start and $argument and $shell and $request) or
            ($page and $wsh and $exec)
        )
}
