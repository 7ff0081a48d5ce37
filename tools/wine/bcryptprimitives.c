/* SPDX-License-Identifier: Apache-2.0
 *
 * bcryptprimitives.dll with the one function that libraries of Rust call and
 * Wine 8 lacks. Windows 7 and later have it.
 */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
    while (size) {
        ULONG part = size > 0x10000000 ? 0x10000000 : (ULONG)size;
        if (!RtlGenRandom(data, part))
            return FALSE;
        data += part;
        size -= part;
    }
    return TRUE;
}
