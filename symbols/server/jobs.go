package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/spool"
)

const (
	// jobWorkers is how many uploads are worked on after they were answered.
	jobWorkers = 2
	// maxQueued is how many uploads may wait after they were answered 202.
	maxQueued = 1000
	// maxAttempts is how often a job is begun. A job that takes the server
	// with it would do so for ever otherwise.
	maxAttempts = 3
)

// later answers 202 and has the upload finished in the background: also by
// another life of the server, since file and job are on disk before the
// answer. in is nil for an upload that is fetched from u.DownloadURL.
func (s *Server) later(c echo.Context, u catalog.SymbolUpload, in *spool.Incoming) (err error) {
	ctx := c.Request().Context()
	if len(s.work) == cap(s.work) {
		return fault.New(fault.Throttled, "%d uploads wait already", maxQueued)
	}
	if u.ID, err = s.files.AddSymbolUpload(ctx, u); err != nil {
		return err
	}
	job := catalog.SymbolJob{Upload: u.ID, Source: u.DownloadURL}
	if in != nil {
		job.Source = "job-" + strconv.FormatInt(u.ID, 10)
		if err := s.spool.Keep(in, job.Source); err != nil {
			return err
		}
	}
	if err := s.files.AddSymbolJob(ctx, job, s.now()); err != nil {
		return err
	}
	select {
	case s.work <- job:
	default:
		s.finishJob(ctx, job, u, fault.New(fault.Throttled, "%d uploads wait already", maxQueued))
		return fault.New(fault.Throttled, "%d uploads wait already", maxQueued)
	}
	address := s.base(c) + "/upload/status/" + strconv.FormatInt(u.ID, 10)
	c.Response().Header().Set("Location", address)
	c.Response().Header().Set("Preference-Applied", "respond-async")
	return c.JSON(http.StatusAccepted, map[string]any{"upload": s.showUpload(u, false), "state": "working", "status_url": address})
}

// resume finds what an earlier life of the server left: jobs, which go on, and
// uploads without one, which ended. Uploads that came since this life began are
// left alone: they may be under way.
func (s *Server) resume(ctx context.Context) ([]catalog.SymbolJob, error) {
	if err := s.spool.Tidy(s.now(), spoolLife); err != nil {
		return nil, err
	}
	if err := s.files.DropOldTickets(ctx); err != nil {
		return nil, err
	}
	if err := s.store.Recover(ctx, s.started); err != nil {
		return nil, err
	}
	if err := s.files.InterruptedSymbolUploads(ctx, s.started); err != nil {
		return nil, err
	}
	return s.files.SymbolJobs(ctx, s.started)
}

// doJobs works on jobs until ctx ends.
func (s *Server) doJobs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case job := <-s.work:
			s.do(ctx, job)
		}
	}
}

// do works on one job and records what became of it.
func (s *Server) do(ctx context.Context, job catalog.SymbolJob) {
	u, err := s.files.SymbolUpload(ctx, job.Upload)
	if err != nil {
		s.log.Warn("job of an upload", zap.Int64("upload", job.Upload), zap.Error(err))
		return
	}
	if job.Attempts++; job.Attempts > maxAttempts {
		s.finishJob(ctx, job, u, fault.New(fault.Invalid, "given up: the server ended %d times while it worked on this", maxAttempts))
		return
	}
	if err := s.files.SetSymbolJob(ctx, job); err != nil {
		s.log.Warn("job of an upload", zap.Int64("upload", job.Upload), zap.Error(err))
		return // the next life of the server tries again
	}
	u, err = s.attempt(ctx, u, job.Source)
	if err != nil && ctx.Err() != nil { // the server stops in good order: this was no attempt
		job.Attempts--
		if err := s.files.SetSymbolJob(context.WithoutCancel(ctx), job); err != nil {
			s.log.Warn("job of an upload", zap.Int64("upload", job.Upload), zap.Error(err))
		}
		return
	}
	s.finishJob(ctx, job, u, err)
}

// attempt does a job. What it panics with is the job's error: a bug met by one
// upload does not end the server.
func (s *Server) attempt(ctx context.Context, u catalog.SymbolUpload, source string) (_ catalog.SymbolUpload, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "panic: %v", p)
			s.log.Error("upload in the background", zap.Int64("upload", u.ID), zap.Error(err), zap.Stack("stack"))
		}
	}()
	var in *spool.Incoming
	if strings.Contains(source, "://") {
		if in, err = s.fetcher.Fetch(ctx, source); err != nil {
			return u, err
		}
		fetched(&u, in)
		defer in.Close()
	} else {
		if in, err = s.spool.Kept(source); err != nil {
			return u, err
		}
		defer in.File.Close() // finishJob removes it
	}
	in.Filename = u.Filename
	if err := checkExtension(u); err != nil {
		return u, err
	}
	b, err := s.unpack(ctx, u, in)
	if err != nil {
		return u, err
	}
	defer b.close()
	err = b.run(ctx)
	return b.Upload, err
}

// finishJob records that a job is over, and why it was refused.
func (s *Server) finishJob(ctx context.Context, job catalog.SymbolJob, u catalog.SymbolUpload, outcome error) {
	ctx = context.WithoutCancel(ctx)
	var err error
	if outcome != nil {
		s.log.Info("upload refused in the background", zap.Int64("upload", u.ID), zap.Error(outcome))
		u.Error, u.Completed = outcome.Error(), s.now()
		if p := fault.Of(outcome).Policy(); p.Level >= fault.Warn && !isAnswer(outcome) {
			u.Error = fmt.Sprintf("%s: the log of the server says more", p.Name)
		}
		err = s.files.FinishSymbolUpload(ctx, u, nil)
	}
	if err == nil {
		err = s.files.DropSymbolJob(ctx, job.Upload)
	}
	if err != nil {
		s.log.Warn("record upload", zap.Int64("upload", u.ID), zap.Error(err))
		return // the next life of the server does it again
	}
	if !strings.Contains(job.Source, "://") {
		s.spool.Discard(job.Source)
	}
}

// uploadStatus is GET /upload/status/<id>: what became of an upload that was
// answered before it was done.
func (s *Server) uploadStatus(c echo.Context) error {
	caller, err := s.permit(c, "", catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads)
	if err != nil {
		return err
	}
	u, err := s.ownUpload(c, caller)
	if err != nil {
		return err
	}
	state := "done"
	switch {
	case u.Error != "":
		state = "failed"
	case u.Completed.IsZero():
		state = "working"
	}
	made, err := s.conversions(c.Request().Context(), u.ID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"upload": s.showUpload(u, false), "state": state, "error": nullable(u.Error), "conversions": made})
}
