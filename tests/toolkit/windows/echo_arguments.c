/* Writes the system's idea of every argument as UTF-8, one a line with CRLF, and ends with the number of arguments. */
#include <windows.h>
#include <shellapi.h>
#include <stdio.h>
#include <fcntl.h>
#include <io.h>

int main(void)
{
    int count;
    LPWSTR *arguments = CommandLineToArgvW(GetCommandLineW(), &count);
    _setmode(_fileno(stdout), _O_BINARY);
    for (int i = 1; i < count; i++) {
        char text[32768];
        WideCharToMultiByte(CP_UTF8, 0, arguments[i], -1, text, sizeof text, NULL, NULL);
        printf("%s\r\n", text);
    }
    fprintf(stderr, "%d arguments\n", count - 1);
    return count - 1;
}
