package truth

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// place is where in the source a call or its inlined copy is. The file is its
// leaf, since debuggers and symbol files spell directories differently.
type place struct {
	function string
	symbol   string // the linker's name of the function, where a debugger tells
	file     string
	line     uint32
	library  bool // in a module other than the program
}

// stack is one thread: the source lines of its frames and of the calls inlined
// there, and the addresses of its frames, both innermost first.
type stack struct {
	places []place
	pcs    []uint64
	// how says of each address what it is: the module, and how a walk found it.
	how []string
	// tails are the frames that gdb deduces from tail calls.
	tails int
	// mistaken are the frames that gdb gives to another function than the one
	// they are in.
	mistaken int
}

// aliases are the names that share an address with a name in a module's symbol
// table: C libraries have several for many functions.
type aliases map[string][]string

// same says whether two places are one: the file, the line, and the function as
// far as its name is spelled alike everywhere, or another of the linker's names
// for it.
func (a aliases) same(p, q place) bool {
	if p.file != q.file || p.line != q.line {
		return false
	}
	for _, name := range [...]string{p.function, p.symbol} {
		if name != "" && (name == q.function || plain(name) == plain(q.function) || slices.Contains(a[name], q.function)) {
			return true
		}
	}
	return false
}

var (
	rustHash    = regexp.MustCompile(`::h[0-9a-f]{16}$`)
	copySuffix  = regexp.MustCompile(`(\.(constprop|isra|part|cold|lto_priv|llvm|localalias|abi0|abiinternal)(\.\d+)?|\.\d+)+$`)
	cloneSuffix = regexp.MustCompile(`\s*\[clone [^]]*\]`)
)

// plain is the last part of a function's name, without arguments, template
// arguments and what compilers add to copies: demanglers differ in them.
func plain(name string) string {
	name = cloneSuffix.ReplaceAllString(name, "")
	name = strings.TrimSuffix(strings.TrimSuffix(name, " const"), " &")
	name = copySuffix.ReplaceAllString(rustHash.ReplaceAllString(name, ""), "")
	return last(unnest(name))
}

// unnest drops what stands in brackets of any kind; closures and operators,
// which are named by brackets, keep a word for them.
func unnest(name string) string {
	for _, r := range [][2]string{{"operator()", "operator call"}, {"operator->", "operator arrow"}, {"operator<=>", "operator ship"}, {"operator<<", "operator left"}, {"operator>>", "operator right"}, {"operator<", "operator less"}, {"operator>", "operator more"}} {
		name = strings.ReplaceAll(name, r[0], r[1])
	}
	for _, closure := range []string{"{{closure}}", "{closure_env#", "{closure#"} {
		name = strings.ReplaceAll(name, closure, "closure"+closure)
	}
	var b strings.Builder
	depth := 0
	for _, c := range name {
		switch c {
		case '<', '(', '{', '[':
			depth++
		case '>', ')', '}', ']':
			depth--
		default:
			if depth <= 0 {
				b.WriteRune(c)
			}
		}
	}
	return b.String()
}

// last is what follows the last separator that has something behind it.
func last(name string) string {
	name = strings.TrimRight(name, ": .")
	if i := strings.LastIndex(name, "::"); i >= 0 {
		name = name[i+2:]
	}
	return name
}

// gdbFrame is a frame as backtrace.py writes it.
type gdbFrame struct {
	Kind     string
	Function string
	Symbol   string // the linker's name at the start of the function
	Here     string // and at the instruction
	PC       uint64
	File     string
	Line     uint32
	Library  string
	Error    string
}

// readGDB reads what backtrace.py wrote: the stacks by thread id. executable
// says whether an address is mapped as code.
func readGDB(text []byte, executable func(uint64) bool) (map[uint32]stack, error) {
	var threads []struct {
		ID     uint32
		Frames []gdbFrame
	}
	if err := json.Unmarshal(text, &threads); err != nil {
		return nil, fmt.Errorf("stacks of gdb: %w", err)
	}
	all := make(map[uint32]stack, len(threads))
	for _, t := range threads {
		// Where the rules of the outermost function do not say that it is, gdb goes
		// on to what happens to be on the stack.
		for len(t.Frames) > 1 && !executable(t.Frames[len(t.Frames)-1].PC-1) {
			t.Frames = t.Frames[:len(t.Frames)-1]
		}
		if len(t.Frames) == 1 && strings.HasPrefix(strings.Trim(t.Frames[0].Function, "_"), "clone") {
			continue // the rules there are those of the new thread, which nothing called: it may be the old one
		}
		all[t.ID] = truthOf(t.Frames)
	}
	return all, nil
}

// truthOf takes from gdb's frames what is on the stack: not the callers that
// gdb deduces where a function was left by a jump in place of a call, and not
// the inlined calls of another function. gdb takes a function in several parts
// for one that covers everything in between, and then shows that function's
// calls for an address that lies in a function between its parts; the line is
// that of the address.
func truthOf(frames []gdbFrame) (s stack) {
	first := 0 // of the places at the same address
	for _, f := range frames {
		if f.Kind == "tail call" {
			s.tails++
			continue
		}
		if f.File != "" && f.Line != 0 {
			s.places = append(s.places, place{f.Function, f.Symbol, path.Base(f.File), f.Line, f.Library != ""})
		}
		if f.Kind == "inline" {
			continue
		}
		s.pcs, s.how = append(s.pcs, f.PC), append(s.how, f.Here)
		if f.Here != "" && f.Symbol != "" && plain(f.Here) != plain(f.Symbol) && len(s.places) > first {
			s.places = s.places[:first+1]
			s.places[first].function, s.places[first].symbol = f.Here, ""
			s.mistaken++
		}
		first = len(s.places)
	}
	return s
}

// walkedInline and walkedFrame are what minidump-stackwalk's JSON, which is
// ours too, says about a frame.
type walkedInline struct {
	Function string
	File     *string
	Line     *uint32
}

type walkedFrame struct {
	Module   string
	Function string
	File     *string
	Line     *uint32
	Offset   string
	Trust    string
	Inlines  []walkedInline
}

// readWalk reads a processed dump: the stacks by thread id. program is the
// leaf of the program's path.
func readWalk(text []byte, program string) (map[uint32]stack, error) {
	var doc struct {
		Threads []struct {
			ThreadID uint32 `json:"thread_id"`
			Frames   []walkedFrame
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("walked dump: %w", err)
	}
	all := make(map[uint32]stack, len(doc.Threads))
	for _, t := range doc.Threads {
		var s stack
		for _, f := range t.Frames {
			pc, err := strconv.ParseUint(f.Offset, 0, 64)
			if err != nil {
				return nil, fmt.Errorf("offset of a frame: %w", err)
			}
			s.pcs, s.how = append(s.pcs, pc), append(s.how, f.Module+" by "+f.Trust)
			add := func(function string, file *string, line *uint32) {
				if file != nil && line != nil && *line != 0 {
					s.places = append(s.places, place{function, "", path.Base(*file), *line, f.Module != program})
				}
			}
			for _, in := range f.Inlines {
				add(in.Function, in.File, in.Line)
			}
			add(f.Function, f.File, f.Line)
		}
		all[t.ThreadID] = s
	}
	return all, nil
}
