package rules

import (
	"context"
	"net/url"
	"strings"
)

// Plugin copies what a plugin process says of its plugin.
func Plugin(_ context.Context, _ *Env, c *Crash) error {
	if kind, _ := c.annotation("ProcessType"); kind != "plugin" {
		return nil
	}
	for field, name := range map[string]string{"plugin_filename": "PluginFilename", "plugin_name": "PluginName", "plugin_version": "PluginVersion"} {
		text, _ := c.annotation(name)
		c.Processed[field] = text
	}
	return nil
}

// ProcessType says what kind of process crashed.
func ProcessType(_ context.Context, env *Env, c *Crash) error {
	kind, ok := c.annotation("ProcessType")
	if !ok {
		kind = "parent"
	}
	if other, ok := env.Tables.ProcessTypes[kind]; ok {
		kind = other
	}
	c.Processed["process_type"] = kind
	return nil
}

// Accessibility says whether an accessibility service was active.
func Accessibility(_ context.Context, _ *Env, c *Crash) error {
	text, _ := c.annotation("Accessibility")
	c.Processed["accessibility"] = text == "Active"
	return nil
}

// Addons lists the add-ons as id:version.
func Addons(_ context.Context, _ *Env, c *Crash) error {
	c.Processed["addons_checked"] = nil
	if text, ok := c.annotation("EMCheckCompatibility"); ok {
		c.Processed["addons_checked"] = strings.ToLower(text) == "true"
	}
	addons := []string{}
	if text, _ := c.annotation("Add-ons"); text != "" {
		for _, a := range strings.Split(text, ",") {
			if !strings.Contains(a, ":") {
				a += ":NO_VERSION"
			}
			addons = append(addons, unquotePlus(a))
		}
	}
	c.Processed["addons"] = addons
	return nil
}

// unquotePlus undoes URL quoting where it is right and leaves the rest: one
// stray percent sign must not lose the list.
func unquotePlus(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s):
			u, err := url.PathUnescape(s[i : i+3])
			if err != nil {
				b.WriteByte('%')
				continue
			}
			b.WriteString(u)
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// ThemePrettyName adds a name to the ids of add-ons that the tables name.
func ThemePrettyName(_ context.Context, env *Env, c *Crash) error {
	addons, _ := c.Processed["addons"].([]string)
	for i, a := range addons {
		id, version, found := strings.Cut(a, ":")
		if name := env.Tables.AddonNames[id]; found && name != "" {
			addons[i] = id + " (" + name + "):" + version
		}
	}
	return nil
}

// ReportType tells hangs from crashes: by what the client says of processes
// that do not answer, or by the watchdog on the crashing stack.
func ReportType(_ context.Context, _ *Env, c *Crash) error {
	c.Processed["report_type"] = "crash"
	for _, name := range []string{"ipc_channel_error", "AsyncShutdownTimeout"} {
		if _, ok := c.annotation(name); ok {
			c.Processed["report_type"] = "hang"
			return nil
		}
	}
	thread, _ := indexAt(c.walked(), "crash_info", "crashing_thread")
	for _, f := range listAt(c.walked(), "threads", thread, "frames") {
		if strings.Contains(textAt(f, "function"), "RunWatchdog") {
			c.Processed["report_type"] = "hang"
			return nil
		}
	}
	return nil
}
