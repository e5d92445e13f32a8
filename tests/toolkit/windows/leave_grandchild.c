/* Starts a detached copy of itself, says both process ids, and sleeps for the seconds of the first argument (60). The
   copy sleeps as long, and writes a byte to the file of the second argument, if there is one, when it has begun. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

int main(int count, char **arguments)
{
    DWORD seconds = count > 1 ? strtoul(arguments[1], NULL, 10) : 60;
    if (count > 3 && strcmp(arguments[3], "grandchild") == 0) {
        FILE *began = fopen(arguments[2], "wb");
        if (began) {
            fputc('1', began);
            fclose(began);
        }
        Sleep(seconds * 1000);
        return 0;
    }
    char program[MAX_PATH], line[4096];
    GetModuleFileNameA(NULL, program, sizeof program);
    snprintf(line, sizeof line, "\"%s\" %lu \"%s\" grandchild", program, seconds, count > 2 ? arguments[2] : "NUL");
    STARTUPINFOA startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    /* It inherits the handles, as a careless scanner's service does: the pipe to whoever reads the output stays open. */
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, DETACHED_PROCESS, NULL, NULL, &startup, &process)) {
        fprintf(stderr, "CreateProcess: %lu\r\n", GetLastError());
        return 1;
    }
    printf("%lu %lu\r\n", GetCurrentProcessId(), process.dwProcessId);
    fflush(stdout);
    Sleep(seconds * 1000);
    return 0;
}
