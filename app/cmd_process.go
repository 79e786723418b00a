package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/storage"
	"mayday/storage/queue"
)

func cmdProcess() *cli.Command {
	return &cli.Command{
		Name:      "process",
		Usage:     "run the processing rules over stored crashes, or over files",
		ArgsUsage: "[ID…]",
		Description: "With ids: processes crashes that are stored, here and now, and announces them to the indexer; works beside a\n" +
			"running server. With --case or --raw-crash: reads a raw crash and its dumps from files, runs every rule, and\n" +
			"writes processed.json (all of it), public.json (what anybody may see), telemetry.json (the export) and\n" +
			"index.json (what search holds) to --out. --case takes a folder that holds raw_crash.json and, as far as there\n" +
			"are any, dumps/NAME, walker/NAME.json (results to use instead of walking the dump), product_versions.json and\n" +
			"previous_processed.json.",
		Flags: append(command.ConfigFlags(),
			&cli.StringFlag{Name: "case", Usage: "folder of the crash"},
			&cli.StringFlag{Name: "raw-crash", Usage: "JSON `FILE` of annotations"},
			&cli.StringSliceFlag{Name: "dump", Usage: "NAME=FILE of a dump; may be repeated"},
			&cli.StringSliceFlag{Name: "stackwalk", Usage: "NAME=FILE with the walker's JSON for a dump; may be repeated"},
			&cli.StringFlag{Name: "ruleset", Usage: strings.Join(processor.Rulesets(), " or ")},
			&cli.StringFlag{Name: "out", Usage: "folder to write to"},
		),
		Action: runProcess,
	}
}

func runProcess(c *cli.Context) error {
	if c.Args().Present() {
		return processStored(c)
	}
	if c.String("out") == "" {
		return fault.New(fault.Invalid, "process: name a crash id, or a folder to write to with --out")
	}
	files, err := processFiles(c)
	if err != nil {
		return err
	}
	defer files.close()
	l, err := command.LoadConfig(c)
	if err != nil {
		return err
	}
	log, err := newLog(l.Log, c.App.ErrWriter)
	if err != nil {
		return err
	}
	d := &deps{cfg: l.Config, log: quietly(log)}
	defer d.close()
	pipe, err := files.pipeline(c.Context, d)
	if err != nil {
		return err
	}
	job, err := files.job()
	if err != nil {
		return err
	}
	if r := c.String("ruleset"); r != "" {
		job.Ruleset = r
	}
	id, err := storage.ParseCrashID(job.ID)
	if err != nil {
		id = storage.NewCrashID(time.Now(), storage.Accepted)
		job.ID, job.Raw["uuid"] = string(id), string(id)
	}
	if _, ok := job.Raw["submitted_timestamp"]; !ok {
		job.Raw["submitted_timestamp"] = time.Now().UTC().Format("2006-01-02T15:04:05.000000+00:00")
	}
	res, err := pipe.Process(c.Context, job)
	if err != nil {
		return err
	}
	return writeViews(c.String("out"), processor.ViewsOf(pipe.Env.Schema, id, res.Processed))
}

// processStored processes crashes of the bucket.
func processStored(c *cli.Context) error {
	if c.IsSet("case") || c.IsSet("raw-crash") || c.IsSet("out") {
		return fault.New(fault.Invalid, "process: ids and files exclude each other")
	}
	var messages []queue.Message
	for _, arg := range c.Args().Slice() {
		id, err := storage.FindCrashID(arg)
		if err != nil {
			return err
		}
		messages = append(messages, queue.Message{ID: id, Ruleset: c.String("ruleset")})
	}
	d, err := commandDeps(c)
	if err != nil {
		return err
	}
	defer d.close()
	p, err := d.processor(c.Context)
	if err != nil {
		return err
	}
	var failed error
	for _, m := range messages {
		if err := p.One(c.Context, m); err != nil {
			fmt.Fprintf(c.App.ErrWriter, "%s: %v\n", m.ID, err)
			failed = err
			continue
		}
		fmt.Fprintln(c.App.Writer, m.ID)
	}
	return failed
}

// crashFiles names the files of one crash.
type crashFiles struct {
	raw, versions, previous, caseInfo string
	dumps, walks                      map[string]string // by dump name
	open                              []*os.File
}

func processFiles(c *cli.Context) (*crashFiles, error) {
	f := &crashFiles{dumps: map[string]string{}, walks: map[string]string{}}
	if dir := c.String("case"); dir != "" {
		if c.IsSet("raw-crash") || c.IsSet("dump") {
			return nil, fault.New(fault.Invalid, "--case and --raw-crash exclude each other")
		}
		return f, f.fromCase(dir)
	}
	f.raw = c.String("raw-crash")
	if f.raw == "" {
		return nil, fault.New(fault.Invalid, "process: name a folder with --case or a raw crash with --raw-crash")
	}
	for flag, to := range map[string]map[string]string{"dump": f.dumps, "stackwalk": f.walks} {
		for _, arg := range c.StringSlice(flag) {
			name, file, ok := strings.Cut(arg, "=")
			if !ok || name == "" || file == "" {
				return nil, fault.New(fault.Invalid, "--%s %q: NAME=FILE is wanted", flag, arg)
			}
			to[name] = file
		}
	}
	return f, nil
}

// fromCase finds the files of a case folder.
func (f *crashFiles) fromCase(dir string) error {
	f.raw = filepath.Join(dir, "raw_crash.json")
	for path, to := range map[string]*string{"product_versions.json": &f.versions, "previous_processed.json": &f.previous, "case.json": &f.caseInfo} {
		if p := filepath.Join(dir, path); exists(p) {
			*to = p
		}
	}
	for sub, to := range map[string]map[string]string{"dumps": f.dumps, "walker": f.walks} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !os.IsNotExist(err) {
			return fault.As(fault.Invalid, err, "case")
		}
		for _, e := range entries {
			name := e.Name()
			if sub == "walker" {
				name = strings.TrimSuffix(name, ".json")
			}
			to[name] = filepath.Join(dir, sub, e.Name())
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// job opens the files and makes the pipeline's job of them.
func (f *crashFiles) job() (processor.Job, error) {
	var j processor.Job
	var err error
	if j.Raw, err = readDocument(f.raw); err != nil {
		return j, err
	}
	j.ID, _ = j.Raw["uuid"].(string)
	if f.previous != "" {
		if j.Previous, err = readDocument(f.previous); err != nil {
			return j, err
		}
	}
	if f.caseInfo != "" {
		info, err := readDocument(f.caseInfo)
		if err != nil {
			return j, err
		}
		j.Ruleset, _ = info["ruleset"].(string)
	}
	for name, path := range f.dumps {
		file, err := os.Open(path)
		if err != nil {
			return j, fault.As(fault.Invalid, err, "dump %s", name)
		}
		f.open = append(f.open, file)
		info, err := file.Stat()
		if err != nil {
			return j, fault.As(fault.Unavailable, err, "dump %s", name)
		}
		j.Dumps = append(j.Dumps, rules.Dump{Name: name, Size: info.Size(), Reader: file, File: file})
	}
	return j, nil
}

func (f *crashFiles) close() {
	for _, file := range f.open {
		file.Close()
	}
}

func readDocument(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "read")
	}
	doc, err := storage.DecodeDocument(text)
	return doc, fault.Wrap(err, "%s", path)
}

// writeViews writes the four files.
func writeViews(dir string, v processor.Views) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fault.As(fault.Unavailable, err, "out")
	}
	for name, doc := range map[string]any{"processed": v.Processed, "public": v.Public, "telemetry": v.Telemetry, "index": v.Index} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(doc); err != nil {
			return fault.As(fault.Internal, err, "encode %s", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json"), b.Bytes(), 0o666); err != nil {
			return fault.As(fault.Unavailable, err, "out")
		}
	}
	return nil
}

// pipeline is that of the configuration, with the walker results and product
// versions of the files.
func (f *crashFiles) pipeline(ctx context.Context, d *deps) (*processor.Pipeline, error) {
	p, err := d.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	canned := processor.Canned{Results: map[string]rules.WalkResult{}, Else: p.Env.Walker}
	for name, path := range f.walks {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "walker result of %s", name)
		}
		if canned.Results[name], err = processor.ParseCanned(text); err != nil {
			return nil, fault.Wrap(err, "%s", path)
		}
	}
	p.Env.Walker = canned
	if f.versions == "" {
		return p, nil
	}
	var rows []storage.Build
	text, err := os.ReadFile(f.versions)
	if err == nil {
		err = json.Unmarshal(text, &rows)
	}
	p.Env.Versions = processor.NewBuilds(rows)
	return p, fault.As(fault.Invalid, err, "product versions %s", f.versions)
}
