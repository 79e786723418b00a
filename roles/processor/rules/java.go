package rules

import (
	"context"
	"strings"
)

// JavaStackTrace keeps a Java stack trace as it came and, for the public,
// without the messages of its exceptions.
func JavaStackTrace(_ context.Context, _ *Env, c *Crash) error {
	raw, ok := c.annotation("JavaStackTrace")
	if !ok {
		return nil
	}
	c.Processed["java_stack_trace_raw"] = raw
	clean, ok := sanitizeJava(raw)
	if !ok {
		c.Note("JavaStackTrace: malformed JavaStackTrace")
		clean = "malformed"
	}
	c.Processed["java_stack_trace"] = clean
	return nil
}

// sanitizeJava keeps the exception's class and its stack:
//
//	java.lang.IllegalStateException: message that may go on
//	for several lines
//		at com.example.Session.require(Session.kt:41)
//	Caused by: java.io.IOException: another message
//
// becomes the class and the lines that begin with a tab, up to what caused or
// accompanied the exception. A stack line without its tab makes the whole
// trace malformed, since a message may hide in it.
func sanitizeJava(text string) (string, bool) {
	lines := strings.Split(text, "\n")
	class, _, _ := strings.Cut(lines[0], ":")
	rest := lines[1:]
	for len(rest) > 0 && !strings.HasPrefix(rest[0], "\tat ") {
		rest = rest[1:]
	}
	var b strings.Builder
	b.WriteString(class)
	first := true
	for i, line := range rest {
		if strings.HasPrefix(strings.TrimSpace(line), "Suppressed:") || strings.HasPrefix(strings.TrimSpace(line), "Caused by:") {
			break
		}
		if strings.TrimSpace(line) == "" && i == len(rest)-1 {
			break
		}
		if !strings.HasPrefix(line, "\t") {
			return "", false
		}
		first = false
		b.WriteString("\n\t" + line[1:])
	}
	if first {
		return class + "\n", true
	}
	return b.String(), true
}

// Breadcrumbs keeps the events before the crash, if they have the right form.
// The notes say only that they have not: the events are protected.
func Breadcrumbs(_ context.Context, env *Env, c *Crash) error {
	v, ok := c.Raw["Breadcrumbs"]
	if !ok {
		return nil
	}
	if text, isText := v.(string); isText {
		if v, ok = decodeJSON(text); !ok {
			c.Note("Breadcrumbs: malformed: not valid json")
			return nil
		}
	}
	if obj, isObject := v.(map[string]any); isObject {
		if values, has := obj["values"]; has {
			v = values
		}
	}
	if f := env.Schema.Field("breadcrumbs"); len(f.Check(v)) > 0 {
		c.Note("Breadcrumbs: malformed: not a list of breadcrumbs")
		return nil
	}
	c.Processed["breadcrumbs"] = v
	return nil
}
