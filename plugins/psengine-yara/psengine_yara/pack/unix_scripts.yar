// Scripts for Unix systems: downloaders, reverse shells, persistence.

private rule Is_Shell_Script
{
    strings:
        $shebang = /^#![ \t]*\/(usr\/)?(bin|local\/bin)\/(env[ \t]+)?(ba|da|z|k|a)?sh\b/
    condition:
        $shebang at 0
}

rule Shell_Download_And_Execute : shell downloader
{
    meta:
        description = "Shell script that fetches a program into a world-writable folder, makes it executable, runs and deletes it"
        verdict = "malicious"
        family = "Shell-Downloader"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $folder = /\bcd[ \t]+(\/tmp|\/var\/tmp|\/dev\/shm|\/var\/run)\b/
        $fetch = /\b(wget|curl|tftp)[ \t][^\n|;&]{0,80}(https?|ftp):\/\/[^\s'"]{4}/
        $target = /\b(wget|curl)[ \t][^\n|;&]{0,120}[ \t](-O|-o|--output(-document)?)[ =]?["']?(\/tmp\/|\/var\/tmp\/|\/dev\/shm\/)/
        $mode = /\bchmod[ \t]+(\+x|a\+x|u\+x|0?7[0-7][0-7])[ \t]/
        $start = /(^|[\n;&][ \t]*)(\.\/|\/tmp\/|\/var\/tmp\/|\/dev\/shm\/|nohup[ \t]+(\.|\/tmp|\/dev\/shm)\/)[A-Za-z0-9._-]{1,40}/
        $remove = /\brm[ \t]+(-[rf]{1,2}[ \t]+)?["']?(\.\/|\/tmp\/|\/var\/tmp\/|\/dev\/shm\/|\$0|\*)?[A-Za-z0-9._*$-]{1,40}/
    condition:
        Is_Shell_Script and $fetch and ($folder or $target) and $mode and $start and $remove and filesize < 256KB
}

rule Shell_Architecture_Spray : shell botnet
{
    meta:
        description = "Shell script that fetches one program for many processors and runs each: how device botnets spread"
        verdict = "malicious"
        family = "IoT-Botnet-Loader"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $fetch = /\b(wget|curl|tftp|ftpget)[ \t][^\n|;&]{0,60}(https?:\/\/|-g[ \t]|-r[ \t])/
        $mode = /\bchmod[ \t]+(\+x|0?777|\*)/
        $cpu1 = /[\/. _-](mips|mpsl|mipsel)([\s;'"]|$)/
        $cpu2 = /[\/. _-]arm[4-7]?l?([\s;'"]|$)/
        $cpu3 = /[\/. _-]sh4([\s;'"]|$)/
        $cpu4 = /[\/. _-](ppc|powerpc)([\s;'"]|$)/
        $cpu5 = /[\/. _-](m68k|spc|sparc|arc)([\s;'"]|$)/
        $cpu6 = /[\/. _-](x86|i[56]86|x86_64)([\s;'"]|$)/
        $folder = /\bcd[ \t]+(\/tmp|\/var\/run|\/mnt|\/root|\/dev\/shm)\b/
        $start = /(^|[\n;&|][ \t]*)\.\/["']?[A-Za-z0-9.$\{_-]{1,40}/
    condition:
        filesize < 64KB and $fetch and $mode and $folder and $start and 4 of ($cpu*)
}

rule Shell_Pipe_To_Shell_Hidden : shell downloader
{
    meta:
        description = "Script line that pipes a download into a shell, silenced and in the background or from a bare address"
        verdict = "suspicious"
        family = "Shell-PipeDownload"
        confidence = 70
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $bare = /\b(curl|wget)[ \t][^\n|;&]{0,60}http:\/\/([0-9]{1,3}\.){3}[0-9]{1,3}[^\n|;&]{0,80}\|[ \t]*(sudo[ \t]+)?(ba|da|z)?sh\b/
        $quiet = /\b(curl|wget)[ \t][^\n|;&]{0,60}https?:\/\/[^\n|;]{3,120}\|[ \t]*(nohup[ \t]+)?(ba|da|z)?sh\b[^\n]{0,40}>[ \t]*\/dev\/null[ \t]+2>&1[ \t]*&/
        $either = /\([ \t]*(curl|wget)[ \t][^\n|;&()]{3,100}\|\|[ \t]*(curl|wget)[ \t][^\n|;&()]{3,100}\)[ \t]*\|[ \t]*(ba|da|z)?sh\b/
    condition:
        Is_Shell_Script and filesize < 256KB and any of them
}

rule Reverse_Shell_Bash : reverseshell
{
    meta:
        description = "Script that joins an interactive shell to a network connection through /dev/tcp"
        verdict = "malicious"
        family = "ReverseShell"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $direct = /\b(ba|z|da)?sh[ \t]+-i[ \t]*(>&|&>|>)[ \t]*\/dev\/(tcp|udp)\/[A-Za-z0-9._${}-]{3,80}\/[0-9${}A-Za-z_]{1,10}[ \t]+(0>&1|0<&1|<&1|2>&1[ \t]+0)/
        $exec = /\bexec[ \t]+[0-9]{1,3}<>[ \t]*\/dev\/tcp\/[A-Za-z0-9._${}-]{3,80}\/[0-9${}A-Za-z_]{1,10}/
        $loop = /(cat[ \t]*<&[0-9]{1,3}|\b(ba|z|da)?sh[ \t]+(-i[ \t]+)?<&[0-9]{1,3})[^\n]{0,80}([0-9]>&[0-9]{1,3}|>&[0-9]{1,3})/
        $html = /<(html|body|p|div|code|pre)\b/i
        $line = /(\/bin\/)?(ba|z|da)?sh[ \t]+-(i|c)\b/
        $job = /[0-9*][^\n]{0,12}[ \t]\*[ \t]+(root[ \t]+)?(\/bin\/)?(ba|z|da)?sh[ \t]+-(i|c)\b/
    condition:
        (Is_Shell_Script or $line at 0 or $job at 0) and not $html and filesize < 256KB and ($direct or ($exec and $loop))
}

rule Reverse_Shell_Python : reverseshell python
{
    meta:
        description = "Python that connects out, puts the socket in place of its standard streams and starts a shell"
        verdict = "malicious"
        family = "ReverseShell"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $socket = /\bsocket[ \t]*\.[ \t]*socket[ \t]*\(/
        $connect = /\.connect[ \t]*\([ \t]*\([^)\r\n]{3,120}\)[ \t]*\)/
        $stdin = /\bdup2[ \t]*\([ \t]*[a-z_]{1,20}\.fileno\(\)[ \t]*,[ \t]*(0|fd|f)[ \t]*\)/
        $shell1 = /\bpty\.spawn[ \t]*\([ \t]*\[?["'](\/bin\/)?(ba|z|da)?sh["']/
        $shell2 = /\b(call|Popen|run|system|execl|execv)[ \t]*\([ \t]*\[?["']\/bin\/(ba|z|da)?sh["'][ \t]*,[ \t]*\[?["']-i["']/
    condition:
        filesize < 256KB and $socket and $connect and $stdin and any of ($shell*)
}

rule Reverse_Shell_Perl : reverseshell perl
{
    meta:
        description = "Perl that connects out, puts the socket in place of its standard streams and starts a shell"
        verdict = "malicious"
        family = "ReverseShell"
        confidence = 90
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $socket1 = /\bsocket[ \t]*\([ \t]*[A-Z]{1,12}[ \t]*,[ \t]*&?(PF|AF)_INET/
        $socket2 = /IO::Socket::INET[ \t]*(->|\()/
        $connect = /\bconnect[ \t]*\([ \t]*[A-Z]{1,12}[ \t]*,|PeerAddr/
        $stdin = /\b(open[ \t]*\([ \t]*STDIN[ \t]*,[ \t]*["'][<>+]{1,2}&[A-Z]{1,12}["']|STDIN->fdopen[ \t]*\([ \t]*\$[a-z]{1,20})/
        $shell = /\b(exec|system)[ \t]*[\({]?[ \t]*["']\/bin\/(ba|z|da)?sh[ \t]*(-i)?["']|system[ \t]*\$_[ \t]+while[ \t]*</
    condition:
        filesize < 256KB and any of ($socket*) and $connect and $stdin and $shell
}

rule Reverse_Shell_Netcat : reverseshell
{
    meta:
        description = "Shell script that hands a shell to netcat, by its -e option or through a named pipe"
        verdict = "malicious"
        family = "ReverseShell"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $option = /(^|[\n;&|(][ \t]*|nohup[ \t]+)(nc|ncat|netcat)(\.traditional)?[ \t]+[^\n#]{0,80}[ \t]?-(e|c)[ \t]*["']?(\/bin\/)?(ba|da|z)?sh\b/
        $pipe1 = /\bmkfifo[ \t]+["']?\/tmp\/[A-Za-z0-9._-]{1,30}/
        $pipe2 = /\b(ba|da|z)?sh[ \t]+-i[ \t]+2>&1[ \t]*\|[ \t]*(nc|ncat|netcat|openssl[ \t]+s_client)[ \t][^\n]{3,120}>[ \t]*["']?\/tmp\//
        $address = /(nc|ncat|netcat|s_client)(\.traditional)?[ \t][^\n]{0,60}([a-z0-9-]{1,60}\.[a-z0-9.-]{2,60}|([0-9]{1,3}\.){3}[0-9]{1,3})[ :]{1,2}[0-9]{2,5}/
    condition:
        Is_Shell_Script and filesize < 256KB and $address and ($option or ($pipe1 and $pipe2))
}

rule Cron_Download_Persistence : shell persistence
{
    meta:
        description = "Script that installs a frequent cron job which downloads and runs a script"
        verdict = "malicious"
        family = "Cron-Persistence"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $job = /(\*|\*\/[0-9]{1,2})[ \t]+\*[ \t]+\*[ \t]+\*[ \t]+\*[ \t]+([a-z]{2,12}[ \t]+)?[^\n|;]{0,40}\b(curl|wget)[ \t][^\n|;]{3,100}\|[ \t]*(ba|da|z)?sh\b/
        $install1 = /\|[ \t]*crontab[ \t]+-/
        $install2 = />{1,2}[ \t]*["']?\/(etc\/cron(tab|\.d\/)|var\/spool\/cron\/)/
        $install3 = /\bcrontab[ \t]+["']?\/(tmp|var\/tmp|dev\/shm)\//
    condition:
        filesize < 256KB and $job and any of ($install*) and (Is_Shell_Script or #job > 1)
}

rule SSH_Key_Persistence : shell persistence
{
    meta:
        description = "Script that adds a key of its own to authorized_keys and hides or protects the change"
        verdict = "malicious"
        family = "SSH-Persistence"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $key = /echo[ \t][^\n]{0,20}(ssh-(rsa|ed25519)|ecdsa-sha2-nistp[0-9]{3})[ \t]+AAAA[A-Za-z0-9+\/=]{20}/
        $into = />[ \t]*[^\n]{0,60}\.ssh\/authorized_keys/
        $lock = /\bchattr[ \t]+[+-][iaR]{1,3}[ \t]/
        $history = /\b(history[ \t]+-c|unset[ \t]+HISTFILE|HISTFILE=\/dev\/null|HISTSIZE=0)\b/
        $logs = /(>|rm[ \t]+-rf?|cat[ \t]+\/dev\/null[ \t]*>)[ \t]*\/var\/log\/(wtmp|lastlog|secure|auth\.log|btmp)/
        $firewall = /\b(iptables[ \t]+-F|setenforce[ \t]+0|ufw[ \t]+disable)\b/
    condition:
        Is_Shell_Script and $key and $into and any of ($lock, $history, $logs, $firewall)
}

rule Miner_Install_Script : shell miner
{
    meta:
        description = "Script that stops rival miners and starts its own on a mining pool"
        verdict = "malicious"
        family = "CoinMiner-Script"
        confidence = 85
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $rival = /\b(pkill|killall)[ \t]+(-9[ \t]+|-f[ \t]+){0,2}["']?(xmrig|xmr-stak|minerd|kinsing|kdevtmpfsi|cpuminer|watchbog|sysupdate)/
        $pool = /\bstratum\+(tcp|ssl):\/\/[a-z0-9.-]{4,80}:[0-9]{2,5}/i
        $port = /[ \t]-o[ \t]+[a-z0-9.-]{4,80}:[0-9]{2,5}[ \t]/
        $wallet = /\b[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b/
        $quiet = /(nohup|>[ \t]*\/dev\/null|--background|-B\b|setsid)/
    condition:
        Is_Shell_Script and $rival and $quiet and ($pool or ($port and $wallet))
}

rule Miner_Configuration : miner
{
    meta:
        description = "Settings of a Monero miner with a wallet filled in, running unattended"
        verdict = "suspicious"
        family = "CoinMiner-Config"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $pools = /"pools"[ \t]*:[ \t\r\n]*\[/
        $url = /"url"[ \t]*:[ \t]*"(stratum\+(tcp|ssl):\/\/)?[a-z0-9.-]{4,80}:[0-9]{2,5}"/i
        $wallet = /"user"[ \t]*:[ \t]*"[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}/
        $unattended = /"background"[ \t]*:[ \t]*true/
        $silent = /"donate-level"[ \t]*:[ \t]*0/
        $nicehash = /"(nicehash|keepalive|rig-id|randomx)"[ \t]*:/
    condition:
        $pools and $url and $wallet and $nicehash and ($unattended or $silent)
}

rule ELF_Device_Bot : linux botnet
{
    meta:
        description = "Linux program with the working strings of a device botnet: watchdog, rivals' ports, default logins, floods"
        verdict = "malicious"
        family = "IoT-Botnet"
        confidence = 80
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $watchdog = "/dev/misc/watchdog"
        $tcp = "/proc/net/tcp"
        $busybox = /\/bin\/busybox [A-Z]{3,10}\b/
        $applet = ": applet not found"
        $login1 = "xc3511"
        $login2 = "7ujMko0admin"
        $login3 = "Zte521"
        $prompt = "enable\x00system\x00shell"
        $flood = /(udp|syn|ack|stomp|greip|http) ?flood/i
    condition:
        uint32(0) == 0x464C457F and ($busybox or $applet or $prompt) and 2 of ($login*) and
        2 of ($watchdog, $tcp, $flood, $busybox)
}
