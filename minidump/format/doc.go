// Package format names what a minidump looks like on disk: stream numbers,
// record layouts, flags, and the CPU contexts of its threads. It holds no
// policy: package minidump decides what a broken record means.
//
// The container is Microsoft's (minidumpapiset.h: MINIDUMP_HEADER,
// MINIDUMP_DIRECTORY and the structures they lead to); the streams from
// 0x4767 are Breakpad's, those from 0x4350 Crashpad's and those from 0x4D7A
// Mozilla's. All records are packed; their byte order is that of the header's
// signature. Every struct here has exactly the fields of the record in their
// order, so encoding/binary reads and writes it.
//
// Bytes are taken as hostile: Cursor never reads past its end and reports the
// first failure only.
package format
