/* Writes what is in each file that an argument names, one a line with CRLF; "cannot open: NUMBER" where it is not opened. */
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <windows.h>
#include <shellapi.h>

int main(void)
{
    int count;
    LPWSTR *arguments = CommandLineToArgvW(GetCommandLineW(), &count);
    _setmode(_fileno(stdout), _O_BINARY);
    for (int i = 1; i < count; i++) {
        char content[4096];
        DWORD length;
        HANDLE file = CreateFileW(arguments[i], GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
        if (file == INVALID_HANDLE_VALUE) {
            printf("cannot open: %lu\r\n", GetLastError());
            continue;
        }
        ReadFile(file, content, sizeof content, &length, NULL);
        CloseHandle(file);
        printf("%.*s\r\n", (int)length, content);
    }
    return 0;
}
