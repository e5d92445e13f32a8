"""Web shells, pages, pictures and ransom notes."""

import base64

from yara_pack_samples.making import text

LONG = base64.b64encode(b"a harmless filler that is long enough to look like packed code; " * 4).decode()
PROGRAM = base64.b64encode(b"MZ\x90\0\x03\0\0\0 a filler, not a program" * 4).decode()
ESCAPED = "%3C" * 80


def smuggler(payload: str) -> bytes:
    return text(
        f"<html><body><script>\nvar d = at¦ob('{payload}');\nvar b = new Bl¦ob([d]);\n"
        "var a = document.createElement('a');\n"
        "a.href = URL.createObject¦URL(b);\na.down¦load = 'invoice.zip';\na.cl¦ick();\n</script></body></html>"
    )


def login(action: str, value: str) -> bytes:
    return text(
        f'<html><body><p>Sign in to view the document</p><form action="{action}" method="post">'
        f'<input type="text" name="u" value="{value}"><input type="pass¦word" name="p"></form></body></html>'
    )


PAIRS = {
    "PHP_Eval_Request": (
        text("<?php @ev¦al(base64_de¦code($_PO¦ST['c'])); ?>"),
        text("<?php $code = base64_decode($_POST['c']); echo htmlspecialchars($code); // never eval() it ?>"),
    ),
    "PHP_Command_From_Request": (
        text("<?php sys¦tem($_G¦ET['cmd']); ?>"),
        text("<?php $name = escapeshellarg($_GET['name']); system('ls ' . $name); ?>"),
    ),
    "PHP_Packed_Eval": (
        text(f"<?php ev¦al(gzin¦flate(base64_de¦code('{LONG}'))); ?>"),
        text(f"<?php $logo = base64_decode('{LONG}'); header('Content-Type: image/png'); echo gzinflate($logo); ?>"),
    ),
    "JSP_Command_Shell": (
        text(
            '<%@ page import="java.io.*" %><% String c = request.getPara¦meter("c");\n'
            'Process p = Runtime.getRun¦time().exec(new String[]{"/bin/sh", "-c", c});\n'
            "InputStream in = p.getInputStream(); %>"
        ),
        text(
            '<%@ page import="java.io.*" %><% String name = request.getParameter("name");\n'
            "InputStream in = application.getResourceAsStream(name); Runtime.getRuntime().gc(); %>"
        ),
    ),
    "ASP_Command_Shell": (
        text('<%@ Page Language="Jscript"%><%ev¦al(Requ¦est.Item["c"],"unsafe");%>'),
        text('<%@ Page Language="C#"%><% var name = Request.Item["name"]; Response.Write(Server.HtmlEncode(name)); %>'),
    ),
    "HTML_Smuggling": (
        smuggler(PROGRAM),
        smuggler(base64.b64encode(b"name,amount\nMiller,12\n" * 8).decode()),
    ),
    "SVG_Script_Redirect": (
        text(
            '<svg xmlns="http://www.w3.org/2000/svg"><script>window.loca¦tion.href = at¦ob("aHR0cHM6");</script></svg>'
        ),
        text(
            '<svg xmlns="http://www.w3.org/2000/svg"><script>document.getElementById("bar").setAttribute("width", '
            "5);</script></svg>"
        ),
    ),
    "HTML_Packed_Script": (
        text(f'<html><script>document.wri¦te(unes¦cape("{ESCAPED}"));</script></html>'),
        text('<html><script>document.write(unescape("%3Cscript src=a.js%3E%3C/script%3E"));</script></html>'),
    ),
    "HTML_Attachment_Login_Form": (
        login("https://example.invalid/next.p¦hp", "jo@example.invalid"),
        login("/session", ""),
    ),
    "Ransom_Note": (
        text(
            "All of your important files have been encr¦ypted.\n"
            "To recover them buy our decr¦yptor. Payment is in bit¦coin only.\n"
            "Install the Tor Brow¦ser and go to our page. Do not rename or modify files.\n"
            "After 72 hours the price will be doubled.\n"
        ),
        text(
            "All of your files are encrypted with your own password before they leave this computer.\n"
            "Payment for a larger plan is possible with bitcoin. Nobody else can decrypt them.\n"
            "Your plan ends within 30 days.\n"
        ),
    ),
}

ALSO = {
    "PHP_Eval_Request": [
        text("<?= assert($_REQ¦UEST['c']) ?>"),
        text("GIF89a<?php ev¦al(gzinflate(base64_decode($_COO¦KIE[1])));"),
        text("<?php ev¦al(base64_de¦code(file_get_con¦tents('php://input')));"),
        text("<?php $f = create_func¦tion('', $_PO¦ST['c']); $f();"),
    ],
    "PHP_Command_From_Request": [
        text("<?php echo `{$_G¦ET['c']}`;"),
        text("<?php $_G¦ET['f']($_PO¦ST['c']);"),
        text("<?php @pass¦thru(base64_decode($_REQ¦UEST['c']));"),
    ],
    "PHP_Packed_Eval": [text(f"<?php ev¦al('?>'.base64_de¦code('{LONG}'));")],
    "JSP_Command_Shell": [
        text(
            '<%! %><% ProcessBuilder b = new ProcessBuil¦der("cmd.exe", "/c", request.getParameter("c"));\n'
            "out.print(b.start().getInput¦Stream()); %>"
        ),
        text('<% Runtime.getRun¦time().exec(request.getPara¦meter("c")).getInputStream(); %>'),
    ],
    "ASP_Command_Shell": [
        text('<%ex¦ecute request("c")%>'),
        text(
            '<%@ Page Language="C#" %><script runat="server">void P() { var p = new ProcessStart¦Info();\n'
            'p.FileName = "cmd.exe"; p.Arguments = "/c " + Request.Form["c"]; }</script>'
        ),
        text('<% Set s = Server.CreateObject("WScript.Sh¦ell")\nSet e = s.Exec("cmd /c " & Request.Form("c")) %>'),
    ],
    "HTML_Smuggling": [
        text(f"<script>var b=new Bl¦ob([at¦ob('{PROGRAM}')]);navigator.msSaveOrOpen¦Blob(b,'a.exe')</script>"),
    ],
    "SVG_Script_Redirect": [
        text('<?xml version="1.0"?><svg onload="location.repl¦ace(\'https://example.invalid/\')"></svg>'),
        text("<svg><script>ev¦al(at¦ob('YWxlcnQoMSk='))</script></svg>"),
    ],
    "HTML_Packed_Script": [text(f"<script>ev¦al(at¦ob('{LONG}'))</script>")],
    "HTML_Attachment_Login_Form": [
        login("#", "").replace(
            b"</body>", text("<script>fetch('https://api.tele¦gram.org/bot123456789:x')</script></body>")
        ),
    ],
    "Ransom_Note": [
        text(
            "We have encr¦ypted your network. Pay the ransom in Mon¦ero (XMR) or your data will be published.\n"
            "Write to " + "a2" * 28 + ".onion within 48 hours. You can decrypt two files for free.\n"
        )
        .decode()
        .encode("utf-16-le"),
    ],
}
