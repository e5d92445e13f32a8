/* AcmeScan for Windows: acmescan --database FILE (--version | --update | PATH). 0: clean, 1: found, 2: trouble. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static const char SIGNATURES[] =
    "20240102\n"
    "EICAR-Test-File=58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d\n";

/* What is printed ends in CRLF, since standard output is in text mode. */
static int trouble(const char *path)
{
    fprintf(stderr, "ERROR: %s: %s\n", path, strerror(errno));
    return 2;
}

static unsigned char *content_of(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *content = calloc(*size + 1, 1);
    *size = fread(content, 1, *size, file);
    fclose(file);
    return content;
}

static int update(const char *database)
{
    FILE *file = fopen(database, "wb");
    if (!file)
        return trouble(database);
    fwrite(SIGNATURES, 1, sizeof SIGNATURES - 1, file);
    fclose(file);
    return 0;
}

/* Whether the content holds the bytes of a pattern in hexadecimal digits. */
static int matches(const char *pattern, const unsigned char *content, size_t size)
{
    unsigned char bytes[256];
    size_t length = 0;
    for (; pattern[2 * length] && pattern[2 * length + 1] && length < sizeof bytes; length++) {
        char digits[3] = {pattern[2 * length], pattern[2 * length + 1], 0};
        bytes[length] = (unsigned char)strtoul(digits, NULL, 16);
    }
    for (size_t at = 0; at + length <= size; at++)
        if (memcmp(content + at, bytes, length) == 0)
            return 1;
    return 0;
}

int main(int count, char **arguments)
{
    if (count != 4 || strcmp(arguments[1], "--database") != 0) {
        fprintf(stderr, "ERROR: usage: acmescan --database FILE (--version | --update | PATH)\n");
        return 2;
    }
    const char *database = arguments[2], *wanted = arguments[3];
    if (strcmp(wanted, "--update") == 0 && update(database) != 0)
        return 2;
    size_t size;
    char *signatures = (char *)content_of(database, &size);
    if (!signatures)
        return trouble(database);
    char *date = strtok(signatures, "\r\n");
    if (strcmp(wanted, "--update") == 0 || strcmp(wanted, "--version") == 0) {
        int known = 0;
        while (strtok(NULL, "\r\n"))
            known++;
        printf("AcmeScan 2.1\nSignatures: %s (%d)\n", date, known);
        return 0;
    }
    unsigned char *content = content_of(wanted, &size);
    if (!content)
        return trouble(wanted);
    for (char *signature; (signature = strtok(NULL, "\r\n"));) {
        char *pattern = strchr(signature, '=');
        *pattern = 0;
        if (matches(pattern + 1, content, size)) {
            printf("%s: FOUND %s\n", wanted, signature);
            return 1;
        }
    }
    printf("%s: OK\n", wanted);
    return 0;
}
