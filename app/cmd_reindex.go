package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/search/load"
)

func cmdReindex() *cli.Command {
	return &cli.Command{
		Name:  "reindex",
		Usage: "build the search index anew from the processed crashes in the bucket",
		Description: "Reads every processed crash and indexes it, while serve goes on answering; a server that runs on the same data\n" +
			"directory does the work. Prints progress with the last crash id: --after ID goes on from there. A run from the\n" +
			"beginning also removes what the bucket has no longer, and completes weeks that lost a file.",
		Flags: append(command.ConfigFlags(),
			&cli.StringFlag{Name: "after", Usage: "crash id after which to begin"},
			&cli.IntFlag{Name: "parallel", Value: 8, Usage: "crashes read at once"}),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return command.Usage("reindex takes no arguments; got %q", c.Args().First())
			}
			l, err := command.LoadConfig(c)
			if err != nil {
				return err
			}
			if server, running := dialControl(l.DataDir); running {
				query := url.Values{"after": {c.String("after")}, "parallel": {strconv.Itoa(c.Int("parallel"))}}
				return server.post(c.Context, "POST", "/reindex?"+query.Encode(), nil, c.App.Writer)
			}
			d, err := commandDeps(c)
			if err != nil {
				return err
			}
			defer d.close()
			return d.reindex(c.Context, c.String("after"), c.Int("parallel"), c.App.Writer)
		},
	}
}

// reindex runs to the end and writes progress, one line every few seconds.
func (d *deps) reindex(ctx context.Context, after string, parallel int, w io.Writer) error {
	r := &load.Reindexer{Parallel: min(parallel, 64)}
	var err error
	if after != "" {
		if r.After, err = storage.ParseCrashID(after); err != nil {
			return err
		}
	}
	engine, err := d.Engine()
	if err != nil {
		return err
	}
	r.Index = engine
	if r.Fields, err = d.Fields(); err != nil {
		return err
	}
	if r.Crashes, err = d.Crashes(ctx); err != nil {
		return err
	}
	start := time.Now()
	r.Progress = load.Every(3*time.Second, func(done int, last storage.CrashID) {
		fmt.Fprintf(w, "%d crashes, the last is %s\n", done, last)
		if f, ok := w.(interface{ Flush() }); ok {
			f.Flush()
		}
	})
	r.Refused = func(id storage.CrashID, err error) {
		d.log.Warn("processed crash cannot be indexed", zap.String("crash_id", id.String()), zap.Error(err))
	}
	out, err := r.Run(ctx)
	if err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Fprintf(w, "%d crashes indexed in %s (%.0f a second), %d refused, %d removed\n", out.Indexed, took.Round(time.Millisecond), float64(out.Indexed)/took.Seconds(), out.Refused, out.Gone)
	return nil
}

// controlReindex serves reindex to commands on the control socket.
func controlReindex(e *echo.Echo, d *deps) {
	e.POST("/reindex", func(c echo.Context) error {
		parallel, err := strconv.Atoi(c.QueryParam("parallel"))
		if err != nil {
			return fault.As(fault.Invalid, err, "parallel")
		}
		err = d.reindex(c.Request().Context(), c.QueryParam("after"), parallel, c.Response())
		if err != nil && c.Response().Committed { // progress was written: only a broken connection tells now
			fmt.Fprintln(c.Response(), err)
			panic(http.ErrAbortHandler)
		}
		return err
	})
}
