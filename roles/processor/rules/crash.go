// Package rules holds the steps that make a processed crash of a raw crash and
// its dumps. Each step is a function over a Crash; the order, the names and
// what each needs and sets stand in one slice, roles/processor/ruleset.go.
//
// The rules are those of Socorro's processor, under its names and with its
// notes, so that tools that read processed crashes keep working; known faults
// of it are mended (docs/compatibility.md lists them). What one product needs
// and another does not is in tables (tables.yaml), not in code.
//
// A rule reads annotations from Crash.Raw and fields from Crash.Processed, and
// writes fields and notes. Notes are public: they hold the names of rules and
// annotations and what is public anyway, never a protected value or the text
// of an error. Rules that find the input broken say so in a note and go on; an
// error from a rule means that the rule itself failed.
//
// The package has no queue, bucket or network of its own: the walker, the
// product versions and the symbols come in through the interfaces of Env.
package rules

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/signature"
	"mayday/storage/schema"
	"mayday/symbols"
)

// MinidumpName is the main dump; names of further dumps begin with it.
const MinidumpName = "upload_file_minidump"

// memoryReportName is the dump that holds the memory report.
const memoryReportName = "memory_report"

// Crash is one crash on its way through the rules.
type Crash struct {
	ID        string
	Raw       map[string]any // annotations; the rules' own copy
	Processed map[string]any
	Dumps     []Dump   // sorted by name
	Missing   []string // dumps that are listed and gone
	Now       time.Time
	Notes     []string
	// Patient says that the crash can be tried again later, should something it
	// needs not answer now.
	Patient bool
	// Previous is the processed crash of an earlier round, nil when there is
	// none. Only what cannot be made again is taken from it.
	Previous map[string]any
}

// Dump is one file of a crash.
type Dump struct {
	Name   string
	Size   int64
	Reader io.ReaderAt
	File   *os.File // holds the dump, nil when it is in memory
}

// Note adds a line to the public notes of this round.
func (c *Crash) Note(format string, args ...any) {
	c.Notes = append(c.Notes, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
}

// walked is what the walker says of the main dump; nil when it was not walked.
func (c *Crash) walked() map[string]any {
	jd, _ := c.Processed["json_dump"].(map[string]any)
	return jd
}

// Rule is one step of processing.
type Rule struct {
	Name  string
	Doc   string
	Needs []string // fields that earlier rules must have had their chance to set
	Sets  []string // fields it may set; EveryAnnotation for all copied ones
	Run   func(context.Context, *Env, *Crash) error
}

// EveryAnnotation in a rule's Sets stands for each field that the field table
// copies from an annotation.
const EveryAnnotation = "*"

// Env is what rules may use besides the crash itself.
type Env struct {
	Schema   *schema.Table
	Tables   *Tables
	Walker   Walker
	Versions Versions
	Symbols  SymbolSource     // nil: crash pings are not symbolicated
	Lists    *signature.Lists // nil: the built-in lists
}

// Walker reads stacks from minidumps.
type Walker interface {
	// Walk always has a result: what goes wrong is told in it. It returns
	// early when ctx ends.
	Walk(ctx context.Context, d Dump, annotations map[string]any) WalkResult
}

// Exit codes of a walker besides its own: the limits that stopped it.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitAbort  = -6 // memory budget: as a process that aborts
	ExitKilled = -9 // deadline: as a process that is killed
)

// WalkResult is what walking one dump came to.
type WalkResult struct {
	Exit    int
	Output  any    // the JSON it wrote; nil when it wrote none
	Log     string // "ERROR Name - text" when the dump cannot be read
	Version string
	// NoAnswer says that symbols may exist that could not be asked for.
	NoAnswer bool
}

// Versions finds the version of a build that reports a shortened one.
type Versions interface {
	// Version returns the version of a build. known is false when the product
	// has no builds listed at all, so that nothing can be said of this one.
	Version(ctx context.Context, product, channel, buildID string) (version string, found, known bool, err error)
}

// SymbolSource gives the symbols of one module, nil when there are none.
type SymbolSource interface {
	Locate(ctx context.Context, m symbols.ModuleID, offset uint64) (symbols.Location, bool)
}

// missing makes the error of a rule that cannot do without an annotation.
func missing(annotation string) error {
	return fault.New(fault.Invalid, "annotation %s is missing", annotation)
}
