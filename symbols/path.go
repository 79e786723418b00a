package symbols

import "strings"

// NormalizePath writes a source path as symbolic's API does. That keeps the
// directory and the name apart, puts them together again and then collapses the
// parts . and .. in them. A name in angle brackets, such as <stdin>, has no
// directory. Where a path starts like a Windows path or has a backslash in its
// directory, separators become backslashes.
func NormalizePath(p string) string {
	if plainPath(p) {
		return p
	}
	dir, name := splitPath(p)
	switch {
	case strings.HasPrefix(name, "<") && strings.HasSuffix(name, ">") || dir == "" || startsWithDrive(name):
		return cleanPath(name)
	case name == "":
		return cleanPath(dir)
	}
	return cleanPath(strings.TrimRight(dir, separators) + separator(dir) + name)
}

const separators = `/\`

// splitPath cuts the separators at the end off a path, and splits it before its
// last part.
func splitPath(p string) (dir, name string) {
	if cut := strings.TrimRight(p, separators); cut != "" {
		p = cut
	}
	i := strings.LastIndexAny(p, separators)
	return p[:max(i, min(i+1, 1))], p[i+1:]
}

// cleanPath collapses the parts . and .. of a path. A .. at the front of an
// absolute path takes its root away.
func cleanPath(p string) string {
	if p == "" {
		return ""
	}
	sep := separator(p)
	parts := splitAny(p)
	var b []byte
	between, above := false, false // a separator comes next; .. leads beyond the front
	for _, part := range parts {
		switch {
		case part == ".":
			continue
		case part == ".." && !above && len(b) > 0:
			b = b[:max(0, strings.LastIndexAny(string(b), separators))]
			between = between && len(b) > 0
			continue
		case part == ".." && !above:
			above, between = true, false
		}
		if between {
			b = append(b, sep...)
		}
		b = append(b, part...)
		between = true
	}
	return string(b)
}

// splitAny splits a path at each separator; one at the end ends the last part.
func splitAny(p string) (parts []string) {
	for {
		i := strings.IndexAny(p, separators)
		if i < 0 {
			break
		}
		parts, p = append(parts, p[:i]), p[i+1:]
	}
	if p != "" {
		parts = append(parts, p)
	}
	return parts
}

// plainPath reports whether nothing needs to be changed, for a Unix path.
func plainPath(p string) bool {
	if p == "" || isSep(p[0]) && len(p) == 1 || p[len(p)-1] == '>' {
		return false
	}
	if len(p) > 1 && p[len(p)-1] == ':' && isLetter(p[len(p)-2]) || startsWithDrive(p) {
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

// separator is that of a path.
func separator(p string) string {
	if startsWithDrive(p) || strings.HasPrefix(p, "//") || strings.IndexByte(p, '\\') >= 0 {
		return `\`
	}
	return "/"
}

// startsWithDrive reports whether a path is C: or starts with C:\ or C:/.
func startsWithDrive(p string) bool {
	return len(p) >= 2 && isLetter(p[0]) && p[1] == ':' && (len(p) == 2 || isSep(p[2]))
}

func isSep(c byte) bool { return c == '/' || c == '\\' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
