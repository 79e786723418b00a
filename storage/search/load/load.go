// Package load puts processed crashes into the buckets and the search index: the
// lines of a file (Import), or what the bucket holds (Reindex).
//
// Both are idempotent by crash id and work in batches; what is reported as done
// can be searched. They do not process anything.
package load

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// Importer loads processed crashes that were made elsewhere.
type Importer struct {
	Crashes *storage.Crashes // nil: the index alone
	Engine  search.Engine
	Fields  *plan.Fields
	// Seen is told of the crashes of each batch once they are indexed; may be
	// nil.
	Seen func(ctx context.Context, batch []Crash) error
}

// Report says what became of the lines.
type Report struct {
	Imported     int       `json:"imported"`
	RefusedLines int       `json:"refused_lines"`
	Refused      []Refused `json:"refused"` // the first few
}

// Refused is a line that could not be taken.
type Refused struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

const (
	// batchRows and batchBytes bound a batch, the lines of which are in
	// memory at one time.
	batchRows  = 4096
	batchBytes = 64 << 20
	// batchWrites is how many crashes are written to the bucket at once: each
	// waits for the disk.
	batchWrites = 16
	// maxRefused is how many refused lines a report names.
	maxRefused = 100
)

// Crash is one line.
type Crash struct {
	ID        storage.CrashID
	Raw       storage.RawCrash // nil when the line held none
	Processed storage.ProcessedCrash
	Doc       search.Doc
}

// Run imports lines until the end; everything it reports can be searched when
// it returns. An error leaves the batches before it imported.
func (m *Importer) Run(ctx context.Context, r io.Reader) (*Report, error) {
	report := &Report{Refused: []Refused{}}
	lines := bufio.NewReaderSize(r, 1<<20)
	parse := m.parse
	if m.Crashes == nil && m.Seen == nil { // nobody wants the documents themselves
		x := search.NewReader(m.Fields)
		parse = func(text []byte) (one Crash, err error) {
			if one.Doc, err = x.Line(text); err == nil {
				one.ID, err = storage.ParseCrashID(search.FormatID(one.Doc.ID))
			}
			return one, err
		}
	}
	var batch []Crash
	size := 0
	flush := func() error {
		err := m.store(ctx, batch)
		report.Imported += len(batch)
		batch, size = batch[:0], 0
		return err
	}
	for number := 1; ; number++ {
		text, err := readLine(lines)
		if err == io.EOF && len(text) == 0 {
			return report, flush()
		}
		if err != nil && err != io.EOF {
			return nil, fault.Wrap(err, "line %d", number)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			one, err := parse(text)
			if err != nil {
				report.RefusedLines++
				if len(report.Refused) < maxRefused {
					report.Refused = append(report.Refused, Refused{number, err.Error()})
				}
				continue
			}
			batch = append(batch, one)
			if size += len(text); len(batch) >= batchRows || size >= batchBytes {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
	}
}

// readLine reads one line of at most the size of two documents; it is valid
// until the next call.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if err != bufio.ErrBufferFull && line == nil {
			return part, err
		}
		line = append(line, part...)
		if len(line) > 2*storage.MaxDocument {
			return nil, fault.New(fault.TooLarge, "longer than %d bytes", 2*storage.MaxDocument)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func (m *Importer) parse(text []byte) (one Crash, err error) {
	doc, err := storage.DecodeDocument(text)
	if err != nil {
		return one, err
	}
	processed, ok := doc["processed_crash"].(map[string]any)
	if !ok {
		processed = doc
	}
	if one.Doc, err = search.NewDoc(processed, m.Fields); err != nil {
		return one, err
	}
	if one.ID, err = storage.ParseCrashID(search.FormatID(one.Doc.ID)); err != nil {
		return one, err
	}
	one.Processed = processed
	if raw, ok := doc["raw_crash"].(map[string]any); ok {
		one.Raw = raw
	}
	return one, nil
}

// store writes a batch to the bucket, then to index and catalog.
func (m *Importer) store(ctx context.Context, batch []Crash) error {
	if len(batch) == 0 {
		return nil
	}
	if m.Crashes != nil {
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(batchWrites)
		for _, one := range lastOfEach(batch) {
			group.Go(func() error {
				if one.Raw != nil {
					if err := m.Crashes.SaveRaw(gctx, one.ID, one.Raw, nil); err != nil {
						return err
					}
				}
				return m.Crashes.SaveProcessed(gctx, one.ID, one.Processed)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	docs := make([]search.Doc, len(batch))
	for i, one := range batch {
		docs[i] = one.Doc
	}
	if err := m.Engine.Index(ctx, docs); err != nil || m.Seen == nil {
		return err
	}
	return m.Seen(ctx, batch)
}

// lastOfEach drops the lines that a later one of the same crash replaces.
func lastOfEach(batch []Crash) []Crash {
	last := make(map[storage.CrashID]int, len(batch))
	for i, one := range batch {
		last[one.ID] = i
	}
	out := make([]Crash, 0, len(last))
	for i, one := range batch {
		if last[one.ID] == i {
			out = append(out, one)
		}
	}
	return out
}
