package stackwalk

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/stackwalk/jsontext"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// TextOptions choose what Text writes.
type TextOptions struct {
	// Brief leaves out all threads but the one that crashed, and the modules.
	Brief bool
	// Arguments is where the words on the stacks are read that may be arguments of
	// functions on x86; nil leaves them out.
	Arguments Memory
}

// Text writes the state for people.
func (s *State) Text(w io.Writer, o TextOptions) error {
	p := newPrinter(w, o)
	p.begin(s)
	if t := s.RequestingThread; t >= 0 {
		p.thread(s, t)
	}
	for i := range s.Threads {
		if i != s.RequestingThread {
			p.thread(s, i)
		}
	}
	return p.finish(s)
}

// WalkText walks a dump as Walk does and writes what Text does, thread by
// thread: so it needs no memory for frames. When it fails nothing is written,
// unless ctx was cancelled meanwhile.
func WalkText(ctx context.Context, d *minidump.Dump, source SymbolSource, o Options, w io.Writer, t TextOptions) error {
	p := newPrinter(w, t)
	o.each = p.each
	s, err := Walk(ctx, d, source, o)
	if err != nil {
		return err
	}
	if !p.begun {
		p.begin(s)
	}
	return p.finish(s)
}

func newPrinter(w io.Writer, o TextOptions) *printer {
	return &printer{Writer: bufio.NewWriterSize(w, jsontext.MaxPending), options: o}
}

func (p *printer) each(s *State, thread int) {
	if !p.begun {
		p.begin(s)
	}
	p.thread(s, thread)
}

// begin writes what comes before the threads.
func (p *printer) begin(s *State) {
	p.begun, p.digits = true, 2*s.System.CPU.PointerSize()
	p.system(s)
	p.crash(s)
	p.notes(s)
}

// finish writes what comes after the threads.
func (p *printer) finish(s *State) error {
	if !p.options.Brief {
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
	options TextOptions
	begun   bool
	digits  int // of an address
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// What there may be very much of is written without package fmt.

func (p *printer) text(s string) *printer {
	p.WriteString(s)
	return p
}

func (p *printer) end() { p.WriteByte('\n') }

// number writes a number of at least width characters.
func (p *printer) number(v uint64, width int) *printer {
	b := strconv.AppendUint(p.AvailableBuffer(), v, 10)
	for n := len(b); n < width; n++ {
		p.WriteByte(' ')
	}
	p.Write(strconv.AppendUint(p.AvailableBuffer(), v, 10))
	return p
}

// hex writes a hexadecimal number of at least digits digits.
func (p *printer) hex(v uint64, digits int) *printer {
	b := append(p.AvailableBuffer(), '0', 'x')
	for n := max(digits, (bits.Len64(v)+3)/4); n > 0; n-- {
		b = append(b, "0123456789abcdef"[v>>(4*(n-1))&15])
	}
	p.Write(b)
	return p
}

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
			p.line("     Access type: %s", accessNames[a.Kind])
		}
	}
}

var accessNames = map[string]string{analysis.Read: "Read", analysis.Write: "Write", analysis.ReadWrite: "ReadWrite"}

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
	if s.PID != nil {
		p.line("Process id: %d", *s.PID)
	}
	if s.Uptime != nil {
		p.line("Process uptime: %d seconds", int64(s.Uptime.Seconds()))
	} else {
		p.line("Process uptime: not available")
	}
	if s.MapCount != nil {
		p.line("Linux memory map count: %d", *s.MapCount)
	}
	if c := s.Crashpad; c != nil {
		p.line("Crashpad report %s, client %s", c.ReportID, c.ClientID)
		for _, a := range c.All() {
			if a.Type == format.CrashpadAnnotationString {
				p.line("  %s: %s", oneLine(a.Name), oneLine(a.Value))
			}
		}
	}
	if s.SoftErrors != nil {
		p.line("Soft errors: %s", oneLine(string(s.SoftErrors)))
	}
	p.line("")
}

func (p *printer) thread(s *State, i int) {
	note := ""
	switch {
	case i != s.RequestingThread:
		if p.options.Brief {
			return
		}
	case s.Crash.Address != nil:
		note = " (crashed)"
	default:
		note = " (requested dump, did not crash)"
	}
	t, stack := &s.Threads[i], s.Threads[i].stack()
	p.text("Thread ").number(uint64(i), 0).text(" ")
	if t.Name != nil {
		p.text(oneLine(*t.Name))
	}
	p.text(note).text(" - tid: ").number(uint64(t.ID), 0).end()
	if len(stack.Frames) == 0 {
		p.text(" <no frames>").end()
	}
	n := 0
	for j := range stack.Frames {
		f := &stack.Frames[j]
		for k := range f.Inlines {
			in := &f.Inlines[k]
			p.number(uint64(n), 2).text("  ").text(s.leaf(f)).text("!").text(oneLine(in.Function))
			p.source(in.File, in.HasFile, in.Line, in.HasLine).end()
			p.text("    Found by: inlining").end()
			n++
		}
		p.frame(s, f, n, stack.Registers(j))
		p.arguments(s, stack, j)
		n++
	}
	if stack.Truncated != "" {
		p.text("    The walk was ended here: ").text(stack.Truncated).end()
	}
	p.end()
}

// leaf is the file name of a frame's module.
func (s *State) leaf(f *Frame) string { return oneLine(symbols.Leaf(s.Modules[f.Module].Name)) }

func (p *printer) source(file string, hasFile bool, line uint32, hasLine bool) *printer {
	if hasFile {
		p.text(" [").text(oneLine(symbols.Leaf(file)))
		if hasLine {
			p.text(" : ").number(uint64(line), 0)
		}
		p.text("]")
	}
	return p
}

func (p *printer) frame(s *State, f *Frame, n int, known Registers) {
	p.number(uint64(n), 2).text("  ")
	if f.Module == unwind.NoModule {
		p.hex(f.Instruction, p.digits)
		p.unloaded(f)
	} else {
		p.text(s.leaf(f))
		if f.HasFunction {
			p.text("!").text(oneLine(f.Function))
		}
		switch {
		case !f.HasFunction:
			p.text(" + ").hex(f.Instruction-s.Modules[f.Module].Base, 1)
		case f.HasFile:
			p.source(f.File, f.HasFile, f.Line, f.HasLine).text(" + ").hex(f.FunctionOffset, 1)
		default:
			p.text(" + ").hex(f.FunctionOffset, 1)
		}
	}
	p.end()
	p.registers(s.System.CPU, known)
	p.text("    Found by: ").text(f.Trust.Description()).end()
}

// unloaded names the unloaded modules that had covered a frame's address.
func (p *printer) unloaded(f *Frame) {
	for i, h := range f.Unloaded {
		before := " (unloaded "
		if i > 0 {
			before = " | "
		}
		p.text(before).text(oneLine(symbols.Leaf(h.Name))).text("@").hex(h.Offsets[0], 1)
	}
	if len(f.Unloaded) > 0 {
		p.text(")")
	}
}

// registers writes the known registers in columns of eighty characters.
func (p *printer) registers(cpu format.CPU, known Registers) {
	width := 0
	for r := range cpu.RegisterCount() {
		v, ok := known.Get(register(r))
		if !ok {
			continue
		}
		name, digits := cpu.RegisterName(register(r)), 2*cpu.RegisterWidth(register(r))
		n := 1 + max(len(name), 6) + len(" = 0x") + digits
		if width+n > 80 {
			p.end()
			width = 0
		}
		if width == 0 {
			p.text("  ")
			width = 2
		}
		p.text("       "[:1+max(6-len(name), 0)]).text(name).text(" = ").hex(v, digits)
		width += n
	}
	if width > 0 {
		p.end()
	}
}

func (p *printer) modules(s *State) {
	p.line("Loaded modules:")
	byAddress := s.modulesByAddress
	if byAddress == nil {
		byAddress = func(func(int) bool) {}
	}
	for i := range byAddress {
		m := &s.Modules[i]
		leaf := symbols.Leaf(m.Name)
		note := ""
		if m.Base == s.Modules[0].Base {
			note = "  (main)"
		}
		switch {
		case m.Symbols.Missing:
			note += "  (no symbols: " + oneLine(symbols.Leaf(m.DebugFile)) + " " + m.DebugID + ")"
		case m.Symbols.Corrupt:
			note += "  (broken symbols: line " + strconv.FormatUint(m.Symbols.Verdict.Strict, 10) + ")"
		}
		if subject, ok := s.CertSubjects[leaf]; ok {
			note += " (" + oneLine(subject) + ")"
		}
		p.hex(m.Base, p.digits).text(" - ").hex(m.Base+m.Size-1, p.digits).text("  ").text(oneLine(leaf)).text("  ").text(cmp.Or(m.Version, "???")).text(note).end()
	}
	p.line("")
	p.line("Unloaded modules:")
	for i := range s.Unloaded.ByAddress() {
		base, size, name := s.Unloaded.Range(i)
		p.hex(base, p.digits).text(" - ").hex(base+size-1, p.digits).text("  ").text(oneLine(symbols.Leaf(name))).end()
	}
	p.line("")
}
