package symbolicate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"mayday/app/fault"
	"mayday/symbols"
)

// maxTextLine bounds a line of a stack in plain text; a line may hold a whole
// log message.
const maxTextLine = 1 << 20

var (
	// frameText is a module and an offset into it, as sanitizers, assertion
	// handlers and loggers print them: (/usr/lib/liba.so+0x1234), [xul.dll +0x5f].
	frameText = regexp.MustCompile(`([^\s()\[\],|]+) ?\+ ?0x([0-9a-fA-F]{1,16})\b`)
	// buildID is what the sanitizers add.
	buildID = regexp.MustCompile(`\(BuildId: ([0-9a-fA-F]{8,128})\)`)
)

// Text copies stacks in plain text and puts function, file and line in place
// of each module+0xoffset that it can look up; calls that were inlined there
// get lines of their own before it. The debug id of a module comes from a
// (BuildId: …) on the line, from a line "MODULE os arch id file" further up, or
// from idOf, which may answer "" for not known.
func (e *Engine) Text(ctx context.Context, in io.Reader, out io.Writer, idOf func(file string) string) error {
	t := textRun{ctx: ctx, session: &session{engine: e, modules: map[Module]*openModule{}}, ids: map[string]string{}, idOf: idOf}
	defer t.session.close()
	w := bufio.NewWriter(out)
	r := bufio.NewReaderSize(in, maxTextLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fault.New(fault.Invalid, "a line of the stacks is longer than %d bytes", maxTextLine)
		}
		if _, werr := w.Write(t.line(line)); werr != nil {
			return werr
		}
		if err == io.EOF {
			return w.Flush()
		}
		if err != nil {
			return fault.Wrap(err, "read stacks")
		}
	}
}

// textRun is one text.
type textRun struct {
	ctx     context.Context
	session *session
	ids     map[string]string // debug id by file
	idOf    func(string) string
}

// line returns what a line becomes.
func (t *textRun) line(line []byte) []byte {
	if f := strings.Fields(string(line)); len(f) >= 5 && f[0] == "MODULE" {
		t.ids[strings.Join(f[4:], " ")] = f[3]
		return line
	}
	at := frameText.FindSubmatchIndex(line)
	if at == nil {
		return line
	}
	file := symbols.Leaf(string(line[at[2]:at[3]]))
	offset, err := strconv.ParseUint(string(line[at[4]:at[5]]), 16, 64)
	id := t.id(file, line)
	if err != nil || id == "" {
		return line
	}
	m := Module{file, id}
	if t.session.modules[m] == nil {
		t.session.modules[m] = t.session.engine.open(t.ctx, m)
	}
	job := Job{Modules: []Module{m}}
	a := t.session.look(&job, Frame{Offset: offset}, false)
	if !a.found {
		return line
	}
	var b bytes.Buffer
	put := func(name, file string, line uint32, have bool, rest string) {
		b.WriteString(name)
		b.WriteString(" (")
		if have {
			b.WriteString(file)
			if line != 0 {
				b.WriteString(":" + strconv.FormatUint(uint64(line), 10))
			}
			b.WriteString(", ")
		}
		b.WriteString(rest + a.module + ")")
	}
	for _, in := range a.Inlines {
		b.Write(line[:at[0]])
		put(in.Function, in.File, in.Line, in.HasFile, "inlined in ")
		b.Write(line[at[1]:])
		if b.Bytes()[b.Len()-1] != '\n' {
			b.WriteByte('\n')
		}
	}
	b.Write(line[:at[0]])
	put(a.Name, a.File, a.Line, a.HasFile, "in ")
	b.Write(line[at[1]:])
	return b.Bytes()
}

// id finds the debug id of the module on a line.
func (t *textRun) id(file string, line []byte) string {
	if m := buildID.FindSubmatch(line); m != nil {
		if b, err := hex.DecodeString(string(m[1])); err == nil {
			return symbols.DebugIDFromBuildID(b, binary.LittleEndian)
		}
	}
	id, ok := t.ids[file]
	if !ok && t.idOf != nil {
		id = t.idOf(file)
		t.ids[file] = id
	}
	return id
}

// JSON answers a request of version 5 that does not come over HTTP.
func (e *Engine) JSON(ctx context.Context, request []byte) ([]byte, error) {
	jobs, err := decodeJobs(request, maxJobsV6)
	if err != nil {
		return nil, err
	}
	s, err := e.start(ctx, jobs)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.appendV5(nil, jobs, nil), nil
}
