package signature

import (
	"strings"
	"testing"
	"testing/fstest"
)

// listFiles makes a file system of the four lists, given in the order of
// ListNames.
func listFiles(text ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i, name := range ListNames() {
		out[name+".txt"] = &fstest.MapFile{Data: []byte(text[i])}
	}
	return out
}

func TestLoadErrors(t *testing.T) {
	_, err := Load(listFiles("ok\na(?!b)\n", "x\n\n(?i)y\n", "((\n", "a**\n"), "lists")
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{
		"irrelevant_signature_re.txt:2: ", "look-ahead",
		"prefix_signature_re.txt:3: ", "write (?i:…)",
		"signature_sentinels.txt:1: ", "missing closing )",
		"signatures_with_line_numbers_re.txt:1: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	missing := listFiles("a", "b", "c", "d")
	delete(missing, PrefixList+".txt")
	if _, err := Load(missing, ""); err == nil || !strings.Contains(err.Error(), PrefixList) {
		t.Errorf("without a file: %v", err)
	}
}
