package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/search/load"
)

func cmdReindex() *cli.Command {
	return &cli.Command{
		Name:  "reindex",
		Usage: "build the search index anew from the processed crashes in the bucket",
		Description: "Reads every processed crash, the oldest day first, and indexes it, while serve goes on answering; a server that runs\n" +
			"on the same data directory does the work. At the end it removes what the bucket has no longer, and weeks that lost\n" +
			"a file count as complete. How far it has come is kept: a run after one that was interrupted goes on there, unless\n" +
			"it says --anew.",
		Flags: append(command.ConfigFlags(),
			&cli.BoolFlag{Name: "anew", Usage: "begin at the beginning, whatever was done before"},
			&cli.BoolFlag{Name: "missing", Usage: "read only the crashes that the index lacks"},
			&cli.StringFlag{Name: "after", Usage: "only the crashes after this one, by day and id"},
			&cli.IntFlag{Name: "parallel", Value: 8, Usage: "crashes read at once"}),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return command.Usage("reindex takes no arguments; got %q", c.Args().First())
			}
			o := reindexOptions{After: c.String("after"), Anew: c.Bool("anew"), Missing: c.Bool("missing"), Parallel: c.Int("parallel")}
			l, err := command.LoadConfig(c)
			if err != nil {
				return err
			}
			if server, running := dialControl(l.DataDir); running {
				text, err := json.Marshal(o)
				if err != nil {
					return fault.Wrap(err, "reindex options")
				}
				return server.post(c.Context, "POST", "/reindex", bytes.NewReader(text), c.App.Writer)
			}
			d, err := commandDeps(c)
			if err != nil {
				return err
			}
			defer d.close()
			return d.reindex(c.Context, o, c.App.Writer)
		},
	}
}

// reindexOptions are the flags of reindex.
type reindexOptions struct {
	After    string `json:"after"`
	Anew     bool   `json:"anew"`
	Missing  bool   `json:"missing"`
	Parallel int    `json:"parallel"`
}

// reindexRun names the run in the catalog.
const reindexRun = "reindex"

// reindexer is a run over what this process has open.
func (d *deps) reindexer(ctx context.Context, o reindexOptions) (r *load.Reindexer, err error) {
	r = &load.Reindexer{Parallel: min(o.Parallel, 64), Missing: o.Missing}
	if o.After != "" {
		r.Part = true
		if r.After, err = storage.ParseCrashID(o.After); err != nil {
			return nil, err
		}
	}
	if r.Index, err = d.Engine(); err != nil {
		return nil, err
	}
	if r.Fields, err = d.Fields(); err != nil {
		return nil, err
	}
	if r.Crashes, err = d.Crashes(ctx); err != nil {
		return nil, err
	}
	r.Refused = func(id storage.CrashID, err error) {
		d.log.Warn("processed crash cannot be indexed", zap.String("crash_id", id.String()), zap.Error(err))
	}
	return r, nil
}

// reindex runs to the end and writes progress, one line every few seconds. A
// whole run keeps its place in the catalog.
func (d *deps) reindex(ctx context.Context, o reindexOptions, w io.Writer) error {
	r, err := d.reindexer(ctx, o)
	if err != nil {
		return err
	}
	db, err := d.Catalog(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	whole := !r.Part && !r.Missing
	at := catalog.Progress{Name: reindexRun, Started: start}
	if whole && !o.Anew {
		switch earlier, err := db.Progress(ctx, reindexRun); {
		case err == nil:
			at, r.After = earlier, storage.CrashID(earlier.Place)
			fmt.Fprintf(w, "going on after %s: %d crashes were indexed since %s\n", earlier.Place, earlier.Done, earlier.Started.Format(time.RFC3339))
		case !fault.Is(err, fault.NotFound):
			return err
		}
	}
	before := at.Done
	r.Progress = load.Every(3*time.Second, func(done int, last storage.CrashID) {
		at.Place, at.Done, at.Updated = string(last), before+int64(done), time.Now()
		fmt.Fprintf(w, "%d crashes, the last is %s\n", at.Done, last)
		if f, ok := w.(interface{ Flush() }); ok {
			f.Flush()
		}
		if !whole {
			return
		}
		if err := db.SaveProgress(ctx, at); err != nil {
			d.log.Warn("reindex does not keep its place", zap.Error(err))
		}
	})
	out, err := r.Run(ctx)
	if err != nil {
		return err
	}
	if whole {
		if err := db.EndProgress(ctx, reindexRun); err != nil {
			return err
		}
	}
	took := time.Since(start)
	fmt.Fprintf(w, "%d crashes indexed in %s (%.0f a second), %d refused, %d removed\n", out.Indexed, took.Round(time.Millisecond), float64(out.Indexed)/took.Seconds(), out.Refused, out.Gone)
	return nil
}

// controlReindex serves reindex to commands on the control socket.
func controlReindex(e *echo.Echo, d *deps) {
	e.POST("/reindex", func(c echo.Context) error {
		var o reindexOptions
		if err := json.NewDecoder(c.Request().Body).Decode(&o); err != nil {
			return fault.As(fault.Invalid, err, "reindex options")
		}
		err := d.reindex(c.Request().Context(), o, c.Response())
		if err != nil && c.Response().Committed { // progress was written: only a broken connection tells now
			fmt.Fprintln(c.Response(), err)
			panic(http.ErrAbortHandler)
		}
		return err
	})
}

// mendIndex indexes what the index lacks.
func (d *deps) mendIndex(ctx context.Context) error {
	r, err := d.reindexer(ctx, reindexOptions{Missing: true, Parallel: 4})
	if err == nil {
		_, err = r.Run(ctx)
	}
	return err
}
