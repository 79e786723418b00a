package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// importer loads processed crashes that were made elsewhere.
type importer struct {
	crashes *storage.Crashes // nil: the index alone
	engine  search.Engine
	fields  *plan.Fields
	seen    interface {
		RecordSeen(ctx context.Context, seen []catalog.FirstSeen) error
	}
}

// importReport says what became of the lines.
type importReport struct {
	Imported     int           `json:"imported"`
	RefusedLines int           `json:"refused_lines"`
	Refused      []refusedLine `json:"refused"` // the first few
}

type refusedLine struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

const (
	// importRows and importBytes bound a batch, the lines of which are in
	// memory at one time.
	importRows  = 4096
	importBytes = 64 << 20
	// importWrites is how many crashes are written to the bucket at once: each
	// waits for the disk.
	importWrites = 16
	// maxRefused is how many refused lines a report names.
	maxRefused = 100
)

func (d *deps) importer(ctx context.Context, indexOnly bool) (*importer, error) {
	m := &importer{}
	var err error
	if m.engine, err = d.Engine(); err != nil {
		return nil, err
	}
	if m.fields, err = d.Fields(); err != nil {
		return nil, err
	}
	if indexOnly {
		return m, nil
	}
	db, err := d.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	m.seen = db
	m.crashes, err = d.Crashes(ctx)
	return m, err
}

// importLine is a crash of the batch at hand.
type importLine struct {
	id        storage.CrashID
	raw       storage.RawCrash
	processed storage.ProcessedCrash
	doc       search.Doc
}

// run imports lines until the end; everything it reports can be searched when
// it returns. An error leaves the batches before it imported.
func (m *importer) run(ctx context.Context, r io.Reader) (*importReport, error) {
	report := &importReport{Refused: []refusedLine{}}
	lines := bufio.NewReaderSize(r, 1<<20)
	var batch []importLine
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
			one, err := m.parse(text)
			if err != nil {
				report.RefusedLines++
				if len(report.Refused) < maxRefused {
					report.Refused = append(report.Refused, refusedLine{number, err.Error()})
				}
				continue
			}
			batch = append(batch, one)
			if size += len(text); len(batch) >= importRows || size >= importBytes {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
	}
}

// readLine reads one line of at most the size of two documents.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > 2*storage.MaxDocument {
			return nil, fault.New(fault.TooLarge, "longer than %d bytes", 2*storage.MaxDocument)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func (m *importer) parse(text []byte) (one importLine, err error) {
	doc, err := storage.DecodeDocument(text)
	if err != nil {
		return one, err
	}
	processed, ok := doc["processed_crash"].(map[string]any)
	if !ok {
		processed = doc
	}
	if one.doc, err = search.NewDoc(processed, m.fields); err != nil {
		return one, err
	}
	if one.id, err = storage.ParseCrashID(search.FormatID(one.doc.ID)); err != nil {
		return one, err
	}
	one.processed = processed
	if raw, ok := doc["raw_crash"].(map[string]any); ok {
		one.raw = raw
	}
	return one, nil
}

// store writes a batch to the bucket, then to index and catalog.
func (m *importer) store(ctx context.Context, batch []importLine) error {
	if len(batch) == 0 {
		return nil
	}
	if m.crashes != nil {
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(importWrites)
		for _, one := range lastOfEach(batch) {
			group.Go(func() error {
				if one.raw != nil {
					if err := m.crashes.SaveRaw(gctx, one.id, one.raw, nil); err != nil {
						return err
					}
				}
				return m.crashes.SaveProcessed(gctx, one.id, one.processed)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	docs := make([]search.Doc, len(batch))
	var seen []catalog.FirstSeen
	for i, one := range batch {
		docs[i] = one.doc
		if s := one.processed.Text("signature"); s != "" {
			first := catalog.FirstSeen{Signature: s, Date: time.UnixMicro(one.doc.Date)}
			if b := one.processed["build"]; b != nil {
				first.Build = fmt.Sprint(b)
			}
			seen = append(seen, first)
		}
	}
	if err := m.engine.Index(ctx, docs); err != nil {
		return err
	}
	if m.seen == nil {
		return nil
	}
	return fault.Wrap(m.seen.RecordSeen(ctx, seen), "first appearances")
}

// lastOfEach drops the lines that a later one of the same crash replaces.
func lastOfEach(batch []importLine) []importLine {
	last := make(map[storage.CrashID]int, len(batch))
	for i, one := range batch {
		last[one.id] = i
	}
	out := make([]importLine, 0, len(last))
	for i, one := range batch {
		if last[one.id] == i {
			out = append(out, one)
		}
	}
	return out
}
