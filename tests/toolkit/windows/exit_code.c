/* Ends with the exit code that its argument says; the range is Windows', 0 to 0xffffffff. */
#include <stdlib.h>

int main(int count, char **arguments)
{
    return count > 1 ? (int)strtoul(arguments[1], NULL, 0) : 0;
}
