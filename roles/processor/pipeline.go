package processor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/roles/processor/rules"
	"mayday/signature"
)

// failedSignature is the signature until a rule makes a real one.
const failedSignature = "EMPTY: crash failed to process"

// startLayout is how the first note writes the time.
const startLayout = "2006-01-02 15:04:05.000000+00:00"

// Job is one crash to be processed.
type Job struct {
	ID      string
	Ruleset string // "" is the default one
	Raw     map[string]any
	Dumps   []rules.Dump
	Missing []string // dumps that are listed and gone
	// Previous is the processed crash of an earlier round, nil when there is none.
	Previous map[string]any
	// Careful is for a crash that was tried before and not finished: Pipeline's
	// careful walker is used.
	Careful bool
	// Patient says that the crash can be tried again later.
	Patient bool
}

// RuleFailure is a rule that failed on a crash.
type RuleFailure struct {
	Rule  string
	Err   error
	Stack []byte // where it panicked; nil when it only returned an error
}

// Result is what became of a Job.
type Result struct {
	Processed map[string]any
	Failures  []RuleFailure
	// Timings is how long each rule took, in the order they ran.
	Timings []RuleTiming
}

// RuleTiming is how long one rule took.
type RuleTiming struct {
	Rule string
	Took time.Duration
}

// Pipeline runs the rules over crashes. It holds no state of a crash, so any
// number of goroutines may use one.
type Pipeline struct {
	Env  rules.Env
	Host string           // named in the first note
	Now  func() time.Time // nil is time.Now
	// Lists gives the signature lists to use now, which may change while the
	// program runs; nil leaves Env.Lists.
	Lists func() *signature.Lists
	// Careful walks what may have ended the program before; nil leaves
	// Env.Walker.
	Careful rules.Walker
}

// Process runs the rules of the job's ruleset. A rule that fails leaves a note
// and is reported; the others run all the same. An error means that there is
// no processed crash to store: the ruleset is unknown, ctx ended, or the crash
// is Patient and better tried later.
func (p *Pipeline) Process(ctx context.Context, j Job) (*Result, error) {
	now := p.Now
	if now == nil {
		now = time.Now
	}
	if j.Ruleset == "" || j.Previous == nil {
		// Without a processed crash there is nothing to make a signature of.
		if j.Ruleset == RegenerateSignature || j.Ruleset == "" {
			j.Ruleset = DefaultRuleset
		}
	}
	list := rulesOf(j.Ruleset)
	if list == nil {
		return nil, fault.New(fault.Invalid, "ruleset %q is none of %s", j.Ruleset, strings.Join(Rulesets(), ", "))
	}
	c := &rules.Crash{ID: j.ID, Raw: maps.Clone(j.Raw), Dumps: slices.Clone(j.Dumps), Missing: j.Missing, Now: now(), Previous: j.Previous, Patient: j.Patient}
	if c.Raw == nil {
		c.Raw = map[string]any{}
	}
	slices.SortFunc(c.Dumps, func(a, b rules.Dump) int { return strings.Compare(a.Name, b.Name) })
	start(c, j)
	c.Note(">>> Start processing: %s (%s)", c.Now.UTC().Format(startLayout), p.Host)
	env := p.Env
	if p.Lists != nil {
		env.Lists = p.Lists()
	}
	if j.Careful && p.Careful != nil {
		env.Walker = p.Careful
	}
	res := &Result{Processed: c.Processed}
	for i := range list {
		began := time.Now()
		f := run(ctx, &list[i], &env, c)
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(err, "process crash %s", j.ID)
		}
		if f != nil && errors.Is(f.Err, rules.ErrLater) {
			return nil, fault.Wrap(f.Err, "process crash %s", j.ID)
		}
		res.Timings = append(res.Timings, RuleTiming{list[i].Name, time.Since(began)})
		if f != nil {
			c.Note("ruleset '%s' rule '%s' failed: %s", j.Ruleset, f.Rule, fault.Of(f.Err))
			res.Failures = append(res.Failures, *f)
		}
	}
	c.Processed["success"] = true
	c.Processed["processor_notes"] = strings.Join(c.Notes, "\n")
	c.Processed["completed_datetime"] = rules.FormatDate(now())
	return res, nil
}

// maxHistory bounds the notes of earlier rounds; a crash that is reprocessed
// for ever must not grow for ever.
const maxHistory = 100

// start makes the document that the rules fill: empty but for the notes of
// earlier rounds, or the earlier document where only the signature is redone.
func start(c *rules.Crash, j Job) {
	c.Processed = map[string]any{}
	if j.Ruleset != DefaultRuleset {
		c.Processed = maps.Clone(j.Previous)
	}
	history := []any{}
	if notes, _ := j.Previous["processor_notes"].(string); notes != "" {
		history = append(history, notes)
	}
	if old, ok := j.Previous["processor_history"].([]any); ok {
		history = append(history, old...)
	}
	c.Processed["processor_history"] = history[:min(len(history), maxHistory)]
	c.Processed["success"] = false
	c.Processed["started_datetime"] = rules.FormatDate(c.Now)
	c.Processed["signature"] = failedSignature
}

// run runs one rule and turns a panic into its failure.
func run(ctx context.Context, r *rules.Rule, env *rules.Env, c *rules.Crash) (failure *RuleFailure) {
	defer func() {
		if v := recover(); v != nil {
			failure = &RuleFailure{Rule: r.Name, Err: fault.New(fault.Internal, "panic: %s", fmt.Sprint(v)), Stack: debug.Stack()}
		}
	}()
	if err := r.Run(ctx, env, c); err != nil {
		return &RuleFailure{Rule: r.Name, Err: err}
	}
	return nil
}
