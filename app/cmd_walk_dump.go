package app

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
)

// cmdWalkDump is the child of processor.isolate: one dump, then the end.
func cmdWalkDump() *cli.Command {
	return &cli.Command{
		Name:        walkCommand,
		Hidden:      true,
		Usage:       "walk one dump for a processor",
		Description: "Reads a request on its input, walks the dump that it names within its limits, and writes the result.",
		Action:      walkDump,
	}
}

func walkDump(c *cli.Context) error {
	var req processor.WalkRequest
	if err := json.NewDecoder(c.App.Reader).Decode(&req); err != nil {
		return fault.As(fault.Invalid, err, "request")
	}
	if req.Memory > 0 {
		// The walk is watched as ever; the kernel holds where that fails.
		debug.SetMemoryLimit(req.Memory)
		if err := command.LimitData(uint64(req.Memory)); err != nil {
			return fault.As(fault.Unavailable, err, "limit memory to %d bytes more", req.Memory)
		}
	}
	var s childSettings
	if err := json.Unmarshal(req.Settings, &s); err != nil {
		return fault.As(fault.Invalid, err, "settings")
	}
	cfg := &config.Config{DataDir: s.DataDir, Storage: config.Storage{Symbols: s.Symbols},
		Symbols: config.Symbols{URLs: s.URLs, Private: s.Private, CacheSize: config.Bytes(s.CacheSize), BinariesSize: config.Bytes(s.BinariesSize),
			ConvertMemory: config.Bytes(s.ConvertMemory)}}
	d := &deps{cfg: cfg, log: zap.NewNop()}
	defer d.close()
	r, err := walkFile(c.Context, d, req)
	if err != nil {
		return err
	}
	output, err := json.Marshal(r.Output)
	if err != nil {
		return fault.As(fault.Internal, err, "encode")
	}
	return json.NewEncoder(c.App.Writer).Encode(processor.WalkReply{Exit: r.Exit, Output: output, Log: r.Log, Version: r.Version, NoAnswer: r.NoAnswer})
}

func walkFile(ctx context.Context, d *deps, req processor.WalkRequest) (r rules.WalkResult, err error) {
	source, err := d.symbolSource(ctx)
	if err != nil {
		return r, err
	}
	f, err := req.Open()
	if err != nil {
		return r, fault.As(fault.Unavailable, err, "dump")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return r, fault.As(fault.Unavailable, err, "dump")
	}
	w := &processor.InProcess{Symbols: source.walk, Binaries: source.binaries, Timeout: max(req.Timeout, time.Millisecond), Memory: req.Memory, Version: walkerVersion()}
	return w.Walk(ctx, rules.Dump{Name: rules.MinidumpName, Size: info.Size(), Reader: f, File: f}, req.Annotations), nil
}
