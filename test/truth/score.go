package truth

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"mayday/minidump/stackwalk"
)

// sourceLine is a place in source; the file is its leaf, since debuggers and
// symbol files spell directories differently.
type sourceLine struct {
	file string
	line uint32
}

var (
	threadHeader = regexp.MustCompile(`^Thread \d+ \(.*LWP (\d+)`)
	placeAtEnd   = regexp.MustCompile(` at ([^ ]+):(\d+)$`)
)

// parseBacktraces reads gdb's "thread apply all backtrace": the source lines of
// each thread by its id, innermost first. Frames without source are left out.
func parseBacktraces(text string) map[uint32][]sourceLine {
	all := map[uint32][]sourceLine{}
	var id uint32
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := threadHeader.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 32) // digits, as the expression says
			id = uint32(n)
			all[id] = []sourceLine{}
			continue
		}
		if id == 0 || !strings.HasPrefix(line, "#") {
			continue
		}
		if m := placeAtEnd.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[2], 10, 32)
			all[id] = append(all[id], sourceLine{path.Base(m[1]), uint32(n)})
		}
	}
	return all
}

// linesOf are the source lines of a walked thread, inlined calls included.
func linesOf(t *stackwalk.Thread) []sourceLine {
	var lines []sourceLine
	add := func(file string, line uint32, known bool) {
		if known && line != 0 {
			lines = append(lines, sourceLine{path.Base(file), line})
		}
	}
	for i := range t.Frames {
		f := &t.Frames[i]
		for _, in := range f.Inlines {
			add(in.File, in.Line, in.HasFile && in.HasLine)
		}
		add(f.File, f.Line, f.HasFile && f.HasLine)
	}
	return lines
}

// score counts source lines: of the programs' own files and of all others.
type score struct {
	truth, recovered, wrong [2]int // own, others
}

func (s *score) add(o score) {
	for i := range s.truth {
		s.truth[i] += o.truth[i]
		s.recovered[i] += o.recovered[i]
		s.wrong[i] += o.wrong[i]
	}
}

func (s *score) part(i int) string {
	if s.truth[i] == 0 {
		return "none"
	}
	return strconv.Itoa(s.recovered[i]) + " of " + strconv.Itoa(s.truth[i]) + ", " + strconv.Itoa(s.wrong[i]) + " false"
}

// compare aligns the walk's lines with gdb's in order: lines in the longest
// common subsequence are recovered, those of the walk outside it are false.
// own says which files are the program's.
func compare(truth, got []sourceLine, own func(file string) bool) (s score) {
	n, m := len(truth), len(got)
	longest := make([][]int, n+1)
	for i := range longest {
		longest[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if truth[i] == got[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	side := func(l sourceLine) int {
		if own(l.file) {
			return 0
		}
		return 1
	}
	for _, l := range truth {
		s.truth[side(l)]++
	}
	for i, j := 0, 0; j < m; {
		switch {
		case i < n && truth[i] == got[j]:
			s.recovered[side(truth[i])]++
			i, j = i+1, j+1
		case i < n && longest[i+1][j] >= longest[i][j+1]:
			i++
		default:
			s.wrong[side(got[j])]++
			j++
		}
	}
	return s
}
