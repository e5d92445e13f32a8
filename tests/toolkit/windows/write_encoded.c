/* Writes "Grüße €5: sauber" and "Ende" with CRLF to stdout: in Windows' code page 1252, or as UTF-16 with a byte order
   mark if the argument is "utf-16". */
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>

static const wchar_t TEXT[] = L"Gr\u00fc\u00dfe \u20ac5: sauber\r\nEnde\r\n";

int main(int count, char **arguments)
{
    _setmode(_fileno(stdout), _O_BINARY);
    if (count > 1 && strcmp(arguments[1], "utf-16") == 0) {
        fwrite(L"\ufeff", sizeof(wchar_t), 1, stdout);
        fwrite(TEXT, sizeof(wchar_t), wcslen(TEXT), stdout);
        return 0;
    }
    char bytes[256];
    int length = WideCharToMultiByte(1252, 0, TEXT, (int)wcslen(TEXT), bytes, sizeof bytes, NULL, NULL);
    fwrite(bytes, 1, (size_t)length, stdout);
    return 0;
}
