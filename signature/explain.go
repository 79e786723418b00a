package signature

import (
	"fmt"
	"strings"
)

// Explanation tells frame by frame how a signature came about.
type Explanation struct {
	Result Result `json:"result"`
	// Thread is the index of the thread that was looked at, -1 when the
	// signature was not made of frames.
	Thread int            `json:"thread"`
	Frames []FrameVerdict `json:"frames,omitempty"`
}

// FrameVerdict is what became of one frame.
type FrameVerdict struct {
	Raw        string  `json:"raw"`
	Inline     bool    `json:"inline,omitempty"`
	Normalized string  `json:"normalized"`
	Verdict    Verdict `json:"verdict"`
	// By is the entry that decided, and where it stands; empty when none did.
	By string `json:"by,omitempty"`
}

// Verdict is what the rules did with a frame.
type Verdict string

// The verdicts on a frame.
const (
	BeforeSentinel Verdict = "before sentinel" // cut off
	EmptyFrame     Verdict = "empty"           // nothing is known of it
	Irrelevant     Verdict = "irrelevant"      // skipped
	Repeated       Verdict = "repeated"        // a library that was just added
	Prefix         Verdict = "prefix"          // added, go on
	Stop           Verdict = "stop"            // added, done
	NotReached     Verdict = "not reached"     // below the frame that stopped
	Fallback       Verdict = "fallback"        // nothing else was there to add
)

// Explain makes the signature of in again and says of each frame what decided
// about it. It is slower than Generate: entries are tried one by one.
func Explain(in Input, lists *Lists) Explanation {
	if lists == nil {
		lists = defaults()
	}
	e := Explanation{Result: Generate(in, lists), Thread: -1}
	if in.JavaStackTrace != "" || in.JavaStackTraceMalformed || in.JavaException != nil {
		return e
	}
	// The watchdog rule looks at the first thread instead.
	thread := in.CrashingThread
	if strings.HasPrefix(e.Result.Signature, "shutdownhang | ") {
		thread = 0
	}
	s := state{in: &in, lists: lists, thread: thread, improved: lists.improve.any()}
	t := s.crashing()
	if t == nil {
		return e
	}
	if thread < 0 {
		thread += len(in.Threads)
	}
	e.Thread = thread
	frames := s.frameList()
	e.Frames = make([]FrameVerdict, 0, len(frames))
	for i := range t.Frames {
		for j := range t.Frames[i].Inlines {
			in := &t.Frames[i].Inlines[j]
			e.Frames = append(e.Frames, FrameVerdict{Raw: rawText(in.Function, in.File, in.Line, &t.Frames[i]), Inline: true})
		}
		e.Frames = append(e.Frames, FrameVerdict{Raw: rawText(t.Frames[i].Function, t.Frames[i].File, t.Frames[i].Line, &t.Frames[i])})
		if len(e.Frames) >= len(frames) {
			break
		}
	}
	e.Frames = e.Frames[:len(frames)]
	for i := range frames {
		e.Frames[i].Normalized = frames[i].text
	}
	lists.decide(e.Frames)
	return e
}

// rawText shows a frame as the stack holds it.
func rawText(function, file, line string, f *Frame) string {
	out := function
	if out == "" {
		out = "(no function)"
	}
	if file != "" {
		out += " [" + file + ":" + line + "]"
	}
	if f.Module != "" {
		out += " in " + f.Module
	}
	if function == "" && f.Offset != "" {
		out += " at " + f.Offset
	}
	return out
}

// decide fills the verdicts of normalised frames the way stack does.
func (l *Lists) decide(frames []FrameVerdict) {
	start := 0
	for i := range frames {
		if line, ok := l.sentinels[frames[i].Normalized]; ok {
			start = i
			for j := range i {
				frames[j].Verdict = BeforeSentinel
				frames[j].By = fmt.Sprintf("%s.txt:%d: %s", SentinelList, line, frames[i].Normalized)
			}
			break
		}
	}
	last, added, stopped := "", false, false
	for i := start; i < len(frames); i++ {
		f := &frames[i]
		switch {
		case stopped:
			f.Verdict = NotReached
		case f.Normalized == "":
			f.Verdict = EmptyFrame
		case l.irrelevant.Match(f.Normalized):
			f.Verdict, f.By = Irrelevant, l.by(IrrelevantList, f.Normalized)
		case added && last == f.Normalized && isModuleName(last):
			f.Verdict = Repeated
		case l.prefix.Match(f.Normalized):
			f.Verdict, f.By = Prefix, l.by(PrefixList, f.Normalized)
			last, added = f.Normalized, true
		default:
			f.Verdict = Stop
			added, stopped = true, true
		}
	}
	if !added && start < len(frames) && frames[start].Normalized != "" {
		frames[start].Verdict = Fallback
	}
}

// by finds the first entry of a list that matches a frame.
func (l *Lists) by(list, frame string) string {
	entries := l.entries[list]
	for i := range entries {
		if entries[i].Matches(frame) {
			return fmt.Sprintf("%s.txt:%d: %s", list, entries[i].Line, entries[i].Text)
		}
	}
	if len(entries) == 0 {
		return list + ".txt: an empty list matches everything"
	}
	return ""
}

// Hits counts, by list and line, the entries that decide about a stack: for
// finding those that never do.
func (e *Explanation) Hits(count map[string]int) {
	seen := map[string]bool{}
	for _, f := range e.Frames {
		if f.By != "" && !seen[f.By] {
			seen[f.By] = true
			count[f.By]++
		}
	}
}
