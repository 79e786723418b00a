package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles/processor/rules"
)

// Limits on what a walking child may say.
const (
	maxChildOutput = 128 << 20 // JSON of a thousand deep stacks is far below
	maxChildLog    = 64 << 10
	// childGrace is how much longer than the walk's own deadline a child may
	// live: it ends itself first, and says so.
	childGrace = 5 * time.Second
)

// Isolated walks each dump in a child process, so that a dump that defeats
// every limit ends the child and not the processor.
type Isolated struct {
	// Command starts the child: the same binary with a command that reads a
	// WalkRequest on its input and writes a WalkReply.
	Command []string
	Timeout time.Duration
	Memory  int64 // bytes
	TempDir string
	// Settings is handed on to the child as it is.
	Settings any
}

// WalkRequest is what a walking child reads.
type WalkRequest struct {
	// Path is the dump's file; "" where the child inherits it as its fourth open
	// file, behind the standard ones.
	Path        string          `json:"path"`
	Annotations map[string]any  `json:"annotations"`
	Timeout     time.Duration   `json:"timeout"`
	Memory      int64           `json:"memory"`
	Settings    json.RawMessage `json:"settings"`
}

// WalkReply is what it writes.
type WalkReply struct {
	Exit     int             `json:"exit"`
	Output   json.RawMessage `json:"output"`
	Log      string          `json:"log"`
	Version  string          `json:"version"`
	NoAnswer bool            `json:"no_answer"`
}

// Walk implements rules.Walker.
func (w *Isolated) Walk(ctx context.Context, d rules.Dump, annotations map[string]any) rules.WalkResult {
	began := time.Now()
	r := w.walk(ctx, d, annotations)
	countWalk(r.Exit, time.Since(began))
	return r
}

func (w *Isolated) walk(ctx context.Context, d rules.Dump, annotations map[string]any) rules.WalkResult {
	file, remove, err := w.file(d)
	defer remove()
	if err != nil {
		return walkFailed("NoRoom", err)
	}
	path := ""
	if !passesFiles {
		path = file.Name()
	}
	settings, err := json.Marshal(w.Settings)
	if err != nil {
		return walkFailed("Internal", err)
	}
	request, err := json.Marshal(WalkRequest{Path: path, Annotations: annotations, Timeout: w.Timeout, Memory: w.Memory, Settings: settings})
	if err != nil {
		return walkFailed("Internal", err)
	}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout+childGrace)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.Command[0], w.Command[1:]...)
	var out, log limited
	out.room, log.room = maxChildOutput, maxChildLog
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &out, &log
	cmd.WaitDelay = childGrace
	if passesFiles {
		cmd.ExtraFiles = []*os.File{file}
	}
	err = cmd.Run()
	if ctx.Err() != nil {
		return rules.WalkResult{Exit: rules.ExitKilled}
	}
	var reply WalkReply
	if err != nil || json.Unmarshal(out.Bytes(), &reply) != nil {
		return w.died(log.String(), err)
	}
	res := rules.WalkResult{Exit: reply.Exit, Log: reply.Log, Version: reply.Version, NoAnswer: reply.NoAnswer}
	if len(reply.Output) > 0 && string(reply.Output) != "null" {
		dec := json.NewDecoder(bytes.NewReader(reply.Output))
		dec.UseNumber()
		if err := dec.Decode(&res.Output); err != nil {
			return walkFailed("Internal", err)
		}
	}
	return res
}

// died tells a child that ran out of memory from one that failed otherwise.
func (w *Isolated) died(log string, err error) rules.WalkResult {
	if strings.Contains(log, "out of memory") || strings.Contains(log, "cannot allocate memory") {
		return rules.WalkResult{Exit: rules.ExitAbort}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		return rules.WalkResult{Exit: rules.ExitKilled}
	}
	return rules.WalkResult{Exit: rules.ExitFailed, Log: "ERROR Crashed - the walker crashed\n"}
}

// Open opens the dump, in the child.
func (r WalkRequest) Open() (*os.File, error) {
	if r.Path != "" {
		return os.Open(r.Path)
	}
	const inherited = 3
	f := os.NewFile(inherited, "dump")
	if f == nil {
		return nil, os.ErrInvalid
	}
	return f, nil
}

// file makes sure that the dump is in a file. remove is never nil.
func (w *Isolated) file(d rules.Dump) (f *os.File, remove func(), err error) {
	if d.File != nil {
		return d.File, func() {}, nil
	}
	f, err = tempFile(w.TempDir, tempWalk)
	if err != nil {
		return nil, func() {}, fault.As(fault.Unavailable, err, "room for dump %s", d.Name)
	}
	_, err = io.Copy(f, io.NewSectionReader(d.Reader, 0, d.Size))
	return f, func() { removeTemp(f) }, err
}

// limited keeps the first room bytes and drops the rest.
type limited struct {
	bytes.Buffer
	room int
}

func (l *limited) Write(p []byte) (int, error) {
	keep := min(len(p), l.room-l.Len())
	l.Buffer.Write(p[:keep])
	return len(p), nil
}

// walkFailed is the result of a dump that could not be walked; name becomes
// the status, the text of the error goes to the protected log.
func walkFailed(name string, err error) rules.WalkResult {
	return rules.WalkResult{Exit: rules.ExitFailed, Log: "ERROR " + name + " - " + err.Error() + "\n"}
}

func countWalk(exit int, took time.Duration) {
	outcome := "failed"
	switch exit {
	case rules.ExitOK:
		outcome = "ok"
	case rules.ExitKilled:
		outcome = "timeout"
	case rules.ExitAbort:
		outcome = "memory"
	}
	metrics.ProcessorWalks.Inc(outcome)
	metrics.ProcessorWalkSeconds.Observe(took.Seconds())
}
