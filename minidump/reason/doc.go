// Package reason names crash reasons: the signal and its code on Linux and
// Android, the Mach exception on macOS and iOS, the exception, NTSTATUS or
// error code on Windows. The texts are those of minidump-stackwalk, which
// signatures, searches and people are used to.
//
// All names lie in embedded text files, one line each, in sections by family;
// they are the public names of the systems' headers. The rules that choose a
// family are code: linux.go, mac.go, windows.go.
package reason
