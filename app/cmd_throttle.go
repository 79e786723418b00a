package app

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/roles/collector/throttle"
	"mayday/storage"
)

func cmdThrottle() *cli.Command {
	return &cli.Command{
		Name:  "throttle",
		Usage: "try throttle rules on stored crashes",
		Subcommands: []*cli.Command{{
			Name: "try", ArgsUsage: "RULES [ID…]", Usage: "say what stored crashes would have got under these rules",
			Description: "RULES is a YAML file with rules, or a whole configuration with a collector.throttle section. Reads the\n" +
				"raw crashes of the last --days days (or those named) from the crash bucket and prints, for each rule, how many it\n" +
				"decides on. Rules that take a share draw by the crash id, so that a second run says the same. Writes nothing.",
			Flags: append(command.ConfigFlags(),
				&cli.IntFlag{Name: "days", Value: 7, Usage: "how many days back crashes are read"},
				&cli.IntFlag{Name: "limit", Value: 10_000, Usage: "most crashes that are read"},
				&cli.BoolFlag{Name: "each", Usage: "print a line for each crash: id, rule and result then, rule and result now"}),
			Action: throttleTry,
		}},
	}
}

func throttleTry(c *cli.Context) error {
	if c.NArg() < 1 {
		return command.Usage("throttle try takes a file of rules")
	}
	d, err := commandDeps(c)
	if err != nil {
		return err
	}
	defer d.close()
	rules, err := rulesOf(c.Args().First(), d.cfg)
	if err != nil {
		return err
	}
	crashes, err := d.Crashes(c.Context)
	if err != nil {
		return err
	}
	t := &trial{rules: rules, counts: map[[2]string]int{}}
	if c.Bool("each") {
		t.each = c.App.Writer
	}
	ids := c.Args().Tail()
	if len(ids) == 0 {
		err = t.recent(c.Context, crashes, c.Int("days"), c.Int("limit"))
	}
	for _, text := range ids {
		id, idErr := storage.FindCrashID(text)
		if idErr != nil {
			return idErr
		}
		if err = t.one(c.Context, crashes, id); err != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	return t.print(c.App.Writer)
}

// rulesOf compiles the rules in a file. When it is a whole configuration, that
// says as well which products are known and whether others are refused.
func rulesOf(path string, cfg *config.Config) (*throttle.Rules, error) {
	rows, err := throttle.ReadFile(path)
	if err != nil {
		return nil, err
	}
	products := cfg.Products
	none := func(*config.Setting) (string, bool) { return "", false }
	if whole, err := config.Load(path, nil, none); err == nil {
		products = whole.Products
	}
	var known []string
	for _, p := range products.List {
		known = append(known, p.Name)
	}
	return throttle.Compile(rows, products.Strict || len(rows.Products) > 0, known)
}

// trial counts what rules decide.
type trial struct {
	rules   *throttle.Rules
	counts  map[[2]string]int // rule and result
	total   int
	changed int
	each    io.Writer // nil: no line for each crash
}

func (t *trial) recent(ctx context.Context, crashes *storage.Crashes, days, limit int) error {
	for back := range days {
		for id, err := range crashes.ListRaw(ctx, time.Now().AddDate(0, 0, -back)) {
			if err != nil {
				return err
			}
			if t.total >= limit {
				return nil
			}
			if err := t.one(ctx, crashes, id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *trial) one(ctx context.Context, crashes *storage.Crashes, id storage.CrashID) error {
	raw, err := crashes.Raw(ctx, id)
	if fault.Is(err, fault.Malformed) {
		return nil // no rule could have seen it
	}
	if err != nil {
		return err
	}
	then, _ := raw["metadata"].(map[string]any)
	before, _ := then["throttle_rule"].(string)
	h := fnv.New64a()
	h.Write([]byte(id))
	draw := float64(h.Sum64()>>11) / (1 << 53)
	at, ok := id.Date()
	if !ok {
		at = time.Now()
	}
	result, rule := t.rules.Decide(raw, at, func() float64 { return draw })
	t.total++
	t.counts[[2]string{rule, result.String()}]++
	if rule != before {
		t.changed++
	}
	if t.each != nil {
		_, err = fmt.Fprintf(t.each, "%s\t%s\t%s\t%s\n", id, before, rule, result)
	}
	return err
}

func (t *trial) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RULE\tRESULT\tCRASHES\tSHARE")
	for _, rule := range t.rules.Names() {
		for _, result := range []throttle.Result{throttle.Accept, throttle.Defer, throttle.Reject, throttle.FakeAccept} {
			if n := t.counts[[2]string{rule, result.String()}]; n > 0 {
				fmt.Fprintf(tw, "%s\t%s\t%d\t%.1f %%\n", rule, result, n, 100*float64(n)/float64(t.total))
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d crashes, %d of them decided on by another rule than when they came\n", t.total, t.changed)
	return err
}
