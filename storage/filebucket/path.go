package filebucket

import (
	"fmt"
	"path/filepath"
	"strings"
)

// temporarySuffix ends the name of each file that is not an object yet.
const temporarySuffix = ".tmp"

// maxPart is the longest part of an escaped key in bytes: most file systems
// hold names of 255.
const maxPart = 240

// maxPath is the longest escaped key in bytes; Linux takes paths of 4096.
const maxPath = 3000

func isTemporary(name string) bool { return strings.HasSuffix(name, temporarySuffix) }

// path is the file of a key.
func (b *bucket) path(key string) (string, error) {
	if key == "" || len(key) > maxPath {
		return "", fmt.Errorf("%w: %d bytes", errBadKey, len(key))
	}
	parts := strings.Split(key, "/")
	total := 0
	for i, part := range parts {
		parts[i] = escape(part)
		total += len(parts[i]) + 1
		if len(parts[i]) > maxPart || total > maxPath {
			return "", fmt.Errorf("%w: part of %d bytes", errBadKey, len(parts[i]))
		}
	}
	return b.root + string(filepath.Separator) + strings.Join(parts, string(filepath.Separator)), nil
}

// escape writes one part of a key so that any file system can hold it, with a
// lone "%" for an empty part and %XX for a byte: control characters, those
// that Windows refuses, "%" itself, the dots of "." and "..", the dot of a
// final ".tmp".
func escape(part string) string {
	switch part {
	case "":
		return "%"
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	dot := -1
	if isTemporary(part) {
		dot = len(part) - len(temporarySuffix)
	}
	clean := dot < 0
	for i := 0; clean && i < len(part); i++ {
		clean = !mustEscape(part[i])
	}
	if clean {
		return part
	}
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(part)+16)
	for i := range len(part) {
		if c := part[i]; mustEscape(c) || i == dot {
			out = append(out, '%', digits[c>>4], digits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

func mustEscape(c byte) bool {
	return c < ' ' || c == 0x7f || strings.IndexByte(`%\<>:"|?*`, c) >= 0
}

// unescape reverses escape. A file that the bucket did not write (a lone "%",
// no digits) keeps its name; it cannot be read under that key, which is right:
// it is not an object.
func unescape(name string) string {
	if name == "%" {
		return ""
	}
	if strings.IndexByte(name, '%') < 0 {
		return name
	}
	out := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			hi, lo := hexDigit(name[i+1]), hexDigit(name[i+2])
			if hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, name[i])
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
