package format

// The states of MemoryInfo.State.
const (
	MemCommit  = 0x01000
	MemReserve = 0x02000
	MemFree    = 0x10000
)

// The access part of MemoryInfo.Protection, and the flags beside it.
const (
	PageNoAccess         = 0x01
	PageReadOnly         = 0x02
	PageReadWrite        = 0x04
	PageWriteCopy        = 0x08
	PageExecute          = 0x10
	PageExecuteRead      = 0x20
	PageExecuteReadWrite = 0x40
	PageExecuteWriteCopy = 0x80
	PageAccessMask       = 0xff
	PageGuard            = 0x100
	PageNoCache          = 0x200
	PageWriteCombine     = 0x400
)

// The kinds of MemoryInfo.Type.
const (
	MemPrivate = 0x0020000
	MemMapped  = 0x0040000
	MemImage   = 0x1000000
)
