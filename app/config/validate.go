package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// roleNames are the roles a process can run.
var roleNames = []string{"collector", "processor", "web"}

// Roles lists the roles that this process runs, each once; all stands for
// every one.
func (c *Config) Roles() []string {
	var out []string
	for _, r := range roleNames {
		if slices.Contains(c.Role, "all") || slices.Contains(c.Role, r) {
			out = append(out, r)
		}
	}
	return out
}

// Validate reports every configuration that cannot work, each with a sentence
// that says what to set.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Role) == 0 {
		wrong("role: name at least one of %s, or all", strings.Join(roleNames, ", "))
	}
	for _, r := range c.Role {
		if r != "all" && !slices.Contains(roleNames, r) {
			wrong("role: %q is none of %s, all", r, strings.Join(roleNames, ", "))
		}
	}
	if c.DataDir == "" {
		wrong("data_dir: name a directory")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		wrong("listen: %q is no address such as 127.0.0.1:8000", c.Listen)
	}
	roles := c.Roles()
	if err == nil && c.Web.Anonymous == "" && slices.Contains(roles, "web") && !loopback(host) {
		wrong("web.anonymous: set public or none before listening on %s: other machines can reach it", c.Listen)
	}
	if strings.HasPrefix(c.Queue.URL, "mem:") && len(roles) < len(roleNames) {
		wrong("queue.url: %s lives within one process; with role %s set a queue that processes share", c.Queue.URL, strings.Join(c.Role, ","))
	}
	if strings.HasPrefix(c.Storage.Crashes, "mem:") && len(roles) < len(roleNames) {
		wrong("storage.crashes: %s lives within one process; with role %s set a bucket that processes share", c.Storage.Crashes, strings.Join(c.Role, ","))
	}
	if c.Queue.Lease < 3e9 {
		wrong("queue.lease: %v is too short to be renewed; use 3s or more", c.Queue.Lease)
	}
	if c.Processor.Workers < 0 {
		wrong("processor.workers: %d; use 0 for as many as there are processors", c.Processor.Workers)
	}
	if c.Processor.WalkTimeout <= 0 {
		wrong("processor.walk_timeout: %v; a dump needs some time", c.Processor.WalkTimeout)
	}
	if c.Queue.Tries < 1 {
		wrong("queue.tries: %d; a crash needs at least one try", c.Queue.Tries)
	}
	if c.Sweep.Days < 0 {
		wrong("sweep.days: %d is negative", c.Sweep.Days)
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
