/* Writes the value of each variable that an argument names, or "unset", one a line with CRLF. */
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    for (int i = 1; i < count; i++) {
        const char *value = getenv(arguments[i]);
        printf("%s=%s\n", arguments[i], value ? value : "unset"); /* text mode: \n becomes CRLF */
    }
    return 0;
}
