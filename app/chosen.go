package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
	"mayday/storage"
	"mayday/storage/queue"
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
		if ch.DryRun {
			continue
		}
		if err := engine.Delete(ctx, names); err != nil {
			return fault.Wrap(err, "delete from the index")
		}
	}
	if ch.DryRun {
		return nil
	}
	return d.audit(ctx, fmt.Sprintf("delete: %d crashes, query %q", len(ids), ch.Query))
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
	key := "v1/crash_report/" + id.Day() + "/" + id.String()
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
