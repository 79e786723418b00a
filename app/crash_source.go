package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage"
)

// crashSource finds the crashes that a command line names: ids, URLs of report
// pages, files, or what standard input holds.
type crashSource struct {
	names []string
	base  string // of the server that ids are asked from; empty: the data directory
	token string
	http  *http.Client
	stdin io.Reader
	warn  io.Writer
	open  func(context.Context) (*storage.Crashes, error)
	close func()
}

// foundCrash is a crash as JSON: crash data or a processed crash.
type foundCrash struct {
	name string // what to call it in messages
	id   string // empty when it came from a file
	url  string // of its report page; empty when there is none
	text []byte
}

// crashAnswerTimeout is how long another server may take for one crash.
const crashAnswerTimeout = 60 * time.Second

func newCrashSource(c *cli.Context) (*crashSource, error) {
	s := &crashSource{names: c.Args().Slice(), base: strings.TrimRight(c.String("url"), "/"), stdin: c.App.Reader, warn: c.App.ErrWriter,
		http: &http.Client{Timeout: crashAnswerTimeout}, close: func() {}}
	for _, e := range command.Environ(c) {
		name, value, _ := strings.Cut(e, "=")
		if name == "CRASHSTATS_API_TOKEN" || name == "SOCORRO_API_TOKEN" && s.token == "" {
			s.token = value
		}
	}
	var d *deps
	s.open = func(ctx context.Context) (*storage.Crashes, error) {
		if d == nil {
			var err error
			if d, err = commandDeps(c); err != nil {
				return nil, err
			}
			s.close = d.close
		}
		return d.Crashes(ctx)
	}
	return s, nil
}

// each calls f with the crashes, in order. What cannot be had is warned about.
func (s *crashSource) each(ctx context.Context, f func(foundCrash) error) error {
	if len(s.names) == 0 {
		return s.fromReader(ctx, "standard input", s.stdin, true, f)
	}
	for _, name := range s.names {
		if err := s.one(ctx, name, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *crashSource) one(ctx context.Context, name string, f func(foundCrash) error) error {
	if name == "-" {
		return s.fromReader(ctx, "standard input", s.stdin, true, f)
	}
	if base, id, ok := reportURL(name); ok {
		return s.fromServer(ctx, base, id, f)
	}
	if id, err := storage.ParseCrashID(strings.TrimPrefix(name, storage.Prefix)); err == nil {
		if s.base != "" {
			return s.fromServer(ctx, s.base, id, f)
		}
		return s.fromStore(ctx, id, f)
	}
	file, err := os.Open(name)
	if err != nil {
		return fault.New(fault.Invalid, "%q is no crash id, no URL of a report and no file that can be read", name)
	}
	defer file.Close() // it was only read
	return s.fromReader(ctx, name, file, false, f)
}

// reportURL takes the URL of a report page apart.
func reportURL(name string) (base string, id storage.CrashID, ok bool) {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", false
	}
	before, last, found := strings.Cut(strings.TrimRight(u.Path, "/"), "/report/index/")
	id, err = storage.ParseCrashID(strings.TrimPrefix(last, storage.Prefix))
	if !found || err != nil {
		return "", "", false
	}
	return u.Scheme + "://" + u.Host + before, id, true
}

func (s *crashSource) warning(format string, args ...any) {
	fmt.Fprintf(s.warn, "WARNING: "+format+"\n", args...)
}

func (s *crashSource) fromStore(ctx context.Context, id storage.CrashID, f func(foundCrash) error) error {
	crashes, err := s.open(ctx)
	if err != nil {
		return err
	}
	text, err := crashes.ProcessedJSON(ctx, id)
	if fault.Is(err, fault.NotFound) {
		s.warning("%s: no processed crash", id)
		return nil
	}
	if err != nil {
		return err
	}
	return f(foundCrash{name: id.String(), id: id.String(), text: text})
}

func (s *crashSource) fromServer(ctx context.Context, base string, id storage.CrashID, f func(foundCrash) error) error {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/ProcessedCrash/?crash_id="+id.String(), nil)
	if err != nil {
		return fault.As(fault.Invalid, err, "--url")
	}
	if s.token != "" {
		rq.Header.Set("Auth-Token", s.token)
	}
	rs, err := s.http.Do(rq)
	if err != nil {
		return fault.As(fault.Unavailable, err, "crash %s", id)
	}
	defer rs.Body.Close() // it was only read
	switch {
	case rs.StatusCode == http.StatusTooManyRequests:
		return fault.New(fault.Throttled, "%s takes no more requests for now", base)
	case rs.StatusCode/100 != 2:
		s.warning("%s: %s answers %s", id, base, rs.Status)
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(rs.Body, storage.MaxDocument+1))
	if err != nil {
		return fault.As(fault.Unavailable, err, "crash %s", id)
	}
	if len(text) > storage.MaxDocument {
		return fault.New(fault.TooLarge, "crash %s has more than %d bytes", id, storage.MaxDocument)
	}
	var refusal struct {
		Error any `json:"error"`
	}
	if json.Unmarshal(text, &refusal) == nil && refusal.Error != nil {
		return fault.New(fault.Unavailable, "%s: %v", base, refusal.Error)
	}
	return f(foundCrash{name: id.String(), id: id.String(), url: base + "/report/index/" + id.String(), text: text})
}

// fromReader reads JSON documents, or lines that name crashes when names are
// allowed. What it holds shows by its first character.
func (s *crashSource) fromReader(ctx context.Context, name string, r io.Reader, names bool, f func(foundCrash) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	first, err := firstByte(in)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fault.As(fault.Unavailable, err, "%s", name)
	}
	if first != '{' && names {
		return eachLine(in, func(line []byte) error { return s.one(ctx, string(bytes.TrimSpace(line)), f) })
	}
	n := 0
	return fault.Wrap(eachDocument(in, func(text []byte) error {
		n++
		return f(foundCrash{name: fmt.Sprintf("%s:%d", name, n), text: text})
	}), "%s", name)
}

// firstByte peeks at the first byte that is no white space.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != ' ' && b != '\n' && b != '\r' && b != '\t' {
			return b, in.UnreadByte()
		}
	}
}

// eachDocument calls f with each JSON object of a stream, whether it takes one
// line or many. The text is f's to keep.
func eachDocument(r io.Reader, f func(text []byte) error) error {
	var doc []byte
	depth, inText, escaped := 0, false, false
	err := eachLine(r, func(line []byte) error {
		for _, b := range line {
			switch {
			case escaped:
				escaped = false
			case inText && b == '\\':
				escaped = true
			case b == '"':
				inText = !inText
			case inText:
			case b == '{' || b == '[':
				depth++
			case b == '}' || b == ']':
				depth--
			}
		}
		if len(doc)+len(line) > maxLineBytes {
			return fault.New(fault.TooLarge, "a document of more than %d bytes", maxLineBytes)
		}
		if doc == nil {
			doc = line
		} else {
			doc = append(doc, line...)
		}
		if depth > 0 {
			return nil
		}
		text := doc
		doc, depth, inText, escaped = nil, 0, false, false
		return f(text)
	})
	if err == nil && doc != nil {
		err = fault.New(fault.Malformed, "the last document has no end")
	}
	return err
}
