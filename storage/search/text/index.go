package text

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/document"
	bleve "github.com/blevesearch/bleve_index_api"
	scorch "github.com/blevesearch/scorch_segment_api/v2"
	"github.com/blevesearch/zapx/v17"

	"mayday/app/fault"
)

// Field is a dictionary to index: its N entries by number.
type Field struct {
	Name  string
	N     int
	Value func(i int) string // valid until the next call at least
}

// batch is how many entries are turned into an inverted index at a time: some
// MB of tokens, merged on disk afterwards.
const batch = 8192

// plugin reads and writes bleve's index segments.
var plugin = &zap.ZapPlugin{}

// words is the analyzer that gives Words.
type words struct{}

// Analyze is part of bleve's Analyzer.
func (words) Analyze(input []byte) analysis.TokenStream {
	var out analysis.TokenStream
	Words(string(input), func(w string) bool {
		out = append(out, &analysis.Token{Term: []byte(w), Position: len(out) + 1})
		return true
	})
	return out
}

// Build writes the word index of dictionaries to a file: one bleve index
// segment in which document number i stands for entry i of every field. It is
// not synced: what is lost is built again.
func Build(path string, fields []Field) (err error) {
	defer fault.In(&err, "word index")
	most := 0
	for _, f := range fields {
		most = max(most, f.N)
	}
	var parts []scorch.Segment
	defer func() {
		for _, p := range parts {
			if cerr := p.Close(); err == nil {
				err = cerr
			}
		}
	}()
	for lo := 0; lo < most; lo += batch {
		docs := make([]bleve.Document, 0, batch)
		for i := lo; i < min(lo+batch, most); i++ {
			docs = append(docs, entry(fields, i))
		}
		part, _, err := plugin.New(docs)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return fault.New(fault.Invalid, "no entries")
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) { // Merge would write over the front of an old file
		return err
	}
	_, _, err = plugin.Merge(parts, make([]*roaring.Bitmap, len(parts)), path, nil, nil)
	return err
}

// entry is entry i of all dictionaries as a document.
func entry(fields []Field, i int) bleve.Document {
	doc := document.NewDocument("-") // bleve wants an id; one for all costs nothing
	doc.AddIDField()
	defer doc.VisitFields(func(f bleve.Field) {
		if f.Name() == "_id" {
			f.Analyze()
		}
	})
	for _, f := range fields {
		if i >= f.N {
			continue
		}
		field := document.NewTextFieldCustom(f.Name, nil, []byte(f.Value(i)), bleve.IndexField|bleve.SkipFreqNorm, words{})
		field.Analyze()
		doc.AddField(field)
	}
	return doc
}

// Index is an open word index. It may be used by many goroutines.
type Index struct {
	seg    scorch.Segment
	fields map[string]bool
}

// Open opens a word index after checking that the file is as it was written.
func Open(path string) (_ *Index, err error) {
	defer fault.In(&err, "word index")
	if err := checkSum(path); err != nil {
		return nil, err
	}
	seg, err := plugin.Open(path)
	if err != nil {
		return nil, fault.As(fault.Malformed, err, "open")
	}
	x := &Index{seg: seg, fields: map[string]bool{}}
	for _, name := range seg.Fields() {
		x.fields[name] = true
	}
	return x, nil
}

// checkSum compares the file with the checksum at its end.
func checkSum(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.As(fault.NotFound, err, "read")
	}
	defer f.Close() // read only: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return fault.As(fault.NotFound, err, "read")
	}
	size := info.Size()
	if size < 8 {
		return fault.New(fault.Malformed, "file of %d bytes", size)
	}
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(sum, f, size-4); err != nil {
		return fault.As(fault.Malformed, err, "read")
	}
	var end [4]byte
	if _, err := io.ReadFull(f, end[:]); err != nil {
		return fault.As(fault.Malformed, err, "read")
	}
	if want, got := binary.BigEndian.Uint32(end[:]), sum.Sum32(); got != want {
		return fault.New(fault.Malformed, "checksum is %08x, want %08x", got, want)
	}
	return nil
}

// Close unmaps the file.
func (x *Index) Close() error { return x.seg.Close() }

// Has says whether a field was indexed.
func (x *Index) Has(field string) bool { return x.fields[field] }

// Entries calls hit with the number of each entry of a field that holds the
// word; it may do so for more than one word twice.
func (x *Index) Entries(field, word string, hit func(entry uint32)) error {
	dict, err := x.seg.Dictionary(field)
	if err != nil {
		return fault.As(fault.Malformed, err, "dictionary of %s", field)
	}
	return postings(dict, field, word, hit)
}

// EntriesPrefix is Entries for all words that begin with prefix.
func (x *Index) EntriesPrefix(field, prefix string, hit func(entry uint32)) error {
	dict, err := x.seg.Dictionary(field)
	if err != nil {
		return fault.As(fault.Malformed, err, "dictionary of %s", field)
	}
	it := dict.AutomatonIterator(nil, []byte(prefix), after([]byte(prefix)))
	for {
		e, err := it.Next()
		if err != nil {
			return fault.As(fault.Malformed, err, "dictionary of %s", field)
		}
		if e == nil {
			return nil
		}
		if err := postings(dict, field, e.Term, hit); err != nil {
			return err
		}
	}
}

func postings(dict scorch.TermDictionary, field, word string, hit func(entry uint32)) error {
	list, err := dict.PostingsList([]byte(word), nil, nil)
	if err != nil {
		return fault.As(fault.Malformed, err, "postings of %s", field)
	}
	it := list.Iterator(false, false, false, nil)
	for {
		p, err := it.Next()
		if err != nil {
			return fault.As(fault.Malformed, err, "postings of %s", field)
		}
		if p == nil {
			return nil
		}
		hit(uint32(p.Number()))
	}
}

// Complete lists up to most words of a field that begin with prefix, and how
// many entries hold each.
func (x *Index) Complete(field, prefix string, most int, yield func(word string, entries uint64)) error {
	dict, err := x.seg.Dictionary(field)
	if err != nil {
		return fault.As(fault.Malformed, err, "dictionary of %s", field)
	}
	var end []byte
	if prefix != "" {
		end = after([]byte(prefix))
	}
	it := dict.AutomatonIterator(nil, []byte(prefix), end)
	for range most {
		e, err := it.Next()
		if err != nil {
			return fault.As(fault.Malformed, err, "dictionary of %s", field)
		}
		if e == nil {
			return nil
		}
		yield(e.Term, e.Count)
	}
	return nil
}

// after is the least text that does not begin with prefix and comes later; nil
// when there is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			out := append([]byte(nil), prefix[:i+1]...)
			out[i]++
			return out
		}
	}
	return nil
}
