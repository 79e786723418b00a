package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"
	"gocloud.dev/gcerrors"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/roles/processor"
	"mayday/storage"
	"mayday/storage/queue"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// chosen names the crashes that reprocess and delete work on: ids, or those
// that a Super Search query finds.
type chosen struct {
	IDs     []string `json:"ids,omitempty"`
	Query   string   `json:"query,omitempty"` // product=X&date=…
	Ruleset string   `json:"ruleset,omitempty"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

// chosenFlags are the flags of commands that work on chosen crashes.
func chosenFlags(more ...cli.Flag) []cli.Flag {
	return append(append(command.ConfigFlags(), &cli.StringFlag{Name: "query", Usage: "the crashes that this `QUERY` finds, such as 'product=Kite&version=1.2'; without a date those of the last 365 days"}), more...)
}

func chosenOf(c *cli.Context) (chosen, error) {
	ch := chosen{IDs: c.Args().Slice(), Query: c.String("query")}
	if (len(ch.IDs) == 0) == (ch.Query == "") {
		return ch, command.Usage("%s: name crash ids, or a --query", c.Command.Name)
	}
	for _, id := range ch.IDs {
		if _, err := storage.FindCrashID(id); err != nil {
			return ch, command.AsUsage(err)
		}
	}
	return ch, nil
}

// find turns the choice into ids. A query is asked in pages that continue
// where the one before ended, so that any number can be found.
func (d *deps) find(ctx context.Context, ch chosen) ([]storage.CrashID, error) {
	var out []storage.CrashID
	for _, text := range ch.IDs {
		id, err := storage.FindCrashID(text)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	if ch.Query == "" {
		return out, nil
	}
	q, err := url.ParseQuery(ch.Query)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "query")
	}
	now := time.Now()
	if len(q["date"]) == 0 {
		q.Set("date", ">="+now.Add(-plan.MaxSpan+time.Hour).UTC().Format(time.RFC3339))
	}
	fields, err := d.Fields()
	if err != nil {
		return nil, err
	}
	for name := range q {
		if fields.Get(name) == nil {
			return nil, fault.New(fault.Invalid, "query: no field %q", name)
		}
	}
	engine, err := d.Engine()
	if err != nil {
		return nil, err
	}
	q["_columns"], q["_sort"], q["_facets_size"] = []string{plan.IDField}, []string{plan.DateField}, []string{"0"}
	q["_results_number"] = []string{strconv.Itoa(plan.MaxResults)}
	for cursor := ""; ; {
		q["_cursor"] = []string{cursor}
		p, err := plan.Parse(q, fields, plan.Viewer{Permissions: []string{plan.ViewPII}}, plan.Options{Now: now})
		if err != nil {
			return nil, err
		}
		r, err := engine.Search(ctx, p)
		if err != nil {
			return nil, fault.Wrap(err, "query")
		}
		for _, h := range r.Hits {
			text, _ := h[plan.IDField].(string)
			id, err := storage.ParseCrashID(text)
			if err != nil {
				return nil, fault.Wrap(err, "search hit")
			}
			out = append(out, id)
		}
		if len(r.Hits) < plan.MaxResults || r.Cursor == "" {
			return out, nil
		}
		cursor = r.Cursor
	}
}

// reprocess queues the chosen crashes and writes each id.
func (d *deps) reprocess(ctx context.Context, ch chosen, out io.Writer) error {
	ids, err := d.find(ctx, ch)
	if err != nil {
		return err
	}
	crashes, err := d.Crashes(ctx)
	if err != nil {
		return err
	}
	queues, err := d.Queues(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		there, err := crashes.HasRaw(ctx, id)
		if err != nil {
			return err
		}
		if !there {
			fmt.Fprintf(out, "%s is not there\n", id)
			continue
		}
		if ch.DryRun {
			fmt.Fprintln(out, id)
			continue
		}
		// A verdict of earlier tries must not stand in the way of new ones.
		if err := crashes.DeleteVerdict(ctx, id); err != nil {
			return err
		}
		if err := queues.Send(ctx, queue.Reprocessing, queue.Message{ID: id, Ruleset: ch.Ruleset}); err != nil {
			return err
		}
		fmt.Fprintln(out, id)
	}
	if ch.DryRun {
		return nil
	}
	return d.audit(ctx, fmt.Sprintf("reprocess: %d crashes, ruleset %q, query %q", len(ids), ch.Ruleset, ch.Query))
}

func (d *deps) audit(ctx context.Context, what string) error {
	db, err := d.Catalog(ctx)
	if err != nil {
		return err
	}
	return db.Audit(ctx, "operator", what)
}

// deleteBatch is how many crashes leave the index in one step.
const deleteBatch = 1000

// delete removes the chosen crashes from buckets and index, and writes what
// was removed. It can be repeated after an interruption.
func (d *deps) delete(ctx context.Context, ch chosen, out io.Writer) error {
	ids, err := d.find(ctx, ch)
	if err != nil {
		return err
	}
	engine, err := d.Engine()
	if err != nil {
		return err
	}
	for start := 0; start < len(ids); start += deleteBatch {
		batch := ids[start:min(start+deleteBatch, len(ids))]
		var names []string
		for _, id := range batch {
			if err := d.deleteOne(ctx, id, ch.DryRun, out); err != nil {
				return fault.Wrap(err, "delete %s", id)
			}
			names = append(names, id.String())
		}
		if err := d.printIndexed(ctx, engine, batch, out); err != nil {
			return err
		}
		if ch.DryRun {
			continue
		}
		if err := engine.Delete(ctx, names); err != nil {
			return fault.Wrap(err, "delete from the index")
		}
		if err := d.forget(ctx, names); err != nil {
			return err
		}
	}
	if ch.DryRun {
		return nil
	}
	if err := d.deleteLate(ctx, ids, engine); err != nil {
		return err
	}
	return d.audit(ctx, fmt.Sprintf("delete: %d crashes, query %q", len(ids), ch.Query))
}

// printIndexed writes which of the crashes the index holds.
func (d *deps) printIndexed(ctx context.Context, engine search.Engine, ids []storage.CrashID, out io.Writer) error {
	fields, err := d.Fields()
	if err != nil {
		return err
	}
	now := time.Now()
	for start := 0; start < len(ids); start += idsPerQuery {
		q := url.Values{"_columns": {plan.IDField}, "_facets_size": {"0"}, "_results_number": {strconv.Itoa(idsPerQuery)},
			"date": {">=" + now.Add(-plan.MaxSpan+time.Hour).UTC().Format(time.RFC3339)}}
		for _, id := range ids[start:min(start+idsPerQuery, len(ids))] {
			q.Add(plan.IDField, id.String())
		}
		p, err := plan.Parse(q, fields, plan.Viewer{}, plan.Options{Now: now})
		if err != nil {
			return err
		}
		r, err := engine.Search(ctx, p)
		if err != nil {
			return fault.Wrap(err, "look for the crashes in the index")
		}
		for _, h := range r.Hits {
			fmt.Fprintf(out, "%s\tindex\t\n", h[plan.IDField])
		}
	}
	return nil
}

// idsPerQuery is how many crashes one query looks for.
const idsPerQuery = 200

// forget removes what the catalog lists about crashes.
func (d *deps) forget(ctx context.Context, ids []string) error {
	db, err := d.Catalog(ctx)
	if err != nil {
		return err
	}
	return errors.Join(db.DropVerdicts(ctx, ids), db.DropMissingProcessed(ctx, ids))
}

// lateFor is how long delete waits for crashes that were being processed when
// they were deleted, and lateEvery how often it looks.
const (
	lateFor   = time.Minute
	lateEvery = 200 * time.Millisecond
)

// deleteLate deletes once more what a processor or the indexer may have written
// since: crashes that were being worked on when they were deleted, once they
// are not any more. Those that only wait in a queue are found to be gone.
func (d *deps) deleteLate(ctx context.Context, ids []storage.CrashID, engine eraser) error {
	queues, err := d.Queues(ctx)
	if err != nil {
		return err
	}
	deleted := map[storage.CrashID]bool{}
	for _, id := range ids {
		deleted[id] = true
	}
	late := map[storage.CrashID]bool{}
	for end := time.Now().Add(lateFor); ; {
		taken, err := queues.Taken(ctx, queue.Names()...)
		if fault.Is(err, fault.Unsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		waiting := false
		for id := range taken {
			if deleted[id] {
				late[id], waiting = true, true
			}
		}
		if !waiting {
			break
		}
		if time.Now().After(end) {
			return fault.New(fault.Timeout, "some of the crashes are still being processed; delete them again later")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lateEvery):
		}
	}
	if len(late) == 0 {
		return nil
	}
	var names []string
	for id := range late {
		if err := d.deleteOne(ctx, id, false, io.Discard); err != nil {
			return fault.Wrap(err, "delete %s", id)
		}
		names = append(names, id.String())
	}
	return errors.Join(engine.Delete(ctx, names), d.forget(ctx, names))
}

// eraser is the search index as delete needs it.
type eraser interface {
	Delete(ctx context.Context, ids []string) error
}

func (d *deps) deleteOne(ctx context.Context, id storage.CrashID, dry bool, out io.Writer) error {
	crashes, err := d.Crashes(ctx)
	if err != nil {
		return err
	}
	list := crashes.Delete
	if dry {
		list = crashes.Objects
	}
	objects, err := list(ctx, id)
	if err != nil {
		return err
	}
	for _, o := range objects {
		fmt.Fprintf(out, "%s\t%s\t%d\n", id, o.What, o.SizeBytes)
	}
	if d.cfg.Storage.Telemetry == "" {
		return nil
	}
	b, err := d.bucket(ctx, d.cfg.Storage.Telemetry, "telemetry")
	if err != nil {
		return err
	}
	key := processor.TelemetryKey(id)
	if dry {
		there, err := b.Exists(ctx, key)
		if there {
			fmt.Fprintf(out, "%s\ttelemetry\t\n", id)
		}
		return fault.As(fault.Unavailable, err, "telemetry")
	}
	err = b.Delete(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	if err == nil {
		fmt.Fprintf(out, "%s\ttelemetry\t\n", id)
	}
	return fault.As(fault.Unavailable, err, "telemetry")
}

// controlChosen serves reprocess and delete to commands on the control socket.
func controlChosen(e *echo.Echo, d *deps) {
	serve := func(do func(context.Context, chosen, io.Writer) error) echo.HandlerFunc {
		return func(c echo.Context) error {
			var ch chosen
			if err := json.NewDecoder(c.Request().Body).Decode(&ch); err != nil {
				return fault.As(fault.Invalid, err, "request")
			}
			var out bytes.Buffer
			if err := do(c.Request().Context(), ch, &out); err != nil {
				return err
			}
			return c.Blob(http.StatusOK, echo.MIMETextPlain, out.Bytes())
		}
	}
	e.POST("/reprocess", serve(d.reprocess))
	e.POST("/delete", serve(d.delete))
}

// doChosen works on chosen crashes through the running server, or on the
// stores themselves when none runs.
func doChosen(c *cli.Context, ch chosen, path string, do func(*deps) func(context.Context, chosen, io.Writer) error) error {
	l, err := command.LoadConfig(c)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.App.Writer)
	defer out.Flush()
	if control, ok := dialControl(l.DataDir); ok {
		body, err := json.Marshal(ch)
		if err != nil {
			return fault.Wrap(err, "request")
		}
		return control.post(c.Context, http.MethodPost, path, bytes.NewReader(body), out)
	}
	d, err := commandDeps(c)
	if err != nil {
		return err
	}
	defer d.close()
	return do(d)(c.Context, ch, out)
}

func cmdReprocess() *cli.Command {
	return &cli.Command{
		Name: "reprocess", ArgsUsage: "ID…", Usage: "have crashes processed again",
		Description: "Queues the crashes named, or those that --query finds, and prints their ids. The request survives a restart.\n" +
			"Works through the server that runs on --data-dir, else on the stores themselves.",
		Flags: chosenFlags(
			&cli.StringFlag{Name: "ruleset", Usage: "default, or regenerate_signature for the signature alone"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only print the ids"}),
		Action: func(c *cli.Context) error {
			ch, err := chosenOf(c)
			if err != nil {
				return err
			}
			if ch.Ruleset = c.String("ruleset"); ch.Ruleset != "" && ch.Ruleset != "default" && ch.Ruleset != "regenerate_signature" {
				return command.Usage("reprocess: no ruleset %q; there are default, regenerate_signature", ch.Ruleset)
			}
			ch.DryRun = c.Bool("dry-run")
			return doChosen(c, ch, "/reprocess", func(d *deps) func(context.Context, chosen, io.Writer) error { return d.reprocess })
		},
	}
}

func cmdDelete() *cli.Command {
	return &cli.Command{
		Name: "delete", ArgsUsage: "ID…", Usage: "delete crashes everywhere: annotations, dumps, processed crash, telemetry, index",
		Description: "Deletes the crashes named, or those that --query finds, leaves an audit record, and prints a line for each thing\n" +
			"removed: crash id, what, size. Values leave the index's files within a day. It can be repeated when interrupted.",
		Flags: chosenFlags(&cli.BoolFlag{Name: "dry-run", Usage: "only print what would be removed"}),
		Action: func(c *cli.Context) error {
			ch, err := chosenOf(c)
			if err != nil {
				return err
			}
			ch.DryRun = c.Bool("dry-run")
			return doChosen(c, ch, "/delete", func(d *deps) func(context.Context, chosen, io.Writer) error { return d.delete })
		},
	}
}
