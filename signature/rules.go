package signature

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"mayday/signature/python"
)

// Rule is one row of the table of signature rules, for documentation.
type Rule struct {
	Name string
	Doc  string
}

// A rule may change the signature of the state it is given.
type rule struct {
	Rule
	run func(*state)
}

// generationRule is the name of the first rule, which the watchdog rule runs
// again.
const generationRule = "SignatureGenerationRule"

// rules is the one table; they run in this order.
var rules = [...]rule{
	{Rule{generationRule, "Makes the signature from the Java stack or the frames of the crashing thread."}, generation},
	{Rule{"StackwalkerErrorSignatureRule", "Adds the stackwalker's status to an EMPTY signature."}, stackwalkerError},
	{Rule{"BadHardware", "Puts 'bad hardware' in front when the disk failed to deliver a page."}, badHardware},
	{Rule{"OOMSignature", "Puts 'OOM' and a size class in front of crashes by lack of memory."}, outOfMemory},
	{Rule{"AbortSignature", "Puts the abort message in front."}, abortMessage},
	{Rule{"SignatureShutdownTimeout", "Replaces the signature by phase and conditions of a shutdown timeout."}, shutdownTimeout},
	{Rule{"SignatureRunWatchDog", "Takes the main thread's signature when the watchdog killed the process."}, runWatchdog},
	{Rule{"SignatureIPCChannelError", "Replaces the signature by the IPC channel error."}, ipcChannelError},
	{Rule{"SignatureIPCMessageName", "Adds the name of the IPC message."}, ipcMessageName},
	{Rule{"StackOverflowSignature", "Puts 'stackoverflow' in front."}, stackOverflow},
	{Rule{"HungProcess", "Puts the kind of hang in front."}, hungProcess},
	{Rule{"SigPrintableCharsOnly", "Drops what is not printable ASCII."}, printableOnly},
	{Rule{"SigFixWhitespace", "Makes each run of white space one space."}, fixWhitespace},
	{Rule{"SigTruncate", "Cuts the signature to 255 code points."}, truncate},
}

// Rules lists the signature rules in the order in which they run.
func Rules() []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = r.Rule
	}
	return out
}

// state is one crash on its way through the rules.
type state struct {
	in       *Input
	lists    *Lists
	improved bool
	thread   int    // the crashing thread; the watchdog rule sets it to 0
	rule     string // the name of the rule that runs
	sig      string
	res      Result
	frames   [maxFrames]named // the buffer of frameList
	kept     [maxFrames]named // and of stack
}

var states = sync.Pool{New: func() any { return new(state) }}

func (s *state) set(sig string) {
	s.res.events = append(s.res.events, event{rule: s.rule, kind: changed, a: s.sig, b: sig})
	s.sig = sig
}

func (s *state) note(text string) {
	s.res.Notes = append(s.res.Notes, s.rule+": "+text)
}

// crashing finds the crashing thread, or nil.
func (s *state) crashing() *Thread {
	i := s.thread
	if i < 0 {
		i += len(s.in.Threads)
	}
	if i < 0 || i >= len(s.in.Threads) {
		return nil
	}
	return &s.in.Threads[i]
}

func generation(s *state) {
	switch {
	case s.in.JavaStackTrace != "" || s.in.JavaStackTraceMalformed:
		s.debug(usingJavaStack)
		javaStackTrace(s)
	case s.in.JavaException != nil:
		s.debug(usingJavaException)
		s.javaException(s.in.JavaException)
	default:
		s.debug(usingC)
		s.debug(usingLists)
		s.stack()
	}
}

func stackwalkerError(s *state) {
	if strings.HasPrefix(s.sig, "EMPTY") && s.in.StackwalkStatus != "" {
		s.set(s.sig + "; " + s.in.StackwalkStatus)
	}
}

func badHardware(s *state) {
	if strings.Contains(s.in.Reason, "STATUS_DEVICE_DATA_ERROR") {
		s.set("bad hardware | " + s.sig)
	}
}

// oomWords in a signature say that the process died for lack of memory.
var oomWords = [...]string{"NS_ABORT_OOM", "mozalloc_handle_oom", "CrashAtUnhandlableOOM", "AutoEnterOOMUnsafeRegion", "alloc::oom::oom"}

func (s *state) isOOM() bool {
	if s.in.odd.oomTruthy || s.in.OOMAllocationSize != nil && *s.in.OOMAllocationSize != 0 {
		return true
	}
	if s.sig == "" {
		return false
	}
	for _, w := range oomWords {
		if strings.Contains(s.sig, w) {
			return true
		}
	}
	if t := s.crashing(); t != nil {
		switch t.LastError {
		case "ERROR_COMMITMENT_LIMIT", "ERROR_NOT_ENOUGH_MEMORY":
			return true
		}
	}
	switch s.in.Reason {
	case "STATUS_FATAL_MEMORY_EXHAUSTION", "STATUS_NO_MEMORY":
		return true
	}
	return s.in.JSLargeAllocationFailure == "Reporting"
}

func outOfMemory(s *state) {
	if !s.isOOM() {
		return
	}
	switch {
	case s.in.JSLargeAllocationFailure == "Reporting":
		s.set("OOM | large | " + s.sig)
	case s.in.odd.oomError != "":
		s.note("Rule failed: " + s.in.odd.oomError)
	case s.in.OOMAllocationSize == nil:
		s.set("OOM | unknown | " + s.sig)
	case *s.in.OOMAllocationSize <= smallAllocation:
		s.set("OOM | small")
	default:
		s.set("OOM | large | " + s.sig)
	}
}

func abortMessage(s *state) {
	msg := s.in.AbortMessage
	if msg == "" {
		return
	}
	// Such a message is nothing but a place in the source, which moves.
	if strings.Contains(msg, "###!!! ABORT: file ") {
		s.set("Abort | " + s.sig)
		return
	}
	if _, after, ok := strings.Cut(msg, "###!!! ABORT:"); ok {
		msg = after
	}
	msg, _, _ = strings.Cut(msg, ": file ")
	if strings.Contains(msg, "unable to find a usable font") {
		open, end := strings.IndexByte(msg, '('), strings.LastIndexByte(msg, ')')
		if open >= 0 && end >= 0 {
			msg = msg[:open] + msg[end+1:]
		}
	}
	msg = python.TrimSpace(printable(msg))
	if len(msg) > maxAbortMessage {
		msg = msg[:maxAbortMessage-len(ellipsis)] + ellipsis
	}
	s.set("Abort | " + msg + frameSeparator + s.sig)
}

func runWatchdog(s *state) {
	if !strings.Contains(s.sig, watchdogFrame) {
		return
	}
	// The inner round speaks under the name of the first rule and looks at the
	// main thread.
	rule, lists, thread := s.rule, s.lists, s.thread
	s.rule, s.thread = generationRule, 0
	if s.lists.watchdog != nil {
		s.lists = s.lists.watchdog
	}
	generation(s)
	s.rule, s.thread, s.lists = rule, thread, lists
	s.set("shutdownhang | " + s.sig)
}

func ipcChannelError(s *state) {
	text := s.in.IPCChannelError
	if text == "" {
		return
	}
	kind := "IPCError-content | "
	for _, d := range s.in.AdditionalMinidumps {
		if d == browserDump {
			kind = "IPCError-browser | "
		}
	}
	s.set(kind + firstRunes(text, maxChannelError))
	s.note("IPC Channel Error stomped on signature")
}

func ipcMessageName(s *state) {
	if s.in.IPCMessageName != "" {
		s.set(s.sig + " | IPC_Message_Name=" + s.in.IPCMessageName)
	}
}

func stackOverflow(s *state) {
	if s.in.Reason == stackOverflowReason {
		s.set("stackoverflow | " + s.sig)
	}
}

func hungProcess(s *state) {
	if s.in.Hang != nil {
		s.set("hang: " + *s.in.Hang + frameSeparator + s.sig)
	}
}

func printableOnly(s *state) {
	sig := printable(python.TrimSpace(s.sig))
	if sig != s.sig {
		s.set(sig)
		s.note("unprintable characters removed")
	}
}

func fixWhitespace(s *state) {
	sig := squeeze(s.sig)
	if sig != s.sig {
		s.set(sig)
	}
}

func truncate(s *state) {
	if len(s.sig) > maxSignature && utf8.RuneCountInString(s.sig) > maxSignature {
		s.set(firstRunes(s.sig, maxSignature-len(ellipsis)) + ellipsis)
		s.note("SigTrunc: signature truncated due to length")
	}
}

// event is one line of the debug log, kept apart so that text is made only
// when somebody reads it.
type event struct {
	rule string
	kind eventKind
	n    int32
	a, b string
}

type eventKind uint8

const (
	changed eventKind = iota
	usingC
	usingJavaStack
	usingJavaException
	usingLists
	frameEmpty
	frameIrrelevant
	framePrefix
	frameStop
	frameSentinel
)

func (s *state) debug(kind eventKind) {
	if s.res.events == nil {
		s.res.events = make([]event, 0, 8)
	}
	s.res.events = append(s.res.events, event{rule: s.rule, kind: kind})
}

func (s *state) debugFrame(kind eventKind, frame string, index int) {
	s.res.events = append(s.res.events, event{rule: s.rule, kind: kind, a: frame, n: int32(index)})
}

// DebugLog tells how the signature came about, a line a step. It is made anew
// at each call.
func (r *Result) DebugLog() []string {
	out := make([]string, 0, len(r.events))
	for _, e := range r.events {
		out = append(out, e.rule+": "+e.text(r.source))
	}
	return out
}

func (e event) text(source string) string {
	switch e.kind {
	case changed:
		return fmt.Sprintf(`change signature: "%s" -> "%s"`, e.a, e.b)
	case usingC:
		return "using CSignatureTool"
	case usingJavaStack:
		return "using JavaSignatureTool"
	case usingJavaException:
		return "using JavaExceptionSignatureTool"
	case usingLists:
		if source == "" {
			return "using included signature lists"
		}
		return "using signature lists from " + source
	case frameEmpty:
		return `empty string; ignoring: "` + e.a + `"`
	case frameIrrelevant:
		return `irrelevant; ignoring: "` + e.a + `"`
	case framePrefix:
		return `prefix; continue iterating: "` + e.a + `"`
	case frameStop:
		return `not a prefix; stop: "` + e.a + `"`
	case frameSentinel:
		return fmt.Sprintf(`sentinel; starting at "%s" index %d`, e.a, e.n)
	}
	return ""
}
