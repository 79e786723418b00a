package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/queue"
)

func cmdVerdicts() *cli.Command {
	return &cli.Command{
		Name: "verdicts", ArgsUsage: "[ID…]", Usage: "list the crashes that were given up, and why; have them tried again",
		Description: "Reads the verdicts in the crash bucket and prints a line for each: crash id, time, tries, queue, reason.\n" +
			"With --retry the crashes go to the queue reprocessing. Works beside a running server.",
		Flags: append(command.ConfigFlags(),
			&cli.BoolFlag{Name: "json", Usage: "print JSON, one object a line"},
			&cli.BoolFlag{Name: "retry", Usage: "have the crashes processed again"}),
		Action: verdicts,
	}
}

// verdictRow is a verdict as --json prints it.
type verdictRow struct {
	ID storage.CrashID `json:"crash_id"`
	storage.Verdict
}

func verdicts(c *cli.Context) error {
	wanted := map[storage.CrashID]bool{}
	for _, text := range c.Args().Slice() {
		id, err := storage.FindCrashID(text)
		if err != nil {
			return command.AsUsage(err)
		}
		wanted[id] = true
	}
	d, err := commandDeps(c)
	if err != nil {
		return err
	}
	defer d.close()
	rows, err := d.verdicts(c.Context, wanted)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := r.print(c.App.Writer, c.Bool("json")); err != nil {
			return fault.Wrap(err, "print")
		}
	}
	if !c.Bool("retry") || len(rows) == 0 {
		return nil
	}
	queues, err := d.Queues(c.Context)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := queues.Send(c.Context, queue.Reprocessing, queue.Message{ID: r.ID}); err != nil {
			return err
		}
	}
	return d.audit(c.Context, fmt.Sprintf("verdicts: %d crashes are tried again", len(rows)))
}

// verdicts reads the verdicts on the crashes wanted; none named are all.
func (d *deps) verdicts(ctx context.Context, wanted map[storage.CrashID]bool) ([]verdictRow, error) {
	crashes, err := d.Crashes(ctx)
	if err != nil {
		return nil, err
	}
	var rows []verdictRow
	for id, err := range crashes.ListVerdicts(ctx) {
		if err != nil {
			return nil, err
		}
		if len(wanted) > 0 && !wanted[id] {
			continue
		}
		v, err := crashes.Verdict(ctx, id)
		if fault.Is(err, fault.NotFound) {
			continue // forgiven meanwhile
		}
		if err != nil {
			v = storage.Verdict{Reason: err.Error()}
		}
		rows = append(rows, verdictRow{id, v})
	}
	return rows, nil
}

func (r verdictRow) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", r.ID, r.Time.UTC().Format(time.RFC3339), r.Tries, r.Queue, r.Reason)
	return err
}
