package symbols

import "strings"

// NormalizePath writes a source path as symbolic's API does: parts . and ..
// are collapsed and repeated separators become one. A path with a drive letter,
// a backslash at its front or two separators at its front is a Windows path and
// gets backslashes. What is not an absolute path keeps its front, such as the
// hg:host:path:revision of a version control system.
func NormalizePath(p string) string {
	if plainPath(p) {
		return p
	}
	windows := isWindowsPath(p)
	front := ""
	rest := p
	switch {
	case len(p) >= 2 && isSep(p[0]) && isSep(p[1]):
		front, rest = `\\`, p[2:]
	case len(p) >= 2 && isLetter(p[0]) && p[1] == ':':
		front, rest = p[:2], p[2:]
		if rest != "" && isSep(rest[0]) {
			front += `\`
		}
	case p != "" && isSep(p[0]):
		front = p[:1]
	}
	sep := "/"
	if windows {
		sep = `\`
	}
	var parts []string
	for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return r == '/' || windows && r == '\\' }) {
		switch {
		case part == ".":
		case part == ".." && len(parts) > 0 && parts[len(parts)-1] != "..":
			parts = parts[:len(parts)-1]
		case part == ".." && front != "":
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return front + strings.Join(parts, sep)
}

// plainPath reports whether nothing needs to be changed, for a Unix path.
func plainPath(p string) bool {
	if p == "" || isSep(p[0]) && len(p) == 1 {
		return false
	}
	if len(p) > 1 && isLetter(p[0]) && p[1] == ':' {
		return false
	}
	if p[0] == '.' || strings.IndexByte(p, '\\') >= 0 {
		return false
	}
	for {
		i := strings.IndexByte(p, '/')
		switch {
		case i < 0:
			return true
		case i+1 == len(p) || p[i+1] == '/' || p[i+1] == '.':
			return false
		}
		p = p[i+1:]
	}
}

func isWindowsPath(p string) bool {
	if len(p) >= 2 && isLetter(p[0]) && p[1] == ':' {
		return true
	}
	if len(p) >= 2 && isSep(p[0]) && isSep(p[1]) {
		return true
	}
	if p != "" && p[0] == '\\' {
		return true
	}
	return !strings.HasPrefix(p, "/") && strings.ContainsRune(p, '\\')
}

func isSep(c byte) bool { return c == '/' || c == '\\' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
