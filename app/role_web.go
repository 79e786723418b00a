package app

import (
	"context"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/roles"
	"mayday/roles/awaited"
	"mayday/roles/indexer"
	"mayday/roles/jobs"
	"mayday/roles/processor"
	"mayday/roles/webserver"
	"mayday/storage"
	"mayday/storage/queue"
	"mayday/storage/search/load"
	"mayday/web"
	"mayday/web/api"
	"mayday/web/auth"
)

func buildWeb(ctx context.Context, d *deps) (roles.Role, error) {
	crashes, err := d.Crashes(ctx)
	if err != nil {
		return nil, err
	}
	queues, err := d.Queues(ctx)
	if err != nil {
		return nil, err
	}
	table, err := d.Schema()
	if err != nil {
		return nil, err
	}
	fields, err := d.Fields()
	if err != nil {
		return nil, err
	}
	users, err := d.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	engine, err := d.Engine()
	if err != nil {
		return nil, err
	}
	messages, err := queues.Subscription(ctx, queue.Processed)
	if err != nil {
		return nil, err
	}
	publish := func(ctx context.Context, name queue.Name, id storage.CrashID, ruleset string) error {
		return queues.Send(ctx, name, queue.Message{ID: id, Ruleset: ruleset})
	}
	lists, err := d.Lists()
	if err != nil {
		return nil, err
	}
	who := auth.New(auth.Options{Users: users, Sessions: users.Sessions()})
	pages, err := web.New(web.Options{Crashes: crashes, Index: timedEngine{engine}, Fields: fields, Schema: table, Catalog: users, Auth: who,
		Products: d.cfg.Products, Config: d.cfg.Web, Symbols: d.cfg.Symbols, Log: d.log.Named("web"), Version: command.Version().Version,
		Prioritise: func(ctx context.Context, id storage.CrashID) error { return publish(ctx, queue.Priority, id, "") }})
	if err != nil {
		return nil, err
	}
	exported, err := d.exported(ctx)
	if err != nil {
		return nil, err
	}
	apis := api.New(api.Options{HasTelemetry: exported, Crashes: crashes, Engine: timedEngine{engine}, Fields: fields, Schema: table, Catalog: users, Auth: who,
		Products: d.cfg.Products, Config: d.cfg.Web, Log: d.log.Named("api"), Lists: lists,
		Reprocess: func(ctx context.Context, id storage.CrashID, ruleset string) error {
			return publish(ctx, queue.Reprocessing, id, ruleset)
		}})
	var late *awaited.Awaited
	var works []webserver.Runner
	if o := d.cfg.Processor.LateSymbols; o.Rate > 0 {
		late = awaited.New(awaited.Options{Crashes: crashes, Index: engine, Fields: fields, Queues: queues, Catalog: users, Rate: o.Rate, Days: o.Days, Log: d.log.Named("awaited")})
		works = append(works, late)
	}
	symbolServer, symbolication, err := d.symbolServer(ctx, users, who, late)
	if err != nil {
		return nil, err
	}
	return &webserver.Role{
		Routes: []webserver.Mounter{pages, apis, symbolServer, symbolication},
		Works: append(works,
			engine,
			load.Mender{Broken: engine.Broken, Mend: d.mendIndex, Log: d.log.Named("index")},
			meter{queues: queues, engine: engine, log: d.log.Named("meter")},
			symbolServer,
			indexer.New(indexer.Options{Messages: messages, Crashes: crashes, Engine: engine, Fields: fields, Catalog: users, Verdicts: users, Retain: d.cfg.Search.Retention, Log: d.log.Named("indexer")}),
			jobs.New(jobs.Options{Crashes: crashes, Queues: queues, Catalog: users, Log: d.log.Named("jobs"), Weeks: engine, Folders: d.folders, Retain: d.cfg.Search.Retention, Days: d.cfg.Sweep.Days, Age: d.cfg.Sweep.Age,
				Publish: func(ctx context.Context, name queue.Name, id storage.CrashID) error {
					return publish(ctx, name, id, "")
				}}),
		),
	}, nil
}

// exported tells which crashes were exported; nil where none are.
func (d *deps) exported(ctx context.Context) (func(context.Context, storage.CrashID) (bool, error), error) {
	if d.cfg.Storage.Telemetry == "" {
		return nil, nil
	}
	b, err := d.bucket(ctx, d.cfg.Storage.Telemetry, "telemetry")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, id storage.CrashID) (bool, error) {
		there, err := b.Exists(ctx, processor.TelemetryKey(id))
		return there, fault.As(fault.Unavailable, err, "telemetry bucket")
	}, nil
}
