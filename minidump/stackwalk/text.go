package stackwalk

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"mayday/minidump/analysis"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// TextOptions choose what Text writes.
type TextOptions struct {
	// Brief leaves out all threads but the one that crashed, and the modules.
	Brief bool
}

// Text writes the state for people.
func (s *State) Text(w io.Writer, o TextOptions) error {
	p := &printer{Writer: bufio.NewWriter(w), digits: 2 * s.System.CPU.PointerSize()}
	p.system(s)
	p.crash(s)
	p.notes(s)
	if t := s.RequestingThread; t >= 0 {
		what := "requested dump, did not crash"
		if s.Crash.Address != nil {
			what = "crashed"
		}
		p.thread(s, t, " ("+what+")")
	}
	if !o.Brief {
		for i := range s.Threads {
			if i != s.RequestingThread {
				p.thread(s, i, "")
			}
		}
		p.modules(s)
	}
	if s.Truncated != "" {
		p.line("Stacks are cut short: %s", s.Truncated)
	}
	if len(s.Errors) > 0 {
		p.line("Broken parts of the dump:")
		for _, e := range s.Errors {
			p.line("  %s", oneLine(e.Error()))
		}
	}
	return p.Flush()
}

// printer writes lines; the first error sticks to the bufio.Writer.
type printer struct {
	*bufio.Writer
	digits int // of an address
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *printer) address(v uint64) string { return fmt.Sprintf("0x%0*x", p.digits, v) }

// oneLine keeps texts from a dump on their line and off the terminal's
// controls.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '.'
		}
		return r
	}, s)
}

func (p *printer) system(s *State) {
	p.line("Operating system: %s", s.System.OS)
	p.line("                  %s", oneLine(s.System.OSVersion))
	p.line("CPU: %s", s.System.CPUName)
	if s.System.CPUInfo != "" {
		p.line("     %s", oneLine(s.System.CPUInfo))
	}
	plural := ""
	if s.System.CPUCount != 1 {
		plural = "s"
	}
	p.line("     %d CPU%s", s.System.CPUCount, plural)
	if r := s.LSBRelease; r != nil {
		p.line("Linux %s", oneLine(fmt.Sprintf("%s %s - %s (%s)", r.ID, r.Release, r.Codename, r.Description)))
	}
	p.line("")
}

func (p *printer) crash(s *State) {
	c := &s.Crash
	if c.Address == nil {
		p.line("No crash")
		return
	}
	p.line("Crash reason:  %s", c.Reason)
	mark := ""
	if c.Adjusted != nil {
		mark = " **"
	}
	p.line("Crash address: %s%s", p.address(*c.Address), mark)
	if a := c.Adjusted; a != nil {
		what := "Non-canonical address detected:"
		if a.NullPointer {
			what = "Null pointer detected with offset:"
		}
		p.line("    ** %s %s", what, p.address(a.Address))
	}
	if c.Instruction != "" {
		p.line("Crashing instruction: `%s`", c.Instruction)
	}
	if c.Accesses != nil {
		p.accesses(c)
	}
	if j := c.Jump; j != nil {
		p.line("Instruction pointer update: %s%s", p.address(j.Address), guardNote(j.LikelyGuardPage))
	}
	if len(c.BitFlips) > 0 {
		p.line("Crashing address may be the result of a flipped bit:")
		flips := slices.Clone(c.BitFlips)
		slices.SortStableFunc(flips, func(a, b analysis.BitFlip) int {
			return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), cmp.Compare(a.Address, b.Address))
		})
		for i, f := range flips {
			register := ""
			if f.Register != "" {
				register = f.Register + "="
			}
			p.line("  %d. Valid address: %s%s (%.3f)", i, register, p.address(f.Address), f.Confidence)
		}
	}
	for i, text := range c.Inconsistencies {
		if i == 0 {
			p.line("Crash is inconsistent:")
		}
		p.line("  %s", text)
	}
}

func (p *printer) accesses(c *CrashInfo) {
	if len(c.Accesses) == 0 {
		p.line("No memory accessed by instruction")
		return
	}
	p.line("Memory accessed by instruction:")
	for i, a := range c.Accesses {
		p.line("  %d. Address: %s%s", i, p.address(a.Address), guardNote(a.LikelyGuardPage))
		if a.Size > 0 {
			p.line("     Size: %d", a.Size)
		} else {
			p.line("     Size: Unknown")
		}
		if a.Kind != "" {
			p.line("     Access type: %s", a.Kind)
		}
	}
}

func guardNote(likely bool) string {
	if likely {
		return " (likely a guard page)"
	}
	return ""
}

// notes writes what programs and system left in the dump for people.
func (p *printer) notes(s *State) {
	if a := s.Assertion; a != nil {
		p.line("Assertion: %s", oneLine(fmt.Sprintf("%s in %s (%s:%d)", a.Expression, a.Function, a.File, a.Line)))
	}
	for i, r := range s.MacCrashInfo {
		if i == 0 {
			p.line("Mac Crash Info:")
		}
		p.line("  Record %d", i)
		for _, f := range []struct {
			name string
			v    uint64
		}{{"thread", r.Thread}, {"dialog mode", r.DialogMode}, {"abort_cause", r.AbortCause}} {
			if f.v != 0 {
				p.line("    %s: %#x", f.name, f.v)
			}
		}
		for _, f := range [][2]string{{"module", r.ModulePath}, {"message", r.Message}, {"signature string", r.SignatureString}, {"backtrace", r.Backtrace}, {"message2", r.Message2}} {
			if f[1] != "" {
				p.line("    %s: %s", f[0], oneLine(f[1]))
			}
		}
	}
	if s.MacBootArgs != nil {
		p.line("Mac Boot Args: %s", oneLine(*s.MacBootArgs))
	}
	for _, c := range s.Comments {
		p.line("Comment: %s", oneLine(c))
	}
	if s.Uptime != nil {
		p.line("Process uptime: %d seconds", int64(s.Uptime.Seconds()))
	} else {
		p.line("Process uptime: not available")
	}
	p.line("")
}

func (p *printer) thread(s *State, i int, note string) {
	t := &s.Threads[i]
	name := ""
	if t.Name != nil {
		name = oneLine(*t.Name)
	}
	p.line("Thread %d %s%s - tid: %d", i, name, note, t.ID)
	if len(t.Frames) == 0 {
		p.line(" <no frames>")
	}
	n := 0
	for j := range t.Frames {
		f := &t.Frames[j]
		for k := range f.Inlines {
			in := &f.Inlines[k]
			p.line("%2d  %s%s%s", n, p.where(s, f, in.Function), source(in.File, in.HasFile, in.Line, in.HasLine), "")
			p.line("    Found by: inlining")
			n++
		}
		p.frame(s, f, n)
		n++
	}
	if t.Truncated != "" {
		p.line("    The walk was ended here: %s", t.Truncated)
	}
	p.line("")
}

// where names the module and function of a frame.
func (p *printer) where(s *State, f *Frame, function string) string {
	module := oneLine(symbols.Leaf(s.Modules[f.Module].Name))
	return module + "!" + oneLine(function)
}

func source(file string, hasFile bool, line uint32, hasLine bool) string {
	switch {
	case hasFile && hasLine:
		return fmt.Sprintf(" [%s : %d]", oneLine(symbols.Leaf(file)), line)
	case hasFile:
		return fmt.Sprintf(" [%s]", oneLine(symbols.Leaf(file)))
	}
	return ""
}

func (p *printer) frame(s *State, f *Frame, n int) {
	switch {
	case f.Module == unwind.NoModule:
		p.line("%2d  %s%s", n, p.address(f.Instruction), unloadedNote(f))
	case !f.HasFunction:
		p.line("%2d  %s + %#x", n, oneLine(symbols.Leaf(s.Modules[f.Module].Name)), f.ModuleOffset)
	case f.HasFile:
		p.line("%2d  %s%s", n, p.where(s, f, f.Function), source(f.File, f.HasFile, f.Line, f.HasLine))
	default:
		p.line("%2d  %s + %#x", n, p.where(s, f, f.Function), f.FunctionOffset)
	}
	p.registers(f)
	p.line("    Found by: %s", f.Trust.Description())
}

func unloadedNote(f *Frame) string {
	var b strings.Builder
	for i, h := range f.Unloaded {
		before := " (unloaded "
		if i > 0 {
			before = " | "
		}
		fmt.Fprintf(&b, "%s%s@%#x", before, oneLine(symbols.Leaf(h.Name)), h.Offsets[0])
	}
	if b.Len() > 0 {
		b.WriteString(")")
	}
	return b.String()
}

// registers writes the known registers in columns of eighty characters.
func (p *printer) registers(f *Frame) {
	c := f.Registers
	if c == nil {
		return
	}
	width := 0
	for r := range c.CPU.RegisterCount() {
		v, ok := c.Get(register(r))
		if !ok {
			continue
		}
		digits := 2 * c.CPU.RegisterWidth(register(r))
		text := fmt.Sprintf(" %6s = 0x%0*x", c.CPU.RegisterName(register(r)), digits, v)
		if width+len(text) > 80 {
			p.line("")
			width = 0
		}
		if width == 0 {
			p.WriteString("  ")
			width = 2
		}
		p.WriteString(text)
		width += len(text)
	}
	if width > 0 {
		p.line("")
	}
}

func (p *printer) modules(s *State) {
	p.line("Loaded modules:")
	for _, i := range s.moduleIdx {
		m := &s.Modules[i]
		leaf := symbols.Leaf(m.Name)
		note := ""
		if m.Base == s.mainBase {
			note = "  (main)"
		}
		switch {
		case m.Symbols.Missing:
			note += "  (no symbols: " + oneLine(symbols.Leaf(m.DebugFile)) + " " + m.DebugID + ")"
		case m.Symbols.Corrupt:
			note += "  (broken symbols)"
		}
		if subject, ok := s.CertSubjects[leaf]; ok {
			note += " (" + oneLine(subject) + ")"
		}
		p.line("%s - %s  %s  %s%s", p.address(m.Base), p.address(m.Base+m.Size-1), oneLine(leaf), cmp.Or(m.Version, "???"), note)
	}
	p.line("")
	p.line("Unloaded modules:")
	for _, i := range s.UnloadedOrder {
		u := &s.Unloaded[i]
		p.line("%s - %s  %s", p.address(u.Base), p.address(u.Base+u.Size-1), oneLine(symbols.Leaf(u.Name)))
	}
	p.line("")
}
