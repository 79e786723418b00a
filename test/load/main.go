// Command load sends crashes to a running server and prints what that took. It
// has two materials.
//
// By default one crash is sent over and over, as fast as the collector answers:
// a JSON part of a hundred annotations and a dump of --size bytes that
// compresses about as well as real ones (fixed.go). It measures a collector
// alone: requests a second, times to answer, the server's CPU time and memory.
//
//	go run ./test/load --url http://127.0.0.1:8000 --size 20000 --connections 8 --duration 10s --pid PID
//
// With --month the crashes are those of `mayday demo`, each once and with an
// id of the server's choice, and what was answered is compared with what is
// stored, processed and searchable in the end (month.go, check.go):
//
//	go run ./test/load --month --url http://127.0.0.1:8000 --rate 38.3 --size 150000 --duration 2m --pid PID
//
// Exit code 1 when an answered crash is missing, the server stops answering, or
// the rate that was asked for is not held; the counts are printed in any case.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"time"
)

type options struct {
	url         string
	size        int
	frames      int
	gzip        bool
	connections int
	duration    time.Duration
	pid         int
	month       bool
	rate        float64
	seed        uint64
	crashes     int
	patience    time.Duration
	backlog     float64
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "http://127.0.0.1:8000", "address of the server")
	flag.IntVar(&o.frames, "frames", 30, "with --month: frames that each stack has at least")
	flag.IntVar(&o.size, "size", 20_000, "bytes of the dump; with --month smaller dumps are filled up to about this size")
	flag.BoolVar(&o.gzip, "gzip", false, "compress bodies")
	flag.IntVar(&o.connections, "connections", 8, "connections at once")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "how long to send")
	flag.IntVar(&o.pid, "pid", 0, "process of the server, to read its CPU time and memory")
	flag.BoolVar(&o.month, "month", false, "send the crashes of the demo month and look for them afterwards")
	flag.Float64Var(&o.rate, "rate", 0, "with --month: crashes a second; 0 is as fast as they are answered")
	flag.Uint64Var(&o.seed, "seed", 1, "with --month: another seed makes other crashes")
	flag.IntVar(&o.crashes, "crashes", 0, "with --month: stop after this many crashes; 0 is no limit")
	flag.DurationVar(&o.patience, "patience", 15*time.Second, "with --month: give up when nothing is answered or found for so long")
	flag.Float64Var(&o.backlog, "backlog", 0, "with --month: most seconds' worth of crashes that may wait when sending ends; 0 is any number")
	flag.Parse()
	os.Exit(run(o))
}

func run(o options) int {
	u, err := url.Parse(o.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		fmt.Fprintf(os.Stderr, "load: %q is no address such as http://127.0.0.1:8000\n", o.url)
		return 2
	}
	if flag.NArg() > 0 || o.connections < 1 || o.connections > 10_000 || o.rate < 0 || o.size < 0 || o.size > 1<<30 || o.frames < 0 || o.frames > 1000 || o.duration <= 0 || o.patience <= 0 {
		fmt.Fprintln(os.Stderr, "load: --connections from 1 to 10,000, --size up to 1 GB, --frames up to 1000, --rate from 0, --duration and --patience above 0, no arguments")
		return 2
	}
	work := fixed
	if o.month {
		work = month
	} else if u.Scheme != "http" {
		fmt.Fprintln(os.Stderr, "load: https needs --month")
		return 2
	}
	// A second interrupt ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	if err := work(ctx, o, u, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 1
	}
	return 0
}
