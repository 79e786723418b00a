package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/signature"
)

// maxLineBytes bounds a line of JSONL: the largest processed crash that the
// store takes, and room for what stands around it.
const maxLineBytes = 200 << 20

// smallSetEntries is the number of entries up to which a set of lists counts
// as an experiment: upstream then makes the second round of the watchdog rule
// with the lists it was built with.
const smallSetEntries = 50

func watchdogFlag() cli.Flag {
	return &cli.StringFlag{Name: "watchdog-lists", Value: "auto",
		Usage: "lists for the second round of the watchdog rule: given (as the server does), built-in (as upstream does), or auto (built-in for a set of few entries)"}
}

func signatureJSONL() *cli.Command {
	return &cli.Command{
		Name:      "jsonl",
		Usage:     "make the signatures of many crashes",
		ArgsUsage: "[FILE…]",
		Description: "Reads one JSON object a line from the files or standard input: {\"id\", \"input\"} with crash data or a\n" +
			"processed crash as input, or such a crash itself. Writes a line for each, in the same order:\n" +
			"{\"id\", \"signature\", \"notes\", \"proto_signature\", \"debug_log\"} and \"error\" for a line that is no JSON object.\n" +
			"Exit code 1 when there was such a line.",
		Flags: append(append(command.ConfigFlags(), listsFlags()...), watchdogFlag()),
		Action: func(c *cli.Context) error {
			lists, err := bulkLists(c)
			if err != nil {
				return err
			}
			return bulk(c, func(line []byte) (any, error) {
				r, err := signature.ParseRecord(line)
				res := signature.Generate(r.Input, lists)
				return signatureAnswer{ID: lineID(line, r.ID), Signature: res.Signature, Notes: orEmpty(res.Notes), Proto: orNull(res.ProtoSignature),
					Upstream: res.Upstream, Debug: res.DebugLog(), Error: errorText(err)}, err
			})
		},
	}
}

type signatureAnswer struct {
	ID        json.RawMessage `json:"id"`
	Signature string          `json:"signature"`
	Notes     []string        `json:"notes"`
	Proto     *string         `json:"proto_signature"`
	Upstream  string          `json:"upstream_signature,omitempty"`
	Debug     []string        `json:"debug_log"`
	Error     string          `json:"error,omitempty"`
}

func signatureFrames() *cli.Command {
	return &cli.Command{
		Name:      "frames",
		Usage:     "normalise many frames",
		ArgsUsage: "[FILE…]",
		Description: "Reads {\"id\", \"frame\", \"lower_modules\"} a line from the files or standard input, writes {\"id\", \"normalized\"}\n" +
			"for each. With lower_modules true module names are made lower case, as for crashes of Windows.",
		Flags: append(command.ConfigFlags(), listsFlags()...),
		Action: func(c *cli.Context) error {
			lists, err := listsOf(c)
			if err != nil {
				return err
			}
			return bulk(c, func(line []byte) (any, error) {
				var q struct {
					ID    json.RawMessage `json:"id"`
					Frame any             `json:"frame"`
					Lower bool            `json:"lower_modules"`
				}
				err := decodeLine(line, &q)
				in := signature.FromCrashData(map[string]any{"threads": []any{map[string]any{"frames": []any{q.Frame}}}})
				return frameAnswer{ID: q.ID, Normalized: signature.NormalizeFrame(in.Threads[0].Frames[0], q.Lower, lists), Error: errorText(err)}, err
			})
		},
	}
}

type frameAnswer struct {
	ID         json.RawMessage `json:"id"`
	Normalized string          `json:"normalized"`
	Error      string          `json:"error,omitempty"`
}

func signatureConvert() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "make crash data of processed crashes",
		ArgsUsage: "[FILE…]",
		Description: "Reads {\"id\", \"input\"} with a processed crash as input, or a processed crash itself, a line from the files or\n" +
			"standard input; writes {\"id\", \"crash_data\"} for each: what signatures are made of, and no more.",
		Action: func(c *cli.Context) error {
			return bulk(c, func(line []byte) (any, error) {
				var doc map[string]any
				err := decodeLine(line, &doc)
				out := map[string]any{"id": doc["id"]}
				if in, ok := doc["input"].(map[string]any); ok {
					doc = in
				} else if doc["id"] == nil {
					out["id"] = doc["uuid"]
				}
				out["crash_data"] = signature.Convert(doc)
				if err != nil {
					out["error"] = err.Error()
				}
				return out, err
			})
		},
	}
}

func decodeLine(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	return d.Decode(v)
}

// lineID is what an answer repeats as id: the JSON text from the line, or a
// crash id as JSON.
func lineID(line []byte, id string) json.RawMessage {
	if id == "" {
		return json.RawMessage("null")
	}
	if json.Valid([]byte(id)) {
		return json.RawMessage(id)
	}
	text, err := json.Marshal(id)
	if err != nil {
		return json.RawMessage("null") // cannot be: it is a string
	}
	return text
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// bulkLists are the lists of a comparison: like listsOf, with the watchdog's.
func bulkLists(c *cli.Context) (*signature.Lists, error) {
	lists, err := listsOf(c)
	if err != nil {
		return nil, err
	}
	builtIn := false
	switch w := c.String("watchdog-lists"); w {
	case "given":
	case "built-in":
		builtIn = true
	case "auto":
		builtIn = len(lists.Entries(signature.IrrelevantList))+len(lists.Entries(signature.PrefixList)) <= smallSetEntries
	default:
		return nil, command.Usage("--watchdog-lists %q is none of auto, given, built-in", w)
	}
	if builtIn {
		lists = lists.WithWatchdog(signature.Default())
	}
	return lists.WithCache(signature.DefaultCacheSize), nil
}

// bulk answers each line of the files, or of standard input, with a line of
// JSON, in order and on all processors.
func bulk(c *cli.Context, answer func(line []byte) (any, error)) error {
	out := bufio.NewWriterSize(c.App.Writer, 1<<16)
	unusable := 0
	err := eachInput(c, func(r io.Reader) error {
		return answerLines(c.Context, r, out, func(line []byte) ([]byte, bool) {
			v, err := answer(line)
			text, e := encodeLine(v)
			if e != nil {
				return []byte(`{"id":null,"error":"the answer cannot be written as JSON"}` + "\n"), false
			}
			return text, err == nil
		}, &unusable)
	})
	if e := out.Flush(); err == nil {
		err = e
	}
	if err == nil && unusable > 0 {
		err = fault.New(fault.Malformed, "%d lines are no JSON objects", unusable)
	}
	return err
}

func encodeLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// eachInput opens the files of the command line one after the other, or
// standard input when there are none; "-" is standard input, too.
func eachInput(c *cli.Context, f func(io.Reader) error) error {
	names := c.Args().Slice()
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			if err := f(c.App.Reader); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return fault.As(fault.NotFound, err, "input")
		}
		err = f(file)
		file.Close() // it was only read
		if err != nil {
			return fault.Wrap(err, "%s", name)
		}
	}
	return nil
}

// answered is a line on its way through a worker.
type answered struct {
	text []byte
	ok   bool
}

// answerLines hands the lines of r to workers and writes what they return in
// the order of the lines. Empty lines are passed over.
func answerLines(ctx context.Context, r io.Reader, w io.Writer, work func([]byte) ([]byte, bool), unusable *int) error {
	workers := runtime.GOMAXPROCS(0)
	type job struct {
		line []byte
		done chan answered
	}
	jobs, order := make(chan job), make(chan job, 4*workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		defer close(order)
		return eachLine(r, func(line []byte) error {
			j := job{line, make(chan answered, 1)}
			for _, ch := range []chan job{order, jobs} {
				select {
				case ch <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range workers {
		g.Go(func() error {
			for j := range jobs {
				text, ok := work(j.line)
				j.done <- answered{text, ok}
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range order {
			select {
			case a := <-j.done:
				if !a.ok {
					*unusable++
				}
				if _, err := w.Write(a.text); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// eachLine calls f with each line that is not empty. The line is f's to keep.
func eachLine(r io.Reader, f func(line []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		var line []byte
		var err error
		for {
			var part []byte
			part, err = in.ReadSlice('\n')
			if len(line)+len(part) > maxLineBytes {
				return fault.New(fault.TooLarge, "line %d has more than %d bytes", n, maxLineBytes)
			}
			line = append(line, part...)
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if e := f(line); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.As(fault.Unavailable, err, "read line %d", n)
		}
	}
}
