package minidump

import (
	"os"
	"path/filepath"
	"testing"
)

// corpus lists the dumps of the reference corpus beside the repository.
func corpus(t testing.TB, pattern string) []string {
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "data", "stackwalk", pattern))
	if len(files) == 0 {
		t.Skip("what is read is compared with a reference corpus of dumps, which is not beside the repository")
	}
	return files
}

// Every dump of the corpus but the one that is broken on purpose reads, and its
// context records decode.
func TestReadCorpus(t *testing.T) {
	for _, name := range corpus(t, "visible/dumps/*.dmp") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			st, _ := f.Stat()
			d, err := Read(f, st.Size())
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(name) == "rmd-invalid-record-count.dmp" {
				if err := d.Usable(); err == nil {
					t.Error("a dump without threads is usable")
				}
				return
			}
			if err := d.Usable(); err != nil {
				t.Fatal(err)
			}
			for i := range d.Threads {
				if _, err := d.Context(d.Threads[i].Raw.Context); err != nil {
					t.Logf("thread %d: %v", i, err)
				}
			}
			for _, e := range d.Errors {
				t.Log(e)
			}
		})
	}
}
