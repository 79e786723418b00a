package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles"
)

func cmdServe() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the collector, the processor, the web pages, or all of them",
		Description: "Serves all chosen roles on one address until SIGINT or SIGTERM, then finishes what is under way. Without\n" +
			"any configuration it keeps everything below --data-dir. `mayday config` lists the settings; each is a flag too.",
		Flags: command.ConfigFlags(),
		Action: func(c *cli.Context) error {
			l, err := command.LoadConfig(c)
			if err != nil {
				return err
			}
			return serve(c.Context, l, c.App.Writer, c.App.ErrWriter)
		},
	}
}

// serve runs the chosen roles until ctx ends.
func serve(ctx context.Context, cfg *config.Loaded, out, logTo io.Writer) (err error) {
	log, err := newLog(cfg.Log, logTo)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }() // fails on terminals, by design of the OS
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	if cfg.Metrics.Statsd != "" {
		stop, err := metrics.SendTo(cfg.Metrics.Statsd, cfg.Metrics.Prefix)
		if err != nil {
			return fault.As(fault.Invalid, err, "metrics.statsd")
		}
		defer stop()
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fault.As(fault.Unavailable, err, "data_dir")
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fault.As(fault.Unavailable, err, "listen on %s", cfg.Listen)
	}
	defer listener.Close()
	if cfg.Collector.SubmitterToken == "" {
		// One that nobody outside knows: mayday demo asks for it by the control socket.
		cfg.Collector.SubmitterToken = rand.Text()
	}
	d := &deps{cfg: cfg.Config, log: log, control: newControl(cfg.DataDir, log)}
	defer d.close()
	s := newServer(cfg.HTTP, log)
	var running []roles.Role
	for _, name := range cfg.Roles() {
		r, err := buildRole(ctx, d, name)
		if err != nil {
			return fault.Wrap(err, "role %s", name)
		}
		r.Mount(s.echo)
		running = append(running, r)
	}
	s.checks = d.checks
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.run(ctx, listener) })
	if slices.Contains(cfg.Roles(), "web") {
		controlImport(d.control.echo, d)
		controlReindex(d.control.echo, d)
		controlChosen(d.control.echo, d)
		controlDemo(d.control.echo, d, listener.Addr().String())
		group.Go(func() error { return d.control.run(ctx) })
	}
	for _, r := range running {
		group.Go(func() error { return r.Run(ctx) })
	}
	greet(out, cfg, listener.Addr().String())
	log.Info("serving", zap.Strings("roles", cfg.Roles()), zap.String("listen", listener.Addr().String()), zap.String("data_dir", cfg.DataDir))
	err = group.Wait()
	log.Info("stopped")
	return err
}

// greet tells the person at the terminal where everything is. It never prints
// a secret.
func greet(w io.Writer, cfg *config.Loaded, addr string) {
	has := map[string]bool{}
	for _, r := range cfg.Roles() {
		has[r] = true
	}
	fmt.Fprintf(w, "Mayday %s, role %s, data in %s\n", command.Version().Version, strings.Join(cfg.Role, ","), cfg.DataDir)
	if has["web"] {
		fmt.Fprintf(w, "  pages        http://%s/\n", addr)
	}
	if has["collector"] {
		fmt.Fprintf(w, "  submit to    http://%s/submit\n", addr)
	}
	if has["web"] {
		fmt.Fprintf(w, "  first admin  mayday user add --data-dir %s --admin YOU@EXAMPLE.COM\n", cfg.DataDir)
	}
}
