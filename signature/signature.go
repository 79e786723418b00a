// Package signature turns a crash into its signature: the short text by which
// crashes of one cause are put in one heap.
//
// It follows the signature rules of Socorro (the "siggen" library): fourteen
// rules run in order over an Input, the first builds a signature from the
// normalised frames of the crashing thread or from a Java stack, the others put
// words in front of it, replace it, or tidy it. Four lists of Python-style
// regular expressions (Lists) say which frames are skipped, which are joined
// with the frame below, where a stack really begins, and which functions are
// told apart by line.
//
// The steps are: ParseCrashData or FromCrashData (any JSON value in any place
// gives an Input), Generate (never fails, linear in the size of the input), and
// around them Convert (processed crash to crash data), Lint, Try and Explain
// for those who tend the lists.
//
// The package reads no files, logs nothing and knows no configuration: lists
// come from an fs.FS, crashes from bytes or maps. It does not demangle:
// function names come demangled from the symbols. Where the upstream fails on
// a crash it goes on; docs/compatibility.md lists each difference.
package signature

// Limits of the rules, as the upstream has them.
const (
	maxFrames           = 40         // frames that take part, inlined ones included
	maxSignature        = 255        // code points; a longer signature is cut
	maxAbortMessage     = 80         // code points of an abort message
	maxChannelError     = 100        // code points of an IPC channel error
	smallAllocation     = 256 * 1024 // bytes up to which a failed allocation is "small"
	noFrameData         = "EMPTY: no frame data available"
	malformedTrace      = "EMPTY: Java stack trace not in expected format"
	malformedException  = "EMPTY: Java exception not in expected format"
	frameSeparator      = " | "
	ellipsis            = "..."
	windows             = "Windows NT"
	browserDump         = "upload_file_minidump_browser"
	watchdogFrame       = "RunWatchdog"
	stackOverflowReason = "EXCEPTION_STACK_OVERFLOW"
)

// Input is what a signature is made of. The zero value is a crash of which
// nothing is known.
type Input struct {
	// CrashingThread indexes Threads; a negative one counts from the end.
	CrashingThread int
	// Reason is the crash reason, such as EXCEPTION_ACCESS_VIOLATION_READ.
	Reason string
	// OS is the system's name; "Windows NT" makes module names lower case.
	OS      string
	Threads []Thread

	// JavaStackTrace, when not empty, is used instead of the threads.
	JavaStackTrace string
	// JavaStackTraceMalformed says that a stack trace was there, but no text.
	JavaStackTraceMalformed bool
	// JavaException, when not nil, is used instead of the threads.
	JavaException *JavaException

	// OOMAllocationSize is the size of the allocation that failed, in bytes;
	// nil when unknown.
	OOMAllocationSize *int64
	// JSLargeAllocationFailure is "Reporting" while a large allocation of the
	// script engine is being reported.
	JSLargeAllocationFailure string

	AbortMessage string
	// Hang names the kind of hang; nil means none, and "" is one.
	Hang *string
	// AsyncShutdownTimeout is a JSON object with "phase" and "conditions".
	AsyncShutdownTimeout string
	IPCChannelError      string
	IPCMessageName       string
	// AdditionalMinidumps names the dumps besides the main one.
	AdditionalMinidumps []string
	// StackwalkStatus is how the stackwalker ended (mdsw_status_string).
	StackwalkStatus string

	odd oddities
}

// oddities keeps what the types above cannot say of values that broke the
// format: Python code would fail on them or take them for true.
type oddities struct {
	oomTruthy  bool   // the size counts as present whatever its value
	oomError   string // the size is no number: what int() says of it
	asyncError string // the shutdown timeout is no text: what json.loads says
}

// Thread is one thread of the crashed process.
type Thread struct {
	Frames []Frame
	// LastError is the thread's last error, such as ERROR_COMMITMENT_LIMIT.
	LastError string
}

// Frame is one frame of a thread, as the stackwalker gives it.
type Frame struct {
	Function string
	File     string
	// Line is a decimal number, empty when unknown.
	Line   string
	Module string
	// Offset is the address in hexadecimal, with or without 0x.
	Offset string
	// ModuleOffset is the address within the module; only improved signatures
	// of stacks without symbols read it.
	ModuleOffset string
	// UnloadedModules names the modules that once were at this address.
	UnloadedModules []string
	// Inlines are the functions inlined here, innermost first.
	Inlines []Inline

	lineTruth truth
}

// Inline is a function that was inlined into a frame.
type Inline struct {
	Function string
	File     string
	Line     string

	lineTruth truth
}

// truth overrides whether a line counts as known, for values that are no
// numbers.
type truth uint8

const (
	byValue truth = iota // known unless empty or zero
	always
	never
)

// JavaException is the first exception of a Java crash.
type JavaException struct {
	// Malformed says that the value lacked the expected parts.
	Malformed bool
	Type      string
	Module    string
	Frames    []JavaFrame
}

// JavaFrame is one frame of a Java exception.
type JavaFrame struct {
	Module   string
	Function string
	File     string
}

// Result is a signature and how it came about.
type Result struct {
	Signature string
	// Upstream is the signature without Improvements; it is set only when the
	// lists carry some, and then equals Signature where they changed nothing.
	Upstream string
	// ProtoSignature joins all normalised frames, always as upstream has them;
	// empty when there are none.
	ProtoSignature string
	// NormalizedFrames are the frames of ProtoSignature.
	NormalizedFrames []string
	// Notes are for the processor notes, each "RuleName: text".
	Notes []string
	// ListsVersion is the version of the lists that decided.
	ListsVersion string

	events []event
	source string
}

// Generate makes the signature of in. A nil lists means the default ones.
// It never fails; in may come from anywhere. The slices of the result belong
// to the caller. Safe for concurrent use.
func Generate(in Input, lists *Lists) Result {
	if lists == nil {
		lists = defaults()
	}
	r := generate(&in, lists, false)
	if lists.improve.any() {
		better := generate(&in, lists, true)
		better.Upstream = r.Signature
		return better
	}
	return r
}

// generate runs the rules once, over improved frames or over upstream's.
func generate(in *Input, lists *Lists, improved bool) Result {
	s := states.Get().(*state)
	s.in, s.lists, s.improved, s.thread, s.sig = in, lists, improved, in.CrashingThread, ""
	s.res = Result{ListsVersion: lists.version, source: lists.source}
	for i := range rules {
		s.rule = rules[i].Name
		rules[i].run(s)
	}
	s.res.Signature = s.sig
	res := s.res
	// What the pool holds must not keep a crash alive.
	s.in, s.lists, s.res, s.sig = nil, nil, Result{}, ""
	clear(s.frames[:])
	clear(s.kept[:])
	states.Put(s)
	return res
}
