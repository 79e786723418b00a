package offline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/symbols/dump"
)

// Dumper makes symbol files of ELF binaries for the symbol server, and for
// suppliers that have raw files alone. Each is made by the command symbols dump
// in a process of its own, whose memory is bounded: no file can harm the server.
type Dumper struct {
	Program string // this program
	Memory  int64  // most bytes that one conversion may take
}

// maxDumperLog is how much of what the command says is kept.
const maxDumperLog = 4 << 10

// Convert writes the symbols of a binary to w. The files of in are files of
// this machine.
func (d Dumper) Convert(ctx context.Context, w io.Writer, in dump.Input) error {
	var head [4]byte
	if _, err := in.Binary.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return fault.As(fault.Unavailable, err, "read %s", in.Name)
	}
	if string(head[:]) != "\x7fELF" {
		return fault.New(fault.Unsupported, "%s is no ELF file: symbols are made of these alone", in.Name)
	}
	args := []string{"symbols", "dump", "--memory=" + strconv.FormatInt(d.Memory, 10), "--name=" + in.Name}
	binary, ok := in.Binary.(*os.File)
	if !ok {
		return fault.New(fault.Internal, "%s lies in no file", in.Name)
	}
	if in.Debug != nil {
		information, ok := in.Debug.(*os.File)
		if !ok {
			return fault.New(fault.Internal, "debug information of %s lies in no file", in.Name)
		}
		args = append(args, "--debug="+information.Name())
	}
	c := exec.CommandContext(ctx, d.Program, append(args, binary.Name())...)
	log := &limitedLog{}
	c.Stdout, c.Stderr = w, log
	c.WaitDelay = time.Second // for what it wrote before it was ended
	c.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	endWithParent(c)
	runtime.LockOSThread() // the system takes the thread that begins a process for its parent
	defer runtime.UnlockOSThread()
	err := c.Run()
	if ctx.Err() != nil {
		return fault.Wrap(ctx.Err(), "make symbols of %s", in.Name)
	}
	return d.outcome(err, log.String())
}

// outcome is the error of a command that ended with err and said log.
func (d Dumper) outcome(err error, log string) error {
	exit, ended := err.(*exec.ExitError)
	switch {
	case err == nil:
		return nil
	case !ended: // it could not be started, or its output not be written
		return fault.As(fault.Unavailable, err, "make symbols")
	case strings.Contains(log, "out of memory") || strings.Contains(log, "cannot allocate memory"):
		return fault.New(fault.TooLarge, "more memory is needed than %d bytes (symbols.convert_memory)", d.Memory)
	}
	// The last line says what is wrong; the program's name before it does not.
	lines := strings.Split(strings.TrimSpace(log), "\n")
	said := strings.TrimPrefix(lines[len(lines)-1], "mayday: ")
	if said == "" || exit.ExitCode() < 0 || strings.HasPrefix(log, "panic") || strings.Contains(log, "goroutine ") {
		said = fmt.Sprintf("the process that made them ended: %v %.200s", exit, lines[0])
	}
	return fault.New(fault.Malformed, "%s", said)
}

// limitedLog keeps the first bytes of what a process says.
type limitedLog struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limitedLog) Write(p []byte) (int, error) {
	if room := maxDumperLog - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
